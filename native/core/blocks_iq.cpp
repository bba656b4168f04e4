// IQ types: the codes are not numbers but places in a codebook, of single values (IQ4) or of points of a lattice (IQ1
// to IQ3).
#include <bit>
#include <cstddef>

#include "core/blocks_rows.h"
#include "core/codebooks.h"

namespace moescope::rows {
namespace {

// Eight sign bits out of seven: their number is always even.
inline unsigned eight_signs(unsigned seven) { return seven | static_cast<unsigned>(std::popcount(seven) & 1) << 7; }

// values[i] = scale * point[i], negated where bit i of `signs` is set.
template <size_t kSize>
inline void signed_point(const std::array<int8_t, kSize>& point, float scale, unsigned signs, float* values) {
  for (size_t i = 0; i < kSize; ++i) {
    const float value = scale * static_cast<float>(point[i]);
    values[i] = (signs >> i) & 1u ? -value : value;
  }
}

// values[i] = scale * (point[i] +- 1/8)
inline void shifted_point(const Point8& point, float scale, bool down, float* values) {
  const float shift = down ? -0.125f : 0.125f;
  for (size_t i = 0; i < 8; ++i) values[i] = scale * (static_cast<float>(point[i]) + shift);
}

inline int nibble(const uint8_t* packed, int i) { return (packed[i / 2] >> (4 * (i % 2))) & 15; }

}  // namespace

void iq4_nl(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ4_NL>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block);
    for (int i = 0; i < 16; ++i) {
      y[i] = d * kIq4Values[block[2 + i] & 15];
      y[16 + i] = d * kIq4Values[block[2 + i] >> 4];
    }
  });
}

void iq4_xs(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ4_XS>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block);
    const int high = load<uint16_t>(block + 2);
    for (int j = 0; j < 8; ++j) {
      const float scale = d * static_cast<float>((nibble(block + 4, j) | ((high >> (2 * j)) & 3) << 4) - 32);
      const uint8_t* qs = block + 8 + 16 * j;
      for (int i = 0; i < 16; ++i) {
        y[32 * j + i] = scale * kIq4Values[qs[i] & 15];
        y[32 * j + 16 + i] = scale * kIq4Values[qs[i] >> 4];
      }
    }
  });
}

void iq2_xxs(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ2_XXS>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    for (int j = 0; j < 8; ++j) {
      const uint8_t* codes = block + 2 + 8 * j;
      const auto word = load<uint32_t>(codes + 4);
      const float scale = d * (static_cast<float>(word >> 28) + 0.5f) * 0.25f;
      for (int p = 0; p < 4; ++p) {
        signed_point(kIq2XxsPoints[codes[p]], scale, eight_signs((word >> (7 * p)) & 127u), y + 32 * j + 8 * p);
      }
    }
  });
}

void iq2_xs(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ2_XS>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    for (int p = 0; p < 32; ++p) {
      const float scale = d * (static_cast<float>(nibble(block + 66, p / 2)) + 0.5f) * 0.25f;
      const auto code = load<uint16_t>(block + 2 + 2 * p);
      signed_point(kIq2XsPoints[code & 511], scale, eight_signs(code >> 9), y + 8 * p);
    }
  });
}

void iq2_s(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ2_S>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const uint8_t* codes = block + 2;
    const uint8_t* signs = block + 34;
    const uint8_t* high = block + 66;
    for (int p = 0; p < 32; ++p) {
      const float scale = d * (static_cast<float>(nibble(block + 74, p / 2)) + 0.5f) * 0.25f;
      const int code = codes[p] | ((high[p / 4] >> (2 * (p % 4))) & 3) << 8;
      signed_point(kIq2SPoints[static_cast<size_t>(code)], scale, signs[p], y + 8 * p);
    }
  });
}

void iq3_xxs(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ3_XXS>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    for (int j = 0; j < 8; ++j) {
      const uint8_t* codes = block + 2 + 8 * j;
      const auto word = load<uint32_t>(block + 66 + 4 * j);
      const float scale = d * (static_cast<float>(word >> 28) + 0.5f) * 0.5f;
      for (int p = 0; p < 8; ++p) {
        const unsigned signs = eight_signs((word >> (7 * (p / 2))) & 127u) >> (4 * (p % 2));
        signed_point(kIq3XxsPoints[codes[p]], scale, signs, y + 32 * j + 4 * p);
      }
    }
  });
}

void iq3_s(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ3_S>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const uint8_t* codes = block + 2;
    const uint8_t* high = block + 66;
    const uint8_t* signs = block + 74;
    for (int p = 0; p < 64; ++p) {
      const float scale = d * static_cast<float>(2 * nibble(block + 106, p / 8) + 1);
      const int code = codes[p] | ((high[p / 8] >> (p % 8)) & 1) << 8;
      signed_point(kIq3SPoints[static_cast<size_t>(code)], scale, nibble(signs, p), y + 4 * p);
    }
  });
}

void iq1_s(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ1_S>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const uint8_t* codes = block + 2;
    for (int p = 0; p < 32; ++p) {
      const int word = load<uint16_t>(block + 34 + 2 * (p / 4));
      const float scale = d * static_cast<float>(2 * ((word >> 12) & 7) + 1);
      const int code = codes[p] | ((word >> (3 * (p % 4))) & 7) << 8;
      shifted_point(kIq1Points[static_cast<size_t>(code)], scale, (word >> 15) != 0, y + 8 * p);
    }
  });
}

void iq1_m(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::IQ1_M>(blocks, values, count, [](const uint8_t* block, float* y) {
    const uint8_t* scales = block + 48;
    unsigned half = 0;
    for (int w = 0; w < 4; ++w) half |= static_cast<unsigned>(scales[2 * w + 1] >> 4) << (4 * w);
    const float d = half_to_float(static_cast<uint16_t>(half));
    for (int p = 0; p < 32; ++p) {
      const int word = load<uint16_t>(scales + 2 * (p / 8));
      const float scale = d * static_cast<float>(2 * ((word >> (3 * (p / 2 % 4))) & 7) + 1);
      const int high = nibble(block + 32, p);
      const int code = block[p] | (high & 7) << 8;
      shifted_point(kIq1Points[static_cast<size_t>(code)], scale, (high & 8) != 0, y + 8 * p);
    }
  });
}

}  // namespace moescope::rows
