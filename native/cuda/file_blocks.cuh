// Weights in blocks as the file has them, element by element; the layouts are those of core/blocks.h.
//   value = scale * code - minimum
// The products are exact and the subtraction rounds once, so the values are dequantize_row()'s bits.
#pragma once

#include "core/blocks.h"
#include "cuda/device.h"
#include "cuda/packed.h"

namespace moescope::cuda {

// Bytes of the device's memory. Blocks may lie at any address, so numbers are put together from bytes.
using Bytes = Global<const uint8_t>;

__device__ inline uint32_t u16_at(Bytes place) { return place[0] | static_cast<uint32_t>(place[1]) << 8; }
__device__ inline uint32_t u32_at(Bytes place) { return u16_at(place) | u16_at(place + 2) << 16; }
__device__ inline float half_at(Bytes place) { return float_of_half(static_cast<uint16_t>(u16_at(place))); }

// Unsigned codes are `zero` too large.
__device__ constexpr int code_zero(DType type) {
  switch (type) {
    case DType::Q4_0: return 8;
    case DType::Q5_0: return 16;
    case DType::Q6_K: return 32;
    default: return 0;
  }
}

__device__ inline int nibble_of_32(Bytes packed, int i) { return i < 16 ? packed[i] & 15 : packed[i - 16] >> 4; }

// Element i of a block, unsigned but for Q8_0.
template <DType kType>
__device__ inline int raw_code(Bytes block, int i) {
  if constexpr (kType == DType::Q4_0) return nibble_of_32(block + 2, i);
  if constexpr (kType == DType::Q4_1) return nibble_of_32(block + 4, i);
  if constexpr (kType == DType::Q5_0) {
    return nibble_of_32(block + 6, i) | static_cast<int>(u32_at(block + 2) >> i & 1u) << 4;
  }
  if constexpr (kType == DType::Q5_1) {
    return nibble_of_32(block + 8, i) | static_cast<int>(u32_at(block + 4) >> i & 1u) << 4;
  }
  if constexpr (kType == DType::Q8_0) return static_cast<int8_t>(block[2 + i]);
  const int j = i / 32, l = i % 32;
  if constexpr (kType == DType::Q4_K) return block[16 + 32 * (j / 2) + l] >> (4 * (j % 2)) & 15;
  if constexpr (kType == DType::Q5_K) {
    return (block[48 + 32 * (j / 2) + l] >> (4 * (j % 2)) & 15) | (block[16 + l] >> j & 1) << 4;
  }
  if constexpr (kType == DType::Q6_K) {
    const int a = i / 128, r = j % 4;
    return (block[64 * a + 32 * (r % 2) + l] >> (4 * (r / 2)) & 15) | (block[128 + 32 * a + l] >> (2 * r) & 3) << 4;
  }
}

struct SixBits {
  int scale, minimum;
};

// The j-th pair of Q4_K and Q5_K.
__device__ inline SixBits six_bits(Bytes block, int j) {
  const Bytes sc = block + 4;
  if (j < 4) return {sc[j] & 63, sc[j + 4] & 63};
  return {(sc[j + 4] & 15) | (sc[j - 4] >> 6) << 4, (sc[j + 4] >> 4) | (sc[j] >> 6) << 4};
}

template <DType kType>
__device__ inline float element_value(Bytes block, int i) {
  if constexpr (kType == DType::F32) return __uint_as_float(u32_at(block + 4 * i));
  if constexpr (kType == DType::F16) return half_at(block + 2 * i);
  if constexpr (kType == DType::BF16) return float_of_bf16(static_cast<uint16_t>(u16_at(block + 2 * i)));
  if constexpr (is_integer_type(kType)) {
    const float code = static_cast<float>(raw_code<kType>(block, i) - code_zero(kType));
    if constexpr (kType == DType::Q4_1 || kType == DType::Q5_1) return half_at(block) * code + half_at(block + 2);
    if constexpr (kType == DType::Q4_K || kType == DType::Q5_K) {
      const SixBits factors = six_bits(block, i / 32);
      return half_at(block) * static_cast<float>(factors.scale) * code -
             half_at(block + 2) * static_cast<float>(factors.minimum);
    }
    if constexpr (kType == DType::Q6_K) {
      return half_at(block + 208) * static_cast<float>(static_cast<int8_t>(block[192 + i / 16])) * code;
    }
    return half_at(block) * code;
  }
}

}  // namespace moescope::cuda
