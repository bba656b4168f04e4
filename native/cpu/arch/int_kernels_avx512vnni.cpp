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

#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

namespace {

// R rows of activations against all 16 columns; the arithmetic of dot_one, a lane for each column.
template <int R>
void dot_rows(const IntRow* x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  __m512 total[R];
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) total[row] = _mm512_setzero_ps();
  for (int64_t start = 0, index = 0; start < tile.length; start += kActivationRun, ++index) {
    __m512i sums[R];
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) sums[row] = _mm512_setzero_si512();
    const uint8_t* q = tile.q + start * kTileColumns;
    for (int i = 0; i < kActivationRun; i += 4) {
      const __m512i weights = _mm512_loadu_si512(q + i * kTileColumns);
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        int32_t four;
        std::memcpy(&four, x[row].q + start + i, sizeof four);
        sums[row] = _mm512_dpbusd_epi32(sums[row], weights, _mm512_set1_epi32(four));
      }
    }
    const __m512 scale = _mm512_loadu_ps(tile.scale + start / tile.run * kTileColumns);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      const float x_scale = x[row].scale[index];
      const int32_t x_sum = x[row].sums[index];
      const __m512i exact = _mm512_sub_epi32(sums[row], _mm512_set1_epi32(tile.zero * x_sum));
      const __m512 factor = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale));
      total[row] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), factor, total[row]);
      if (tile.minimum == nullptr) continue;
      const __m512 minimum = _mm512_loadu_ps(tile.minimum + start / tile.run * kTileColumns);
      const float offset = static_cast<float>(-x_sum) * x_scale;
      total[row] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(offset), total[row]);
    }
  }
  const auto mask = static_cast<__mmask16>((1u << num_columns) - 1);
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) _mm512_mask_storeu_ps(y + row * y_stride, mask, total[row]);
}

void dot_vnni(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  int row = 0;
  for (; row + 8 <= num_x; row += 8) dot_rows<8>(x + row, tile, num_columns, y + row * y_stride, y_stride);
  for (; row + 4 <= num_x; row += 4) dot_rows<4>(x + row, tile, num_columns, y + row * y_stride, y_stride);
  for (; row < num_x; ++row) dot_rows<1>(x + row, tile, num_columns, y + row * y_stride, y_stride);
}

}  // namespace

const IntKernels kAvx512VnniIntKernels = {"avx512vnni", quantize_row, unpack, dot_vnni};

}  // namespace moescope
