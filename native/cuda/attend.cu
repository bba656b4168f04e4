// Two kernels. The first: one block for each row, key/value head and span of 256 positions, one warp for each of its tiles; the query heads
// that share a key/value head meet its keys together. A lane scores two keys, then sums two columns of values. The second merges the spans of
// a row and rounds the context for the product with Wo. Scores, weights and sums have the order of cpu/arch/kernels_impl.h.
#include "cuda/attend.h"
#include "cuda/cache_pairs.cuh"
#include "cuda/exp.cuh"
#include "cuda/left_side.cuh"

namespace moescope::cuda {

namespace {

constexpr int kAttendThreads = kSpanTiles * kWarpSize;

struct AttendMergeParams {
  static constexpr KernelInfo kInfo{"attend_merge", 256};

  AttendParams attend;
};

// What a maximum and a sum become when results are merged (Milakov and Gimelshein 2018).
struct Merge {
  float max, keep, add;

  __device__ Merge(float old_max, float new_max) {
    max = new_max > old_max ? new_max : old_max;
    keep = exp_of(old_max - max);
    add = exp_of(new_max - max);
  }
};

// Shared memory of a block: q (head_dim, kQueries); for each tile its weights (64, kQueries) and its result (kQueries, head_dim + 2).
template <int kQueries>
struct SpanRoom {
  Shared<float> q, weights, results;

  __device__ SpanRoom(int head_dim) {
    SharedArena arena;
    q = arena.take<float>(kQueries * head_dim);
    weights = arena.take<float>(kSpanTiles * kTilePositions * kQueries);
    results = arena.take<float>(kSpanTiles * kQueries * (head_dim + 2));
  }
};

// The sum of 64 weights, two in each lane, by the tree that the CPU has: key 16 p + j lies in lane 8 p + j / 2.
__device__ inline float sum_weights(float even, float odd) {
  for (int distance : {8, 16, 4, 2, 1}) {
    even += __shfl_xor_sync(kAllLanes, even, distance);
    odd += __shfl_xor_sync(kAllLanes, odd, distance);
  }
  return even + odd;
}

// Scores of keys 2 lane and 2 lane + 1, d ascending; then their weights. NaN reaches maximum and sum.
template <CacheType kType, int kQueries>
__device__ inline void weigh_keys(const Global<const uint8_t>& head, int head_dim, int num_keys, const Shared<float>& q,
                                  const Shared<float>& weights, const Shared<float>& result) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const HeadParts parts(kType, head_dim);
  float scores[kQueries][2] = {};
  float2 scale = make_float2(1, 1);
  for (int d = 0; d < head_dim; ++d) {
    float2 keys = element_pair<kType>(head, d * kTilePositions + 2 * lane);
    if constexpr (kType == CacheType::Q8_0) {
      if (d % kCacheGroup == 0) {
        scale = element_pair<CacheType::F16>(head + parts.key_scales, d / kCacheGroup * kTilePositions + 2 * lane);
      }
      keys = make_float2(keys.x * scale.x, keys.y * scale.y);
    }
    MOESCOPE_UNROLL
    for (int query = 0; query < kQueries; ++query) {
      const float element = q[d * kQueries + query];
      scores[query][0] = fmaf(element, keys.x, scores[query][0]);
      scores[query][1] = fmaf(element, keys.y, scores[query][1]);
    }
  }
  MOESCOPE_UNROLL
  for (int query = 0; query < kQueries; ++query) {
    const bool has_first = 2 * lane < num_keys, has_second = 2 * lane + 1 < num_keys;
    const float first = has_first ? scores[query][0] : __uint_as_float(0xff800000u);
    const float second = has_second ? scores[query][1] : __uint_as_float(0xff800000u);
    const float largest = warp_max(second > first || second != second ? second : first);
    const float even = has_first ? exp_of(first - largest) : 0.0f, odd = has_second ? exp_of(second - largest) : 0.0f;
    weights[2 * lane * kQueries + query] = even;
    weights[(2 * lane + 1) * kQueries + query] = odd;
    const float sum = sum_weights(even, odd);
    if (lane == 0) {
      result[query * (head_dim + 2) + head_dim] = largest;
      result[query * (head_dim + 2) + head_dim + 1] = sum;
    }
  }
}

// Columns 2 lane, 2 lane + 1, and those 64 further on, of the weighted values; keys ascending.
template <CacheType kType, int kQueries>
__device__ inline void sum_values(const Global<const uint8_t>& head, int head_dim, int num_keys,
                                  const Shared<float>& weights, const Shared<float>& result) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const HeadParts parts(kType, head_dim);
  const Global<const uint8_t> values = head + parts.values;
  for (int d = 2 * lane; d < head_dim; d += 2 * kWarpSize) {
    float sums[kQueries][2] = {};
    for (int key = 0; key < num_keys; ++key) {
      float2 pair = element_pair<kType>(values, static_cast<int64_t>(key) * head_dim + d);
      if constexpr (kType == CacheType::Q8_0) {
        const int at = key * cache_groups(head_dim) + d / kCacheGroup;
        const float scale = float_of_half(as<const uint16_t>(head + parts.value_scales)[at]);
        pair = make_float2(pair.x * scale, pair.y * scale);
      }
      MOESCOPE_UNROLL
      for (int query = 0; query < kQueries; ++query) {
        const float weight = weights[key * kQueries + query];
        sums[query][0] = fmaf(weight, pair.x, sums[query][0]);
        sums[query][1] = fmaf(weight, pair.y, sums[query][1]);
      }
    }
    MOESCOPE_UNROLL
    for (int query = 0; query < kQueries; ++query) {
      result[query * (head_dim + 2) + d] = sums[query][0];
      result[query * (head_dim + 2) + d + 1] = sums[query][1];
    }
  }
}

// Merges the results of the span's tiles, ascending, and writes them.
template <int kQueries>
__device__ inline void merge_tiles(const AttendParams& p, const Shared<float>& results, int tiles, int queries,
                                   const Global<float>& first_partial) {
  const int head_dim = p.cache.head_dim, width = head_dim + 2;
  for (int place = static_cast<int>(threadIdx.x); place < queries * head_dim; place += kAttendThreads) {
    const int query = place / head_dim, d = place % head_dim;
    const Shared<float> first = results + query * width;
    float value = first[d], max = first[head_dim], sum = first[head_dim + 1];
    for (int tile = 1; tile < tiles; ++tile) {
      const Shared<float> next = results + (tile * kQueries + query) * width;
      const Merge merge(max, next[head_dim]);
      max = merge.max;
      sum = sum * merge.keep + next[head_dim + 1] * merge.add;
      value = value * merge.keep + next[d] * merge.add;
    }
    const Global<float> out = first_partial + static_cast<int64_t>(query) * p.max_spans * width;
    out[d] = value;
    if (d != 0) continue;
    out[head_dim] = max;
    out[head_dim + 1] = sum;
  }
}

// Grid: (spans, key/value heads times parts of their query heads, rows).
template <CacheType kType, int kQueries>
__global__ void __launch_bounds__(kAttendThreads, 6) attend_kernel(const AttendParams p) {
  const int span = static_cast<int>(blockIdx.x), group = p.heads / p.cache.kv_heads;
  const int parts = (group + kQueries - 1) / kQueries;
  const int kv_head = static_cast<int>(blockIdx.y) / parts,
            first_query = static_cast<int>(blockIdx.y) % parts * kQueries;
  const int64_t row = blockIdx.z;
  const RowPlace place = p.places[row];
  if (span * kSpanPositions > place.position) return;
  const int head_dim = p.cache.head_dim, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int queries = group - first_query < kQueries ? group - first_query : kQueries;
  const int64_t first_head = row * p.heads + kv_head * group + first_query;
  const SpanRoom<kQueries> room(head_dim);
  for (int at = static_cast<int>(threadIdx.x); at < kQueries * head_dim; at += kAttendThreads) {
    const int query = at / head_dim < queries ? at / head_dim : 0;
    room.q[at % head_dim * kQueries + at / head_dim] = p.q[(first_head + query) * head_dim + at % head_dim];
  }
  __syncthreads();

  const int tile = span * kSpanTiles + warp, before = tile * kTilePositions;
  const int num_keys = place.position + 1 - before < kTilePositions ? place.position + 1 - before : kTilePositions;
  if (num_keys > 0) {
    const Global<const uint8_t> head = p.cache.head(place.sequence, tile, kv_head);
    const Shared<float> weights = room.weights + warp * kTilePositions * kQueries;
    const Shared<float> result = room.results + warp * kQueries * (head_dim + 2);
    weigh_keys<kType, kQueries>(head, head_dim, num_keys, room.q, weights, result);
    __syncwarp();
    sum_values<kType, kQueries>(head, head_dim, num_keys, weights, result);
  }
  __syncthreads();
  const int last_tile = place.position / kTilePositions - span * kSpanTiles;
  const int tiles = last_tile + 1 < kSpanTiles ? last_tile + 1 : kSpanTiles;
  merge_tiles<kQueries>(p, room.results, tiles, queries,
                        p.partial + (first_head * p.max_spans + span) * (head_dim + 2));
}

// One unit of a row's context for each warp.
__global__ void __launch_bounds__(256) attend_merge_kernel(const AttendMergeParams params) {
  const AttendParams& p = params.attend;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int unit = static_cast<int>(blockIdx.x) * (256 / kWarpSize) + warp, head_dim = p.cache.head_dim;
  const int width = p.heads * head_dim, units = p.side.quads * kQuadUnits;
  if (unit >= units) return;
  const int64_t row = blockIdx.y;
  const int element = unit * kUnit + lane, d = element % head_dim;
  float value = 0;
  if (element < width) {
    const Global<const float> partial = p.partial + (row * p.heads + element / head_dim) * p.max_spans * (head_dim + 2);
    float max = partial[head_dim], sum = partial[head_dim + 1];
    value = partial[d];
    for (int span = 1; span <= p.places[row].position / kSpanPositions; ++span) {
      const Global<const float> next = partial + static_cast<int64_t>(span) * (head_dim + 2);
      const Merge merge(max, next[head_dim]);
      max = merge.max;
      sum = sum * merge.keep + next[head_dim + 1] * merge.add;
      value = value * merge.keep + next[d] * merge.add;
    }
    value /= sum;
    if (p.context != nullptr) p.context[row * width + element] = value;
  }
  store_unit(p.side, row, unit, lane, value);
}

template <CacheType kType, int kQueries>
void launch_attend(Stream& stream, const AttendParams& params) {
  const int group = params.heads / params.cache.kv_heads, parts = (group + kQueries - 1) / kQueries;
  const size_t head_dim = static_cast<size_t>(params.cache.head_dim);
  const size_t shared = arena_bytes<float>(kQueries * head_dim) +
                        arena_bytes<float>(kSpanTiles * kTilePositions * kQueries) +
                        arena_bytes<float>(kSpanTiles * kQueries * (head_dim + 2));
  launch(stream, attend_kernel<kType, kQueries>,
         Grid{static_cast<unsigned>(params.max_spans), static_cast<unsigned>(params.cache.kv_heads * parts),
              static_cast<unsigned>(params.rows)},
         kAttendThreads, shared, params);
}

template <CacheType kType>
void launch_type(Stream& stream, const AttendParams& params) {
  const int group = params.heads / params.cache.kv_heads;
  if (group == 1) return launch_attend<kType, 1>(stream, params);
  if (group <= 4) return launch_attend<kType, 4>(stream, params);
  launch_attend<kType, AttendParams::kMaxQueries>(stream, params);
}

}  // namespace

void attend(Stream& stream, const AttendParams& params) {
  if (params.cache.head_dim % 2 != 0 || params.cache.head_dim > AttendParams::kMaxHeadDim) {
    fail(ErrorCode::Unsupported, "Expected heads of an even width up to ", AttendParams::kMaxHeadDim,
         " on device cuda, got ", params.cache.head_dim, ".");
  }
  switch (params.cache.type) {
    case CacheType::F32: launch_type<CacheType::F32>(stream, params); break;
    case CacheType::BF16: launch_type<CacheType::BF16>(stream, params); break;
    case CacheType::F16: launch_type<CacheType::F16>(stream, params); break;
    case CacheType::Q8_0: launch_type<CacheType::Q8_0>(stream, params); break;
  }
  const unsigned units = static_cast<unsigned>(params.side.quads * kQuadUnits);
  launch(stream, attend_merge_kernel, Grid{(units + 7) / 8, static_cast<unsigned>(params.rows)}, 256, 0,
         AttendMergeParams{params});
}

}  // namespace moescope::cuda
