// Factors of the sums of a row of activations, 16 runs at a time. Only for files that are compiled for AVX-512 F.
#pragma once

#include <immintrin.h>

#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

// What 16 runs of a row of activations give to every sum: scales, and `zero` times the sum of q or minus the sum times the scale.
struct RunFactors {
  alignas(64) float scale[16];
  alignas(64) float shift[16];
};

inline void run_factors(const IntRow& x, int64_t run, int num_runs, bool has_minimum, int zero, RunFactors& out) {
  const auto inside = static_cast<__mmask16>(num_runs < 16 ? (1u << num_runs) - 1 : 0xFFFFu);
  const __m512 scale = _mm512_maskz_loadu_ps(inside, x.scale + run);
  const __m512 sum = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(inside, x.sums + run));
  _mm512_store_ps(out.scale, scale);
  _mm512_store_ps(out.shift, has_minimum ? _mm512_mul_ps(_mm512_sub_ps(_mm512_setzero_ps(), sum), scale)
                                         : _mm512_mul_ps(sum, _mm512_set1_ps(static_cast<float>(zero))));
}

}  // namespace
}  // namespace moescope
