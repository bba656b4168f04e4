#include "core/cache_page.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/half.h"

namespace moescope {

namespace {

size_t element_bytes(CacheType type) {
  if (type == CacheType::F32) return 4;
  return type == CacheType::Q8_0 ? 1 : 2;
}

void store_element(CacheType type, float value, std::byte* place) {
  if (type == CacheType::F32) {
    std::memcpy(place, &value, sizeof value);
  } else {
    const uint16_t bits = type == CacheType::BF16 ? float_to_bf16(value) : float_to_half(value);
    std::memcpy(place, &bits, sizeof bits);
  }
}

// `stride`: elements from one of the row to the next; `scale_stride` likewise of its scales.
void store_q8_0(const float* row, int head_dim, int stride, int scale_stride, std::byte* elements, std::byte* scales) {
  for (int group = 0; group < num_cache_groups(head_dim); ++group) {
    const int from = group * kCacheGroup, to = std::min(head_dim, from + kCacheGroup);
    float largest = 0;
    for (int i = from; i < to; ++i) {
      const float magnitude = std::fabs(row[i]);
      if (magnitude > largest || std::isnan(magnitude)) largest = magnitude;  // a NaN stays
    }
    const float scale = largest / 127, inverse = scale > 0 && std::isfinite(scale) ? 1 / scale : 0;
    const uint16_t bits = float_to_half(scale);
    std::memcpy(scales + static_cast<size_t>(group) * scale_stride * sizeof bits, &bits, sizeof bits);
    for (int i = from; i < to; ++i) {
      const float level = inverse > 0 ? std::nearbyint(row[i] * inverse) : 0;
      elements[static_cast<size_t>(i) * stride] = static_cast<std::byte>(static_cast<int8_t>(level));
    }
  }
}

void store_row(CacheType type, const float* row, int head_dim, int stride, std::byte* elements) {
  const size_t step = element_bytes(type) * stride;
  for (int i = 0; i < head_dim; ++i) store_element(type, row[i], elements + i * step);
}

}  // namespace

size_t cache_head_bytes(CacheType type, int head_dim) {
  return 2 * (cache_elements_bytes(type, head_dim) + cache_scales_bytes(type, head_dim));
}

void write_key(CacheType type, const float* key, int head_dim, int slot, std::byte* head) {
  std::byte* elements = head + slot * element_bytes(type);
  if (type != CacheType::Q8_0) return store_row(type, key, head_dim, kTilePositions, elements);
  std::byte* scales = head + 2 * cache_elements_bytes(type, head_dim) + slot * sizeof(uint16_t);
  store_q8_0(key, head_dim, kTilePositions, kTilePositions, elements, scales);
}

void write_value(CacheType type, const float* value, int head_dim, int slot, std::byte* head) {
  std::byte* elements = head + cache_elements_bytes(type, head_dim) + slot * head_dim * element_bytes(type);
  if (type != CacheType::Q8_0) return store_row(type, value, head_dim, 1, elements);
  std::byte* all_scales = head + 2 * cache_elements_bytes(type, head_dim) + cache_scales_bytes(type, head_dim);
  store_q8_0(value, head_dim, 1, 1, elements, all_scales + slot * num_cache_groups(head_dim) * sizeof(uint16_t));
}

}  // namespace moescope
