// Elements of cache pages, two at a time, and how they are rounded; layouts: core/cache_page.h.
#pragma once

#include "core/cache_page.h"
#include "cuda/device.h"

namespace moescope::cuda {

constexpr int kCacheGroup = 32;  // elements of a head that share a scale in Q8_0

__device__ constexpr int cache_groups(int head_dim) { return (head_dim + kCacheGroup - 1) / kCacheGroup; }
__device__ constexpr int element_bytes(CacheType type) {
  return type == CacheType::F32 ? 4 : (type == CacheType::Q8_0 ? 1 : 2);
}

// Parts of a head: keys (head_dim, 64), values (64, head_dim), and for Q8_0 the scales of both.
struct HeadParts {
  int64_t values, key_scales, value_scales;  // bytes from the head's start

  __device__ HeadParts(CacheType type, int head_dim)
      : values(static_cast<int64_t>(element_bytes(type)) * head_dim * kTilePositions),
        key_scales(2 * values),
        value_scales(key_scales + static_cast<int64_t>(cache_groups(head_dim)) * kTilePositions * 2) {}
};

// Elements `at` and `at` + 1, `at` even.
template <CacheType kType>
__device__ inline float2 element_pair(const Global<const uint8_t>& elements, int64_t at) {
  if constexpr (kType == CacheType::F32) return as<const float2>(elements)[at / 2];
  if constexpr (kType == CacheType::Q8_0) {
    const uint32_t two = as<const uint16_t>(elements)[at / 2];
    return make_float2(static_cast<float>(static_cast<int8_t>(two)), static_cast<float>(static_cast<int8_t>(two >> 8)));
  }
  const uint32_t two = as<const uint32_t>(elements)[at / 2];
  const uint16_t low = static_cast<uint16_t>(two), high = static_cast<uint16_t>(two >> 16);
  if constexpr (kType == CacheType::BF16) return make_float2(float_of_bf16(low), float_of_bf16(high));
  return make_float2(float_of_half(low), float_of_half(high));
}

// Stores one element; not for Q8_0.
__device__ inline void store_element(CacheType type, const Global<uint8_t>& elements, int64_t at, float value) {
  if (type == CacheType::F32) {
    as<float>(elements)[at] = value;
  } else {
    as<uint16_t>(elements)[at] = type == CacheType::BF16 ? bf16_of(value) : half_of(value);
  }
}

}  // namespace moescope::cuda
