// F32x16 on AVX-512: one register.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace moescope {
namespace {  // each instruction set has an F32x16 of its own: the linker must not merge them

struct F32x16 {
  __m512 v;

  static F32x16 zero() { return {_mm512_setzero_ps()}; }
  static F32x16 broadcast(float value) { return {_mm512_set1_ps(value)}; }
  static F32x16 load(const float* source) { return {_mm512_loadu_ps(source)}; }
  // The first `count` elements, 0 in the other lanes.
  static F32x16 load_first(const float* source, int64_t count) {
    return {_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), source)};
  }
  void store(float* target) const { _mm512_storeu_ps(target, v); }
  void store_first(float* target, int64_t count) const {
    _mm512_mask_storeu_ps(target, static_cast<__mmask16>((1u << count) - 1), v);
  }

  // ((0+8) + (4+12)) + ... : halves are added until one lane is left.
  float sum() const {
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    const __m128 pair = _mm_add_ps(quarter, _mm_movehl_ps(quarter, quarter));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps(pair, pair, 1)));
  }
  float max() const { return _mm512_reduce_max_ps(v); }

  friend F32x16 operator+(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend F32x16 operator-(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend F32x16 operator*(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend F32x16 operator/(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
  // a * b + c, rounded once.
  friend F32x16 fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  friend F32x16 max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
  friend F32x16 min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
  // To the nearest integer, ties to even.
  friend F32x16 round(F32x16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  // 2^n for integral n in [-126, 127].
  friend F32x16 exp2i(F32x16 n) {
    const __m512i biased = _mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
  }
};

}  // namespace
}  // namespace moescope
