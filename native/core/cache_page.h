// How the keys and values of one key/value head and 64 positions lie in memory, for each type of the cache.
//
// First the keys, transposed (head_dim, 64), so that one vector of positions meets one query element at a time and scores need no sum
// across lanes; then the values (64, head_dim). Q8_0 has bytes there, and behind them a half-precision scale for every 32 elements of a
// head: those of the keys (groups, 64), those of the values (64, groups), with q = round(x / d), d = max|x| / 127 as in ggml's Q8_0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moescope {

// Positions of a tile; tiles are cut at absolute positions.
constexpr int kTilePositions = 64;

enum class CacheType : uint8_t { F32, BF16, F16, Q8_0 };

constexpr int kCacheGroup = 32;  // elements of a head that share a scale in Q8_0

constexpr int num_cache_groups(int head_dim) { return (head_dim + kCacheGroup - 1) / kCacheGroup; }

// Bytes of all keys of a head, or of all its values, without scales.
constexpr size_t cache_elements_bytes(CacheType type, int head_dim) {
  const size_t element = type == CacheType::F32 ? 4 : type == CacheType::Q8_0 ? 1 : 2;
  return element * head_dim * kTilePositions;
}

constexpr size_t cache_scales_bytes(CacheType type, int head_dim) {
  return type == CacheType::Q8_0 ? sizeof(uint16_t) * num_cache_groups(head_dim) * kTilePositions : 0;
}

// Bytes of the keys and values of one head of a page.
size_t cache_head_bytes(CacheType type, int head_dim);

// Rounds one position's key or value, (head_dim), to the cache's type and stores it in its slot. A number that is not finite makes its
// group NaN. They are read by the kernels of cpu/arch/kernels.h.
void write_key(CacheType type, const float* key, int head_dim, int slot, std::byte* head);
void write_value(CacheType type, const float* value, int head_dim, int slot, std::byte* head);

}  // namespace moescope
