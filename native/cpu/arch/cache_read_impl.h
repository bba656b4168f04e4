// Keys and values of a page as fp32, in plain loops that compilers vectorise; layouts: core/cache_page.h.
#pragma once

#include <cstring>

#include "core/cache_page.h"
#include "core/half.h"

namespace moescope {
namespace {

float read_scale(const std::byte* scales, int index) {
  uint16_t bits;
  std::memcpy(&bits, scales + index * sizeof bits, sizeof bits);
  return half_to_float(bits);
}

// Elements of 16 bits; kWiden: bf16_to_float or half_to_float.
template <float (*kWiden)(uint16_t)>
void widen(const std::byte* elements, int count, float* out) {
  const auto* bits = reinterpret_cast<const uint16_t*>(elements);
  for (int i = 0; i < count; ++i) out[i] = kWiden(bits[i]);
}

const float* read_floats(CacheType type, const std::byte* elements, int head_dim, float* room) {
  if (type == CacheType::F32) return reinterpret_cast<const float*>(elements);
  const int count = head_dim * kTilePositions;
  if (type == CacheType::BF16) {
    widen<bf16_to_float>(elements, count, room);
  } else {
    widen<half_to_float>(elements, count, room);
  }
  return room;
}

// A scale that is not finite stands for a group that was not: 0 times it is NaN, as it shall be.
const float* read_keys(CacheType type, const std::byte* head, int head_dim, float* room) {
  if (type != CacheType::Q8_0) return read_floats(type, head, head_dim, room);
  const std::byte* scales = head + 2 * cache_elements_bytes(type, head_dim);
  float of_slots[kTilePositions];
  for (int d = 0; d < head_dim; ++d) {
    if (d % kCacheGroup == 0) {
      widen<half_to_float>(scales + d / kCacheGroup * sizeof(uint16_t) * kTilePositions, kTilePositions, of_slots);
    }
    const int8_t* levels = reinterpret_cast<const int8_t*>(head) + d * kTilePositions;
    float* out = room + d * kTilePositions;
    for (int slot = 0; slot < kTilePositions; ++slot) out[slot] = static_cast<float>(levels[slot]) * of_slots[slot];
  }
  return room;
}

const float* read_values(CacheType type, const std::byte* head, int head_dim, float* room) {
  const std::byte* elements = head + cache_elements_bytes(type, head_dim);
  if (type != CacheType::Q8_0) return read_floats(type, elements, head_dim, room);
  const std::byte* scales = head + 2 * cache_elements_bytes(type, head_dim) + cache_scales_bytes(type, head_dim);
  const int groups = num_cache_groups(head_dim);
  for (int slot = 0; slot < kTilePositions; ++slot) {
    for (int group = 0; group < groups; ++group) {
      const int at = slot * head_dim + group * kCacheGroup;
      const int left = head_dim - group * kCacheGroup;
      const float scale = read_scale(scales, slot * groups + group);
      const int8_t* levels = reinterpret_cast<const int8_t*>(elements) + at;
      float* out = room + at;
      if (left >= kCacheGroup) {
        for (int i = 0; i < kCacheGroup; ++i) out[i] = static_cast<float>(levels[i]) * scale;
      } else {
        for (int i = 0; i < left; ++i) out[i] = static_cast<float>(levels[i]) * scale;
      }
    }
  }
  return room;
}

}  // namespace
}  // namespace moescope
