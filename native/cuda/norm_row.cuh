// The norm of one row by one block of threads.
#pragma once

#include "cuda/left_side.cuh"
#include "cuda/rms_norm.h"

namespace moescope::cuda {

constexpr int kNormWarps = RmsNormParams::kThreads / kWarpSize;

// The sum of squares: a thread adds its elements in ascending order, then a tree over the lanes of a warp, then one over the warps; it
// depends on `hidden` alone. fp32 throughout: 14 elements for a thread at hidden 3584, so that the sum's relative error stays below
// (14 + 5 + 3) 2^-24.
__device__ inline void norm_row(const RmsNormParams& p, int64_t row, const Shared<float>& warp_sums) {
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpSize, lane = thread % kWarpSize;
  const Global<const float> x = p.x + row * p.hidden;
  float sum = 0;
  for (int i = thread; i < p.hidden; i += RmsNormParams::kThreads) {
    const float value = x[i];
    sum = fmaf(value, value, sum);
  }
  sum = warp_sum(sum);
  if (lane == 0) warp_sums[warp] = sum;
  __syncthreads();

  const float total = warp_sum(lane < kNormWarps ? warp_sums[lane] : 0.0f);
  const float scale = 1 / sqrtf(total / static_cast<float>(p.hidden) + p.eps);
  const int units = p.side.quads * kQuadUnits, own_units = (p.hidden + kUnit - 1) / kUnit;
  for (int unit = warp; unit < units || unit < own_units; unit += kNormWarps) {
    const int i = unit * kUnit + lane;
    const float value = i < p.hidden ? p.weight[i] * (x[i] * scale) : 0.0f;
    if (unit < units) store_unit(p.side, row, unit, lane, value);
    if (p.out != nullptr && i < p.hidden) p.out[row * p.hidden + i] = value;
  }
}

}  // namespace moescope::cuda
