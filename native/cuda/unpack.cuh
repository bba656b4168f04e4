// From the records of packed.h to what products take: the eight words of signed codes of a unit, and its scale and minimum.
#pragma once

#include "cuda/file_blocks.cuh"

namespace moescope::cuda {

// scale * code - minimum. Both are exact products of numbers in the file.
struct UnitScale {
  float scale, minimum;
};

__device__ constexpr bool has_minimum(DType type) {
  return type == DType::Q4_1 || type == DType::Q5_1 || type == DType::Q4_K || type == DType::Q5_K;
}

// Bytes of unsigned codes to signed ones: c - zero as c + (128 - zero) without its top bit's carry, all four at once.
template <DType kType>
__device__ inline int signed_word(uint32_t codes) {
  constexpr uint32_t kShift = 128u - static_cast<uint32_t>(code_zero(kType));
  if constexpr (code_zero(kType) == 0) return static_cast<int>(codes);
  return static_cast<int>((codes + kShift * 0x01010101u) ^ 0x80808080u);
}

// Word `word` (0 to 3) and word + 4 of a unit from that word of its low chunk. `high`: its words above, or nothing.
template <DType kType>
__device__ inline void unpack_words(uint32_t low, const uint32_t (&high)[2], int word, int& first, int& second) {
  uint32_t a = low & 0x0f0f0f0fu, b = low >> 4 & 0x0f0f0f0fu;
  constexpr int kHigh = packed_shape(kType).high;
  if constexpr (kHigh == 16) {
    a |= (high[0] >> word & 0x01010101u) << 4;
    b |= (high[0] >> (word + 4) & 0x01010101u) << 4;
  }
  if constexpr (kHigh == 32) {
    a |= (high[0] >> (2 * word) & 0x03030303u) << 4;
    b |= (high[1] >> (2 * word) & 0x03030303u) << 4;
  }
  first = signed_word<kType>(a);
  second = signed_word<kType>(b);
}

// Scale bytes of a row's quad, as read from the record: `words` holds PackedShape::scales bytes, `common` the shared ones.
struct ScaleWords {
  uint32_t words[4];
  uint32_t common;
};

__device__ inline float low_half(uint32_t word) { return float_of_half(static_cast<uint16_t>(word)); }
__device__ inline float high_half(uint32_t word) { return float_of_half(static_cast<uint16_t>(word >> 16)); }

template <DType kType>
__device__ inline UnitScale unit_scale(const ScaleWords& from, int unit) {
  if constexpr (kType == DType::Q4_1 || kType == DType::Q5_1) {
    return {low_half(from.words[unit]), -high_half(from.words[unit])};
  }
  if constexpr (kType == DType::Q4_K || kType == DType::Q5_K) {
    const uint32_t low = from.words[0] >> (8 * unit), high = from.words[1] >> (4 * unit);
    const int scale = static_cast<int>(low & 63u), minimum = static_cast<int>((low >> 6 & 3u) | (high & 15u) << 2);
    return {low_half(from.common) * static_cast<float>(scale), high_half(from.common) * static_cast<float>(minimum)};
  }
  if constexpr (kType == DType::Q6_K) return {low_half(from.common), 0};
  const uint32_t both = from.words[unit / 2];
  return {unit % 2 == 0 ? low_half(both) : high_half(both), 0};
}

// Q6_K: the factor of half a unit.
__device__ inline int half_scale(const ScaleWords& from, int unit, int half) {
  return static_cast<int8_t>(from.words[unit / 2] >> (16 * (unit % 2) + 8 * half));
}

// The scale bytes of row `lane` in the record of a quad; Pointer: to bytes of global or of shared memory.
template <DType kType, typename Pointer>
__device__ inline ScaleWords load_scales(const Pointer& record, const Pointer& shared, int lane) {
  constexpr PackedShape kShape = packed_shape(kType);
  const Pointer at = record + (kShape.low + kShape.high) * kGroupRows;
  ScaleWords out = {};
  if constexpr (kType == DType::Q4_K || kType == DType::Q5_K) {
    out.words[0] = as<const uint32_t>(at)[lane];
    out.words[1] = as<const uint16_t>(at + 4 * kGroupRows)[lane];
    out.common = as<const uint32_t>(shared)[lane];
  } else if constexpr (kShape.scales == 16) {
    const uint4 four = as<const uint4>(at)[lane];
    out.words[0] = four.x, out.words[1] = four.y, out.words[2] = four.z, out.words[3] = four.w;
  } else {
    const uint2 two = as<const uint2>(at)[lane];
    out.words[0] = two.x, out.words[1] = two.y;
    if constexpr (kType == DType::Q6_K) out.common = as<const uint16_t>(shared)[lane];
  }
  return out;
}

}  // namespace moescope::cuda
