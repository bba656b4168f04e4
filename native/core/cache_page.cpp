#include "core/cache_page.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/blocks.h"
#include "core/half.h"

namespace moescope {

namespace {

constexpr int kGroup = 32;  // elements that share a scale

int num_groups(int head_dim) { return (head_dim + kGroup - 1) / kGroup; }

size_t element_bytes(CacheType type) {
  if (type == CacheType::F32) return 4;
  return type == CacheType::Q8_0 ? 1 : 2;
}

// All keys of a head, or all its values.
size_t elements_bytes(CacheType type, int head_dim) { return element_bytes(type) * head_dim * kTilePositions; }

size_t scales_bytes(CacheType type, int head_dim) {
  return type == CacheType::Q8_0 ? sizeof(uint16_t) * num_groups(head_dim) * kTilePositions : 0;
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
  for (int group = 0; group < num_groups(head_dim); ++group) {
    const int from = group * kGroup, to = std::min(head_dim, from + kGroup);
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

float read_scale(const std::byte* scales, size_t index) {
  uint16_t bits;
  std::memcpy(&bits, scales + index * sizeof bits, sizeof bits);
  return half_to_float(bits);
}

// A scale that is not finite stands for a group that was not: 0 times it is NaN, as it shall be.
void convert_row(const std::byte* row, int count, float scale, float* out) {
  const int8_t* levels = reinterpret_cast<const int8_t*>(row);
  for (int i = 0; i < count; ++i) out[i] = static_cast<float>(levels[i]) * scale;
}

const float* read_elements(CacheType type, const std::byte* elements, int head_dim, float* room) {
  if (type == CacheType::F32) return reinterpret_cast<const float*>(elements);
  const DType dtype = type == CacheType::BF16 ? DType::BF16 : DType::F16;
  dequantize_row(dtype, elements, room, static_cast<int64_t>(head_dim) * kTilePositions);
  return room;
}

}  // namespace

size_t cache_head_bytes(CacheType type, int head_dim) {
  return 2 * (elements_bytes(type, head_dim) + scales_bytes(type, head_dim));
}

void write_key(CacheType type, const float* key, int head_dim, int slot, std::byte* head) {
  std::byte* elements = head + slot * element_bytes(type);
  if (type != CacheType::Q8_0) return store_row(type, key, head_dim, kTilePositions, elements);
  std::byte* scales = head + 2 * elements_bytes(type, head_dim) + slot * sizeof(uint16_t);
  store_q8_0(key, head_dim, kTilePositions, kTilePositions, elements, scales);
}

void write_value(CacheType type, const float* value, int head_dim, int slot, std::byte* head) {
  std::byte* elements = head + elements_bytes(type, head_dim) + slot * head_dim * element_bytes(type);
  if (type != CacheType::Q8_0) return store_row(type, value, head_dim, 1, elements);
  std::byte* all_scales = head + 2 * elements_bytes(type, head_dim) + scales_bytes(type, head_dim);
  store_q8_0(value, head_dim, 1, 1, elements, all_scales + slot * num_groups(head_dim) * sizeof(uint16_t));
}

const float* read_keys(CacheType type, const std::byte* head, int head_dim, float* room) {
  if (type != CacheType::Q8_0) return read_elements(type, head, head_dim, room);
  const std::byte* scales = head + 2 * elements_bytes(type, head_dim);
  float of_slots[kTilePositions];
  for (int d = 0; d < head_dim; ++d) {
    if (d % kGroup == 0) {
      for (int slot = 0; slot < kTilePositions; ++slot) {
        of_slots[slot] = read_scale(scales, static_cast<size_t>(d / kGroup) * kTilePositions + slot);
      }
    }
    const int8_t* levels = reinterpret_cast<const int8_t*>(head) + static_cast<size_t>(d) * kTilePositions;
    float* out = room + static_cast<size_t>(d) * kTilePositions;
    for (int slot = 0; slot < kTilePositions; ++slot) out[slot] = static_cast<float>(levels[slot]) * of_slots[slot];
  }
  return room;
}

const float* read_values(CacheType type, const std::byte* head, int head_dim, float* room) {
  const std::byte* elements = head + elements_bytes(type, head_dim);
  if (type != CacheType::Q8_0) return read_elements(type, elements, head_dim, room);
  const std::byte* scales = head + 2 * elements_bytes(type, head_dim) + scales_bytes(type, head_dim);
  for (int slot = 0; slot < kTilePositions; ++slot) {
    for (int group = 0; group < num_groups(head_dim); ++group) {
      const size_t at = static_cast<size_t>(slot) * head_dim + group * kGroup;
      const int count = std::min(kGroup, head_dim - group * kGroup);
      convert_row(elements + at, count, read_scale(scales, slot * num_groups(head_dim) + group), room + at);
    }
  }
  return room;
}

}  // namespace moescope
