// Ternary weights (TQ), and four-bit floats with a shared power of two or eight-bit scale (MXFP4, NVFP4).
#include <bit>

#include "core/blocks_rows.h"
#include "core/codebooks.h"

namespace moescope::rows {
namespace {

// 2^(e - 128): half of the E8M0 scale, since kFp4Doubled holds twice the numbers. The two lowest are subnormal.
inline float e8m0_halved(uint8_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

// Half of the number that the low seven bits give as E4M3 (bias 7). 127, the format's NaN, stands for zero as in ggml,
// but only without the sign bit.
inline float e4m3_halved(uint8_t e) {
  if (e == 127) return 0.0f;
  const uint32_t exponent = (e >> 3) & 15u;
  const uint32_t mantissa = e & 7u;
  if (exponent == 0) return static_cast<float>(mantissa) * 0x1p-10f;
  return std::bit_cast<float>((exponent - 8 + 127) << 23 | mantissa << 20);
}

// Trit t of a byte that holds five as a fraction of 256 in base 3, first digit first.
inline int trit(uint8_t byte, int t) {
  constexpr uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const auto rest = static_cast<uint8_t>(byte * kPowers[t]);
  return (rest * 3) >> 8;
}

// `bytes` bytes of `trits` trits each, digit by digit; returns the end of what was written.
inline float* ternary_run(const uint8_t* packed, int bytes, int trits, float d, float* y) {
  for (int t = 0; t < trits; ++t) {
    for (int i = 0; i < bytes; ++i) *y++ = d * static_cast<float>(trit(packed[i], t) - 1);
  }
  return y;
}

}  // namespace

void tq1_0(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::TQ1_0>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block + 52);
    y = ternary_run(block, 32, 5, d, y);
    y = ternary_run(block + 32, 16, 5, d, y);
    ternary_run(block + 48, 4, 4, d, y);
  });
}

void tq2_0(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::TQ2_0>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block + 64);
    for (int j = 0; j < 8; ++j) {
      const uint8_t* qs = block + 32 * (j / 4);
      for (int l = 0; l < 32; ++l) y[32 * j + l] = d * static_cast<float>(((qs[l] >> (2 * (j % 4))) & 3) - 1);
    }
  });
}

void mxfp4(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::MXFP4>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = e8m0_halved(block[0]);
    for (int i = 0; i < 16; ++i) {
      y[i] = d * kFp4Doubled[block[1 + i] & 15];
      y[16 + i] = d * kFp4Doubled[block[1 + i] >> 4];
    }
  });
}

void nvfp4(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::NVFP4>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    for (int group = 0; group < 4; ++group) {
      const float d = e4m3_halved(block[group]);
      const uint8_t* qs = block + 4 + 8 * group;
      for (int i = 0; i < 8; ++i) {
        y[16 * group + i] = d * kFp4Doubled[qs[i] & 15];
        y[16 * group + 8 + i] = d * kFp4Doubled[qs[i] >> 4];
      }
    }
  });
}

}  // namespace moescope::rows
