// exp and what is made of it, in fused multiply-adds: the bits of cpu/arch/kernels_impl.h.
#pragma once

#include "cuda/device.h"

namespace moescope::cuda {

// Error below 2 ulp; x is taken as -87.3 below that and as 88 above, NaN stays NaN. After Cephes expf (Moshier): x = n ln2 + r, exp(r) by
// degree 5 around 0.
__device__ inline float exp_of(float x) {
  const float clamped = x < -87.3f ? -87.3f : (x > 88.0f ? 88.0f : x);
  const float n = rintf(clamped * 1.44269504088896341f);
  float r = fmaf(n, -0.693359375f, clamped);
  r = fmaf(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fmaf(p, r, 1.3981999507e-3f);
  p = fmaf(p, r, 8.3334519073e-3f);
  p = fmaf(p, r, 4.1665795894e-2f);
  p = fmaf(p, r, 1.6666665459e-1f);
  p = fmaf(p, r, 5.0000001201e-1f);
  p = fmaf(p, r * r, r) + 1.0f;
  // 2^n by its exponent bits; a NaN gives any n, and p is NaN then.
  return p * __uint_as_float(static_cast<uint32_t>(static_cast<int>(n == n ? n : 0.0f) + 127) << 23);
}

// silu(gate) * up, silu(z) = z / (1 + exp(-z)).
__device__ inline float silu_mul(float gate, float up) { return gate / (1.0f + exp_of(0.0f - gate)) * up; }

}  // namespace moescope::cuda
