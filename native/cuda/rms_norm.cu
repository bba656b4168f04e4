#include "cuda/norm_row.cuh"
#include "cuda/rms_norm.h"

namespace moescope::cuda {

namespace {

// One block for each row.
__global__ void __launch_bounds__(RmsNormParams::kThreads) rms_norm_kernel(const RmsNormParams p) {
  SharedArena arena;
  norm_row(p, blockIdx.x, arena.take<float>(kNormWarps));
}

// One warp for each unit.
__global__ void __launch_bounds__(QuantizeParams::kInfo.max_threads) quantize_kernel(const QuantizeParams p) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int unit = static_cast<int>(blockIdx.x) * kNormWarps + warp, i = unit * kUnit + lane;
  if (unit >= p.side.quads * kQuadUnits) return;
  const int64_t row = blockIdx.y;
  store_unit(p.side, row, unit, lane, i < p.length ? p.x[row * p.length + i] : 0.0f);
}

}  // namespace

void rms_norm(Stream& stream, int rows, const RmsNormParams& params) {
  launch(stream, rms_norm_kernel, Grid{static_cast<unsigned>(rows)}, RmsNormParams::kThreads,
         RmsNormParams::kInfo.max_shared_bytes, params);
}

void quantize(Stream& stream, int rows, const QuantizeParams& params) {
  const int units = params.side.quads * kQuadUnits;
  launch(stream, quantize_kernel,
         Grid{static_cast<unsigned>((units + kNormWarps - 1) / kNormWarps), static_cast<unsigned>(rows)},
         QuantizeParams::kInfo.max_threads, 0, params);
}

}  // namespace moescope::cuda
