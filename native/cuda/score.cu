// A warp has one expert and up to eight rows. A row's sum: a lane adds its elements in ascending order by fused multiply-adds, then a
// tree over the lanes; it depends on `hidden` alone.
#include "cuda/device.h"
#include "cuda/route.h"

namespace moescope::cuda {

namespace {

__global__ void __launch_bounds__(ScoreParams::kInfo.max_threads) score_kernel(const ScoreParams p) {
  constexpr int kTileRows = ScoreParams::kTileRows;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int expert = static_cast<int>(blockIdx.x) * ScoreParams::kWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  const int first_row = static_cast<int>(blockIdx.y) * kTileRows;
  const bool is_gate = expert == p.num_experts;
  if (expert > p.num_experts || (is_gate && p.gate_weight == nullptr)) return;
  const Global<const float> weights = is_gate ? p.gate_weight : p.router + static_cast<int64_t>(expert) * p.hidden;

  float sums[kTileRows] = {};
  for (int i = lane; i < p.hidden; i += kWarpSize) {
    const float weight = weights[i];
    for (int r = 0; r < kTileRows; ++r) {
      if (first_row + r < p.rows) {
        sums[r] = fmaf(weight, p.h[static_cast<int64_t>(first_row + r) * p.hidden + i], sums[r]);
      }
    }
  }
  for (int r = 0; r < kTileRows; ++r) {
    if (first_row + r >= p.rows) return;
    const float z = warp_sum(sums[r]);
    if (lane != 0) continue;
    if (is_gate) {
      p.shared_gate[first_row + r] = static_cast<float>(1 / (1 + exp(-static_cast<double>(z))));
    } else {
      p.logits[static_cast<int64_t>(first_row + r) * p.num_experts + expert] = z;
    }
  }
}

}  // namespace

void score(Stream& stream, const ScoreParams& params) {
  const int columns = params.num_experts + (params.gate_weight != nullptr ? 1 : 0);
  const Grid grid{static_cast<unsigned>((columns + ScoreParams::kWarps - 1) / ScoreParams::kWarps),
                  static_cast<unsigned>((params.rows + ScoreParams::kTileRows - 1) / ScoreParams::kTileRows)};
  launch(stream, score_kernel, grid, ScoreParams::kInfo.max_threads, 0, params);
}

}  // namespace moescope::cuda
