// K-quants: blocks of 256 whose scale, and for some minimum, is divided among 8 or 16 groups by small integer factors.
#include "core/blocks_rows.h"

namespace moescope::rows {
namespace {

struct ScaleAndMin {
  int scale;
  int min;
};

// The j-th pair of 6-bit numbers out of 12 bytes (Q4_K, Q5_K).
inline ScaleAndMin scale_and_min(const uint8_t* sc, int j) {
  if (j < 4) return {sc[j] & 63, sc[j + 4] & 63};
  return {(sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4, (sc[j + 4] >> 4) | (sc[j] >> 6) << 4};
}

// The s-th 6-bit number out of 12 bytes (Q3_K).
inline int scale_q3(const uint8_t* sc, int s) {
  const int low = (sc[s % 8] >> (4 * (s / 8))) & 15;
  const int high = (sc[8 + s % 4] >> (2 * (s / 4))) & 3;
  return low | high << 4;
}

}  // namespace

void q2_k(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q2_K>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block + 80);
    const float dmin = load_half(block + 82);
    for (int s = 0; s < 16; ++s) {
      const float scale = d * static_cast<float>(block[s] & 15);
      const float min = dmin * static_cast<float>(block[s] >> 4);
      const uint8_t* qs = block + 16 + 32 * (s / 8) + 16 * (s % 2);
      const int shift = 2 * (s / 2 % 4);
      for (int l = 0; l < 16; ++l) y[16 * s + l] = scale * static_cast<float>((qs[l] >> shift) & 3) - min;
    }
  });
}

void q3_k(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q3_K>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block + 108);
    for (int s = 0; s < 16; ++s) {
      const float scale = d * static_cast<float>(scale_q3(block + 96, s) - 32);
      const uint8_t* hm = block + 16 * (s % 2);
      const uint8_t* qs = block + 32 + 32 * (s / 8) + 16 * (s % 2);
      const int shift = 2 * (s / 2 % 4);
      for (int l = 0; l < 16; ++l) {
        const int q = ((qs[l] >> shift) & 3) | ((hm[l] >> (s / 2)) & 1) << 2;
        y[16 * s + l] = scale * static_cast<float>(q - 4);
      }
    }
  });
}

void q4_k(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q4_K>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block);
    const float dmin = load_half(block + 2);
    for (int j = 0; j < 8; ++j) {
      const ScaleAndMin factors = scale_and_min(block + 4, j);
      const float scale = d * static_cast<float>(factors.scale);
      const float min = dmin * static_cast<float>(factors.min);
      const uint8_t* qs = block + 16 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int l = 0; l < 32; ++l) y[32 * j + l] = scale * static_cast<float>((qs[l] >> shift) & 15) - min;
    }
  });
}

void q5_k(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q5_K>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block);
    const float dmin = load_half(block + 2);
    for (int j = 0; j < 8; ++j) {
      const ScaleAndMin factors = scale_and_min(block + 4, j);
      const float scale = d * static_cast<float>(factors.scale);
      const float min = dmin * static_cast<float>(factors.min);
      const uint8_t* qh = block + 16;
      const uint8_t* qs = block + 48 + 32 * (j / 2);
      const int shift = 4 * (j % 2);
      for (int l = 0; l < 32; ++l) {
        const int q = ((qs[l] >> shift) & 15) | ((qh[l] >> j) & 1) << 4;
        y[32 * j + l] = scale * static_cast<float>(q) - min;
      }
    }
  });
}

void q6_k(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q6_K>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block + 208);
    for (int s = 0; s < 16; ++s) {
      const float scale = d * static_cast<float>(static_cast<int8_t>(block[192 + s]));
      const int half = s / 8;
      const int quarter = s / 2 % 4;
      const uint8_t* ql = block + 64 * half + 32 * (quarter % 2) + 16 * (s % 2);
      const uint8_t* qh = block + 128 + 32 * half + 16 * (s % 2);
      for (int l = 0; l < 16; ++l) {
        const int q = ((ql[l] >> (4 * (quarter / 2))) & 15) | ((qh[l] >> (2 * quarter)) & 3) << 4;
        y[16 * s + l] = scale * static_cast<float>(q - 32);
      }
    }
  });
}

}  // namespace moescope::rows
