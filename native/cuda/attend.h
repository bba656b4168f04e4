// The parts of attention: native/cpu/attend.cpp on the device. A step computes rope_table() once; a layer runs attend_in(), with a cache of
// type Q8_0 write_cache(), attend(), and the product with Wo by matmul().
#pragma once

#include "core/cache_page.h"
#include "core/config.h"
#include "cuda/pack.h"
#include "cuda/product.h"

namespace moescope::cuda {

// Keys and values of one layer, in pages as core/cache_page.h has them.
struct CacheView {
  CacheType type = CacheType::BF16;
  int head_dim = 0;
  int kv_heads = 0;
  int64_t head_bytes = 0;                         // cache_head_bytes(type, head_dim)
  Global<const Global<uint8_t>> pages = nullptr;  // (sequences, max_tiles)  each (kv_heads, head_bytes)
  int max_tiles = 0;

  MOESCOPE_ANYWHERE Global<uint8_t> head(int sequence, int tile, int kv_head) const {
    return pages[static_cast<int64_t>(sequence) * max_tiles + tile] + kv_head * head_bytes;
  }
};

// Where a row of the batch stands.
struct RowPlace {
  int32_t sequence;  // row of CacheView::pages
  int32_t position;
};

struct RopeTableParams {
  static constexpr KernelInfo kInfo{"rope_table", 64};

  Global<const RowPlace> places;  // (rows)
  Global<const float> inv_freq;   // (head_dim / 2)
  int half = 0;                   // head_dim / 2
  float attention_factor = 1;
  Global<float> table;  // (rows, head_dim / 2, 2)  cos, sin
};

void rope_table(Stream& stream, int rows, const RopeTableParams& params);

// q = rope(Wq n + bq) / sqrt(head_dim); rope(Wk n + bk) and Wv n + bv rounded into the cache, or as they are into `k` and `v`.
struct AttendInParams {
  static constexpr KernelInfo kInfo = product_kernel("attend_in");

  int rows = 0;
  PackedMatrix q_weights, k_weights, v_weights;  // those of q and k packed in RowOrder{head_dim, is_interleaved}
  bool is_interleaved = false;
  Global<const float> q_bias, k_bias, v_bias;  // null: none
  LeftSide x;                                  // (rows, hidden)
  Global<const float> rope;                    // rope_table()'s
  float q_scale = 1;
  Global<const RowPlace> places;
  CacheView cache;
  Global<float> q;     // (rows, heads, head_dim)
  Global<float> k, v;  // (rows, kv_heads, head_dim), or null: into the cache, which is not Q8_0
};

void attend_in(Stream& stream, const AttendInParams& params);

// Rounds keys and values into the cache: 32 elements of one head have a scale.
struct WriteCacheParams {
  static constexpr KernelInfo kInfo{"write_cache", 256};

  Global<const float> k, v;  // (rows, kv_heads, head_dim)
  Global<const RowPlace> places;
  CacheView cache;
};

void write_cache(Stream& stream, int rows, const WriteCacheParams& params);

constexpr int kSpanTiles = 4;  // tiles whose results are merged before they meet those of others
constexpr int kSpanPositions = kSpanTiles * kTilePositions;

struct AttendParams {
  static constexpr int kMaxQueries = 8;  // query heads of a key/value head that meet its keys together
  static constexpr int kMaxHeadDim = 256;
  static constexpr KernelInfo kInfo{
      "attend", kSpanTiles * 32,
      arena_bytes<float>(kMaxQueries*(kMaxHeadDim + kSpanTiles * (kTilePositions + kMaxHeadDim + 2)))};

  int rows = 0;
  int heads = 0;
  Global<const float> q;  // (rows, heads, head_dim), scaled
  Global<const RowPlace> places;
  CacheView cache;
  int max_spans = 0;      // of a row
  Global<float> partial;  // (rows, heads, max_spans, head_dim + 2)  sum of weighted values, maximum, sum of weights
  Global<float> context;  // (rows, heads, head_dim), or null
  LeftSide side;          // the same for the product with Wo
};

// Softmax attention over all positions up to a row's own. Keys come in tiles of 64 absolute positions, tiles are merged in ascending order
// within spans of four, spans in ascending order: the bits depend on the row's position alone.
void attend(Stream& stream, const AttendParams& params);

}  // namespace moescope::cuda
