// A block has one expert and up to eight rows, so that the few weights of a router are under way on many multiprocessors at once. A row's
// sum: a thread adds the chunks of four elements c, c + 128, ... in ascending order by fused multiply-adds, then a tree over the lanes of a
// warp, then the warps in ascending order; it depends on `hidden` alone.
#include "cuda/device.h"
#include "cuda/route.h"

namespace moescope::cuda {

namespace {

// Chunks begin at multiples of 16 bytes where rows do.
__device__ float4 chunk_of(Global<const float> row, int chunk, int hidden) {
  if (hidden % 4 == 0) return as<const float4>(row)[chunk];
  float values[4] = {};
  for (int i = 0; i < 4; ++i) {
    if (4 * chunk + i < hidden) values[i] = row[4 * chunk + i];
  }
  return make_float4(values[0], values[1], values[2], values[3]);
}

template <int kRows>
__global__ void __launch_bounds__(ScoreParams::kInfo.max_threads) score_kernel(const ScoreParams p) {
  SharedArena arena;
  const Shared<float> warp_sums = arena.take<float>(ScoreParams::kWarps * kRows);
  const int thread = static_cast<int>(threadIdx.x), expert = static_cast<int>(blockIdx.x);
  const int first_row = static_cast<int>(blockIdx.y) * kRows;
  const int num_rows = p.rows - first_row < kRows ? p.rows - first_row : kRows;
  const bool is_gate = expert == p.num_experts;
  const Global<const float> weights = is_gate ? p.gate_weight : p.router + static_cast<int64_t>(expert) * p.hidden;
  const Global<const float> h = p.h + static_cast<int64_t>(first_row) * p.hidden;

  float sums[kRows] = {};
  for (int chunk = thread; chunk * 4 < p.hidden; chunk += ScoreParams::kInfo.max_threads) {
    const float4 w = chunk_of(weights, chunk, p.hidden);
    for (int r = 0; r < kRows; ++r) {
      if (r >= num_rows) continue;
      const float4 x = chunk_of(h + static_cast<int64_t>(r) * p.hidden, chunk, p.hidden);
      sums[r] = fmaf(w.w, x.w, fmaf(w.z, x.z, fmaf(w.y, x.y, fmaf(w.x, x.x, sums[r]))));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float sum = warp_sum(sums[r]);
    if (thread % kWarpSize == 0) warp_sums[r * ScoreParams::kWarps + thread / kWarpSize] = sum;
  }
  __syncthreads();
  if (thread >= num_rows) return;
  float z = 0;
  for (int warp = 0; warp < ScoreParams::kWarps; ++warp) z += warp_sums[thread * ScoreParams::kWarps + warp];
  if (is_gate) {
    p.shared_gate[first_row + thread] = static_cast<float>(1 / (1 + exp(-static_cast<double>(z))));
  } else {
    p.logits[static_cast<int64_t>(first_row + thread) * p.num_experts + expert] = z;
  }
}

template <int kRows>
void score_tiles(Stream& stream, const ScoreParams& params) {
  const Grid grid{static_cast<unsigned>(params.num_experts + (params.gate_weight != nullptr ? 1 : 0)),
                  static_cast<unsigned>((params.rows + kRows - 1) / kRows)};
  launch(stream, score_kernel<kRows>, grid, ScoreParams::kInfo.max_threads,
         arena_bytes<float>(ScoreParams::kWarps * kRows), params);
}

}  // namespace

void score(Stream& stream, const ScoreParams& params) {
  if (params.rows == 1) return score_tiles<1>(stream, params);
  score_tiles<ScoreParams::kTileRows>(stream, params);
}

}  // namespace moescope::cuda
