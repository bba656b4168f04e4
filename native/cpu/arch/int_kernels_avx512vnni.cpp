// Compiled with AVX-512 F, BW, DQ, VL, VNNI and FMA: four products of a column are summed by one instruction.
#include <immintrin.h>

#include <cstdint>

#include "cpu/arch/transpose_avx512.h"

namespace moescope {
namespace {

// 64 bytes of each of 16 rows to four bytes of each row side by side: a transposition of 16 x 16 words.
void interleave_64(const uint8_t* values, int64_t stride, uint8_t* q) {
  __m512i rows[16];
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row) rows[row] = _mm512_loadu_si512(values + row * stride);
  transpose_words(rows);
#pragma GCC unroll 16
  for (int word = 0; word < 16; ++word) _mm512_storeu_si512(q + 64 * word, rows[word]);
}

__m256i nibbles(const uint8_t* packed) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(packed));
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

// 16 bytes to 32 nibbles, low ones first.
void nibbles_16(const uint8_t* packed, uint8_t* q) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), nibbles(packed));
}

// The same, and bit i of `high` becomes bit 4 of q[i].
void five_bits_32(const uint8_t* packed, uint32_t high, uint8_t* q) {
  const __m256i fifth = _mm256_maskz_set1_epi8(high, 16);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_or_si256(nibbles(packed), fifth));
}

}  // namespace
}  // namespace moescope

#include "cpu/arch/int_factors_avx512.h"
#include "cpu/arch/int_few_avx512vnni.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

namespace {

// R rows of activations against one run of all 16 columns; the arithmetic of dot_one, a lane for each column.
template <int R, bool kHasMinimum, bool kHasZero>
inline void add_run(const IntRow* x, const RunFactors* factors, const IntTileView& tile, int64_t start, int run,
                    __m512* total) {
  __m512i sums[R];
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) sums[row] = _mm512_setzero_si512();
  const uint8_t* q = tile.q + start * kTileColumns;
#pragma GCC unroll 4
  for (int i = 0; i < kActivationRun; i += 4) {
    const __m512i weights = _mm512_loadu_si512(q + i * kTileColumns);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      int32_t four;
      std::memcpy(&four, x[row].q + start + i, sizeof four);
      sums[row] = _mm512_dpbusd_epi32(sums[row], weights, _mm512_set1_epi32(four));
    }
  }
  // A division by the run would take as long as half of the products.
  const int64_t place = (start >> (tile.run == kActivationRun ? 4 : 5)) * kTileColumns;
  const __m512 scale = _mm512_loadu_ps(tile.scale + place);
  const __m512 minimum = kHasMinimum ? _mm512_loadu_ps(tile.minimum + place) : _mm512_setzero_ps();
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) {
    const __m512 shift = _mm512_set1_ps(factors[row].shift[run]);
    __m512 exact = _mm512_cvtepi32_ps(sums[row]);
    if (kHasZero) exact = _mm512_sub_ps(exact, shift);
    total[row] = _mm512_fmadd_ps(exact, _mm512_mul_ps(scale, _mm512_set1_ps(factors[row].scale[run])), total[row]);
    if (kHasMinimum) total[row] = _mm512_fmadd_ps(minimum, shift, total[row]);
  }
}

template <int R, bool kHasMinimum, bool kHasZero>
void dot_rows(const IntRow* x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  __m512 total[R];
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) total[row] = _mm512_setzero_ps();
  RunFactors factors[R];
  for (int64_t start = 0; start < tile.length; start += kChunk) {
    const int num_runs =
        static_cast<int>((tile.length - start < kChunk ? tile.length - start : kChunk) / kActivationRun);
    for (int row = 0; row < R; ++row) {
      run_factors(x[row], start / kActivationRun, num_runs, kHasMinimum, tile.zero, factors[row]);
    }
    for (int run = 0; run < num_runs; ++run) {
      add_run<R, kHasMinimum, kHasZero>(x, factors, tile, start + run * kActivationRun, run, total);
    }
  }
  const auto mask = static_cast<__mmask16>((1u << num_columns) - 1);
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) _mm512_mask_storeu_ps(y + row * y_stride, mask, total[row]);
}

template <bool kHasMinimum, bool kHasZero>
void dot_all(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  int row = 0;
  const auto rows = [&]<int R>() {
    for (; row + R <= num_x; row += R) {
      dot_rows<R, kHasMinimum, kHasZero>(x + row, tile, num_columns, y + row * y_stride, y_stride);
    }
  };
  rows.template operator()<8>();
  rows.template operator()<4>();
  rows.template operator()<2>();
  rows.template operator()<1>();
}

// A type has a minimum or a zero, or neither.
void dot_vnni(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  if (tile.minimum != nullptr) return dot_all<true, false>(x, num_x, tile, num_columns, y, y_stride);
  if (tile.zero != 0) return dot_all<false, true>(x, num_x, tile, num_columns, y, y_stride);
  dot_all<false, false>(x, num_x, tile, num_columns, y, y_stride);
}

// quantize_row(), a run in a register.
void quantize_vnni(const float* x, int64_t length, int8_t* q, float* scale, int32_t* sums) {
  constexpr int kNotFinite = 0x99;  // NaN and infinities
  for (int64_t start = 0; start < length; start += kActivationRun) {
    const int64_t run = start / kActivationRun;
    const __m512 in = _mm512_loadu_ps(x + start);
    const bool is_fine = _mm512_fpclass_ps_mask(in, kNotFinite) == 0;
    const float largest = is_fine ? _mm512_reduce_max_ps(_mm512_abs_ps(in)) : 0;
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    const __m512 scaled = _mm512_mul_ps(_mm512_maskz_mov_ps(is_fine ? 0xFFFFu : 0, in), _mm512_set1_ps(inverse));
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(scaled));  // to nearest, ties to even
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + start), bytes);
    scale[run] = is_fine ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
    sums[run] = _mm512_reduce_add_epi32(_mm512_cvtepi8_epi32(bytes));
  }
}

void unpack_vnni(DType dtype, const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length,
                 const IntTileView& tile) {
  const bool is_done = with_codes(dtype, length, [&]<typename Codes>(Codes) {
    unpack_codes<Codes>(TileRows(rows, row_bytes, num_rows), row_bytes, length, tile);
  });
  if (!is_done) unpack(dtype, rows, row_bytes, num_rows, length, tile);
}

bool dot_stored(const IntRow* x, int num_x, const StoredRows& w, float* y, int64_t y_stride) {
  if (num_x > kFewRows) return false;
  return with_codes(w.dtype, w.length, [&]<typename Codes>(Codes) {
    for (int first = 0; first < w.num_rows; first += kTileColumns) {
      const int count = w.num_rows - first < kTileColumns ? w.num_rows - first : kTileColumns;
      const TileRows rows(w.rows + first * w.row_bytes, w.row_bytes, count);
      dot_few<Codes>(rows, count, w.row_bytes, w.length, x, num_x, y + first, y_stride);
    }
  });
}

}  // namespace

const IntKernels kAvx512VnniIntKernels = {"avx512vnni", quantize_vnni, unpack_vnni, dot_vnni, dot_stored};

}  // namespace moescope
