// silu(gate h) * (up h), SwiGLU (Shazeer 2020), for 32 rows of gate and the same of up by one block of threads: one unit of what the
// product with `down` takes, so it is rounded to its forms at once.
#pragma once

#include "cuda/exp.cuh"
#include "cuda/product.cuh"

namespace moescope::cuda {

// sums[row][64]: rows [32 unit, 32 unit + 32) of gate, then those of up. Matrices of two types (kIsMixed, one row of activations) are
// multiplied one after the other, each beside itself.
template <int kRows, bool kIsMixed>
__device__ inline void gate_and_up(const PackedMatrix& gate, const PackedMatrix& up, int unit, const LeftSide& h,
                                   const InputRows& rows, const Shared<float>& sums) {
  if constexpr (!kIsMixed) {
    multiply_pair<kRows>({gate.type, gate.quads(), {gate.group(unit), up.group(unit)}}, h, rows, sums);
  } else {
    static_assert(kRows == 1);
    const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
    multiply_pair<1>({gate.type, gate.quads(), {gate.group(unit), gate.group(unit)}}, h, rows, sums);
    const float gate_value = sums[lane];
    __syncthreads();
    multiply_pair<1>({up.type, up.quads(), {up.group(unit), up.group(unit)}}, h, rows, sums);
    if (static_cast<int>(threadIdx.x) < kWarpSize) sums[lane] = gate_value;
    __syncthreads();
  }
}

// One unit of `inner` from those sums, for the rows `out`; zeros where there are none.
__device__ inline void store_gated(const LeftSide& inner, const InputRows& out, int unit, bool has_sums,
                                   const Shared<float>& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int row = warp; row < out.count; row += kProductThreads / kWarpSize) {
    const Shared<float> both = sums + row * kPairRows + lane;
    store_unit(inner, out[row], unit, lane, has_sums ? silu_mul(both[0], both[kGroupRows]) : 0.0f);
  }
}

}  // namespace moescope::cuda
