// silu(gate h) * (up h), SwiGLU (Shazeer 2020), for 32 rows of gate and the same of up by one block of threads: one unit of what the
// product with `down` takes, so it is rounded to its forms at once.
#pragma once

#include "cuda/exp.cuh"
#include "cuda/product.cuh"

namespace moescope::cuda {

// `unit`: rows [32 unit, 32 unit + 32). inner's row for the i-th of `rows` is first_out + i. Matrices of two types are multiplied one
// after the other, each with itself.
template <int kRows>
__device__ inline void gated_unit(const PackedMatrix& gate, const PackedMatrix& up, int unit, const LeftSide& h,
                                  const InputRows& rows, const LeftSide& inner, int64_t first_out,
                                  const Shared<float>& sums) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  float gate_value = 0, up_value = 0;
  if (unit < packed_groups(gate.rows)) {
    const bool is_one_type = gate.type == up.type;
    for (int pass = is_one_type ? 1 : 0; pass < 2; ++pass) {
      const Global<const uint8_t> first = is_one_type || pass == 0 ? gate.group(unit) : up.group(unit);
      const Global<const uint8_t> second = pass == 0 ? gate.group(unit) : up.group(unit);
      multiply_pair<kRows>({pass == 0 || is_one_type ? gate.type : up.type, gate.quads(), {first, second}}, h, rows,
                           sums);
      if (warp < rows.count && (pass == 0 || is_one_type)) gate_value = sums[warp * kPairRows + lane];
      if (warp < rows.count) up_value = sums[warp * kPairRows + kGroupRows + lane];
      __syncthreads();
    }
  }
  if (warp < rows.count) store_unit(inner, first_out + warp, unit, lane, silu_mul(gate_value, up_value));
}

}  // namespace moescope::cuda
