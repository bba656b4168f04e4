// Products of a few rows of activations with 16 weight rows as they are stored: four products of a row are summed at once, then the
// sums of 16 rows are brought side by side, a quarter of what transposing the weights would take. The arithmetic is that of an IntTile.
#pragma once

#include "cpu/arch/int_codes_avx512.h"
#include "cpu/arch/int_factors_avx512.h"
#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

constexpr int kFewRows = 4;  // more are faster with weights transposed

// sums[r]: 16 words of row r, four to a run. runs[k]: sum of run k of each row.
inline void sums_by_run(const __m512i (&sums)[16], __m512i (&runs)[4]) {
  __m512i four[4];  // lane k: run k of rows 4 i to 4 i + 3
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto two = [&](int row) {
      return _mm512_add_epi32(_mm512_unpacklo_epi32(sums[row], sums[row + 1]),
                              _mm512_unpackhi_epi32(sums[row], sums[row + 1]));
    };
    const __m512i first = two(4 * i), second = two(4 * i + 2);
    four[i] = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
  }
  const __m512i a = _mm512_shuffle_i32x4(four[0], four[1], 0x44), b = _mm512_shuffle_i32x4(four[0], four[1], 0xEE);
  const __m512i c = _mm512_shuffle_i32x4(four[2], four[3], 0x44), d = _mm512_shuffle_i32x4(four[2], four[3], 0xEE);
  runs[0] = _mm512_shuffle_i32x4(a, c, 0x88);
  runs[1] = _mm512_shuffle_i32x4(a, c, 0xDD);
  runs[2] = _mm512_shuffle_i32x4(b, d, 0x88);
  runs[3] = _mm512_shuffle_i32x4(b, d, 0xDD);
}

// A row of activations against 64 elements of each weight row.
template <typename Codes>
inline __m512 add_quarter(const __m512i (&weights)[16], const int8_t* q, const RunFactors& factors, int quarter,
                          const float* scale, const float* minimum, __m512 total) {
  __m512i sums[16], runs[4];
  const __m512i values = _mm512_loadu_si512(q);
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) sums[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), weights[r], values);
  sums_by_run(sums, runs);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const int run = 4 * quarter + k;  // of the chunk's activations
    const int place = 16 * (run * kActivationRun / Codes::kRun);
    const __m512 shift = _mm512_set1_ps(factors.shift[run]);
    __m512 exact = _mm512_cvtepi32_ps(runs[k]);
    if (Codes::kZero != 0) exact = _mm512_sub_ps(exact, shift);
    total = _mm512_fmadd_ps(exact, _mm512_mul_ps(_mm512_loadu_ps(scale + place), _mm512_set1_ps(factors.scale[run])),
                            total);
    if (Codes::kHasMinimum) total = _mm512_fmadd_ps(_mm512_loadu_ps(minimum + place), shift, total);
  }
  return total;
}

template <typename Codes>
void dot_few(const TileRows& rows, int num_rows, int64_t row_bytes, int64_t length, const IntRow* x, int num_x,
             float* y, int64_t y_stride) {
  __m512 totals[kFewRows];
  for (int row = 0; row < num_x; ++row) totals[row] = _mm512_setzero_ps();
  alignas(64) float scale[16 * kChunk / Codes::kRun], minimum[16 * kChunk / Codes::kRun];
  RunFactors factors[kFewRows];
  int64_t chunk = 0;  // in bytes
  for (int64_t start = 0; start < length; start += kChunk, chunk += Codes::kBytes) {
    const int num_quarters = static_cast<int>(length - start < kChunk ? (length - start) / kQuarter : 4);
    for (int r = 0; r < 16; ++r) {
      // The same chunk of the next 16 rows.
      for (int i = 0; i < Codes::kBytes; i += 64) _mm_prefetch(rows.row(r) + 16 * row_bytes + chunk + i, _MM_HINT_T0);
    }
    Codes::scales(rows, chunk, num_quarters, scale, minimum);
    for (int row = 0; row < num_x; ++row) {
      run_factors(x[row], start / kActivationRun, 4 * num_quarters, Codes::kHasMinimum, Codes::kZero, factors[row]);
    }
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      if (quarter >= num_quarters) break;
      __m512i weights[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) weights[r] = Codes::codes(rows.row(r) + chunk, quarter);
      for (int row = 0; row < num_x; ++row) {
        totals[row] = add_quarter<Codes>(weights, x[row].q + start + kQuarter * quarter, factors[row], quarter, scale,
                                         minimum, totals[row]);
      }
    }
  }
  const auto mask = static_cast<__mmask16>((1u << num_rows) - 1);
  for (int row = 0; row < num_x; ++row) _mm512_mask_storeu_ps(y + row * y_stride, mask, totals[row]);
}

// The rows as an IntTile.
template <typename Codes>
void unpack_codes(const TileRows& rows, int64_t row_bytes, int64_t length, const IntTileView& tile) {
  int64_t chunk = 0;
  for (int64_t start = 0; start < length; start += kChunk, chunk += Codes::kBytes) {
    const int num_quarters = static_cast<int>(length - start < kChunk ? (length - start) / kQuarter : 4);
    for (int r = 0; r < 16; ++r) {
      for (int i = 0; i < Codes::kBytes; i += 64) _mm_prefetch(rows.row(r) + 16 * row_bytes + chunk + i, _MM_HINT_T0);
    }
    const int64_t place = 16 * (start / Codes::kRun);
    Codes::scales(rows, chunk, num_quarters, tile.scale + place, Codes::kHasMinimum ? tile.minimum + place : nullptr);
#pragma GCC unroll 4
    for (int quarter = 0; quarter < 4; ++quarter) {
      if (quarter >= num_quarters) break;
      __m512i words[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) words[r] = Codes::codes(rows.row(r) + chunk, quarter);
      transpose_words(words);
      uint8_t* q = tile.q + (start + kQuarter * quarter) * kTileColumns;
#pragma GCC unroll 16
      for (int word = 0; word < 16; ++word) _mm512_storeu_si512(q + 64 * word, words[word]);
    }
  }
}

// Calls function(Codes) for a type that has some and rows of that length; false for others.
template <typename Function>
inline bool with_codes(DType dtype, int64_t length, const Function& function) {
  if (length % kQuarter != 0) return false;
  switch (dtype) {
    case DType::Q4_K: function(CodesQ4K{}); return true;
    case DType::Q5_K: function(CodesQ5K{}); return true;
    case DType::Q6_K: function(CodesQ6K{}); return true;
    case DType::Q8_0: function(CodesQ8{}); return true;
    default: return false;
  }
}

}  // namespace
}  // namespace moescope
