// Products with Wq, Wk and Wv in one launch. Rows of Wq and Wk are packed in the pairs that rope turns (Su et al. 2021), so that a block has
// both elements of 32 pairs.
#include "cuda/attend.h"
#include "cuda/cache_pairs.cuh"
#include "cuda/product.cuh"

namespace moescope::cuda {

namespace {

__global__ void __launch_bounds__(RopeTableParams::kInfo.max_threads) rope_table_kernel(const RopeTableParams p) {
  const int64_t row = blockIdx.x;
  for (int i = static_cast<int>(threadIdx.x); i < p.half; i += RopeTableParams::kInfo.max_threads) {
    // The angle is rounded to fp32, as in transformers; its cosine is not.
    const float angle = static_cast<float>(p.places[row].position) * p.inv_freq[i];
    const Global<float> out = p.table + (row * p.half + i) * 2;
    out[0] = static_cast<float>(cos(static_cast<double>(angle))) * p.attention_factor;
    out[1] = static_cast<float>(sin(static_cast<double>(angle))) * p.attention_factor;
  }
}

// Where an element of k or v of a row goes; `element`: (kv_heads, head_dim).
__device__ inline void store_key_value(const AttendInParams& p, int row, bool is_key, int element, float value) {
  const int head_dim = p.cache.head_dim, kv_head = element / head_dim, d = element % head_dim;
  const Global<float> plain = is_key ? p.k : p.v;
  if (plain != nullptr) {
    plain[static_cast<int64_t>(row) * p.cache.kv_heads * head_dim + element] = value;
    return;
  }
  const RowPlace place = p.places[row];
  const int slot = place.position % kTilePositions;
  const Global<uint8_t> head = p.cache.head(place.sequence, place.position / kTilePositions, kv_head);
  if (is_key) return store_element(p.cache.type, head, static_cast<int64_t>(d) * kTilePositions + slot, value);
  store_element(p.cache.type, head + HeadParts(p.cache.type, head_dim).values,
                static_cast<int64_t>(slot) * head_dim + d, value);
}

// 32 pairs of q or k: bias, rope, scale.
__device__ inline void finish_pairs(const AttendInParams& p, bool is_query, int first_pair, const InputRows& rows,
                                    const Shared<float>& sums) {
  const int half = p.cache.head_dim / 2, num_rows = is_query ? p.q_weights.rows : p.k_weights.rows;
  const Global<const float> bias = is_query ? p.q_bias : p.k_bias;
  const RowOrder order = {p.cache.head_dim, p.is_interleaved};
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kGroupRows; place += kProductThreads) {
    const int row = rows[place / kGroupRows], in_group = place % kGroupRows, pair = first_pair + in_group;
    if (2 * pair >= num_rows) continue;
    const int first = static_cast<int>(order.file_row(pair, false)),
              second = static_cast<int>(order.file_row(pair, true));
    const Shared<float> both = sums + place / kGroupRows * kPairRows + in_group;
    float a = both[0], b = both[kGroupRows];
    if (bias != nullptr) a += bias[first], b += bias[second];
    const float2 turn = as<const float2>(p.rope)[static_cast<int64_t>(row) * half + pair % half];
    const float turned_a = a * turn.x - b * turn.y, turned_b = b * turn.x + a * turn.y;
    if (is_query) {
      const Global<float> q = p.q + static_cast<int64_t>(row) * num_rows;
      q[first] = turned_a * p.q_scale;
      q[second] = turned_b * p.q_scale;
    } else {
      store_key_value(p, row, true, first, turned_a);
      store_key_value(p, row, true, second, turned_b);
    }
  }
}

__device__ inline void finish_values(const AttendInParams& p, int first, const InputRows& rows,
                                     const Shared<float>& sums) {
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int element = first + place % kPairRows;
    if (element >= p.v_weights.rows) continue;
    const float value = p.v_bias == nullptr ? sums[place] : sums[place] + p.v_bias[element];
    store_key_value(p, rows[place / kPairRows], false, element, value);
  }
}

enum class Part : uint8_t { Query, Key, Value };

// Which 64 packed rows of which matrix a block multiplies.
struct BlockPart {
  Part part;
  int pair;
};

__device__ inline BlockPart this_part(const AttendInParams& p) {
  const int q_pairs = static_cast<int>(packed_groups(p.q_weights.rows)) / 2;
  const int k_pairs = static_cast<int>(packed_groups(p.k_weights.rows)) / 2;
  const int block = static_cast<int>(blockIdx.x);
  if (block < q_pairs) return {Part::Query, block};
  return block < q_pairs + k_pairs ? BlockPart{Part::Key, block - q_pairs}
                                   : BlockPart{Part::Value, block - q_pairs - k_pairs};
}

__device__ inline GroupPair groups_of(const AttendInParams& p, const BlockPart& block) {
  const PackedMatrix& weights = block.part == Part::Query ? p.q_weights
                                : block.part == Part::Key ? p.k_weights
                                                          : p.v_weights;
  return {weights.type, weights.quads(), {weights.group(2 * block.pair), weights.group(2 * block.pair + 1)}};
}

template <int kRows>
__global__ void __launch_bounds__(kProductThreads, 1) attend_in_kernel(const AttendInParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  const int first = static_cast<int>(blockIdx.y) * kRows;
  const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
  multiply_pair<kRows>(groups_of(p, this_part(p)), p.x, rows, sums);
  const BlockPart block = this_part(p);
  if (block.part == Part::Value) {
    finish_values(p, block.pair * kPairRows, rows, sums);
  } else {
    finish_pairs(p, block.part == Part::Query, block.pair * kGroupRows, rows, sums);
  }
}

// One group of a head for each warp, keys and values: scale = largest / 127, as in core/cache_page.cpp.
__global__ void __launch_bounds__(WriteCacheParams::kInfo.max_threads) write_cache_kernel(const WriteCacheParams p) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int head_dim = p.cache.head_dim, groups = cache_groups(head_dim);
  const int index = static_cast<int>(blockIdx.x) * (WriteCacheParams::kInfo.max_threads / kWarpSize) + warp;
  if (index >= 2 * p.cache.kv_heads * groups) return;
  const bool is_key = index % 2 == 0;
  const int kv_head = index / 2 / groups, group = index / 2 % groups, d = group * kCacheGroup + lane;
  const int64_t row = blockIdx.y;
  const RowPlace place = p.places[row];
  const int slot = place.position % kTilePositions;
  const Global<uint8_t> head = p.cache.head(place.sequence, place.position / kTilePositions, kv_head);
  const HeadParts parts(p.cache.type, head_dim);
  const Global<uint8_t> elements = is_key ? head : head + parts.values;
  const int64_t at =
      is_key ? static_cast<int64_t>(d) * kTilePositions + slot : static_cast<int64_t>(slot) * head_dim + d;
  const float value = d < head_dim ? (is_key ? p.k : p.v)[(row * p.cache.kv_heads + kv_head) * head_dim + d] : 0.0f;
  if (p.cache.type != CacheType::Q8_0) {
    if (d < head_dim) store_element(p.cache.type, elements, at, value);
    return;
  }
  const float scale = warp_max(fabsf(value)) / 127.0f;
  const float inverse = scale > 0 && scale <= 3.402823466e38f ? 1.0f / scale : 0.0f;
  if (d < head_dim) {
    elements[at] =
        static_cast<uint8_t>(static_cast<int8_t>(inverse > 0 ? static_cast<int>(rintf(value * inverse)) : 0));
  }
  if (lane != 0) return;
  const Global<uint16_t> scales = as<uint16_t>(head + (is_key ? parts.key_scales : parts.value_scales));
  scales[is_key ? group * kTilePositions + slot : slot * groups + group] = half_of(scale);
}

}  // namespace

void rope_table(Stream& stream, int rows, const RopeTableParams& params) {
  launch(stream, rope_table_kernel, Grid{static_cast<unsigned>(rows)}, RopeTableParams::kInfo.max_threads, 0, params);
}

void attend_in(Stream& stream, const AttendInParams& params) {
  const unsigned pairs =
      static_cast<unsigned>(packed_groups(params.q_weights.rows) + packed_groups(params.k_weights.rows) +
                            packed_groups(params.v_weights.rows)) /
      2;
  const auto launch_rows = [&](void (*kernel)(AttendInParams), int rows) {
    const unsigned row_tiles = static_cast<unsigned>((params.rows + rows - 1) / rows);
    launch(stream, kernel, Grid{pairs, row_tiles}, kProductThreads, product_bytes(rows), params);
  };
  if (params.rows == 1) return launch_rows(attend_in_kernel<1>, 1);
  if (params.rows < kFewestTileRows) return launch_rows(attend_in_kernel<kMaxVectorRows>, kMaxVectorRows);
  launch_rows(attend_in_kernel<kTileColumns>, kTileColumns);
}

void write_cache(Stream& stream, int rows, const WriteCacheParams& params) {
  constexpr int kWarps = WriteCacheParams::kInfo.max_threads / kWarpSize;
  const int parts = 2 * params.cache.kv_heads * ((params.cache.head_dim + kCacheGroup - 1) / kCacheGroup);
  launch(stream, write_cache_kernel,
         Grid{static_cast<unsigned>((parts + kWarps - 1) / kWarps), static_cast<unsigned>(rows)},
         WriteCacheParams::kInfo.max_threads, 0, params);
}

}  // namespace moescope::cuda
