// Compiled with AVX2 and FMA: products of bytes are summed in pairs to 16 bits, then to 32.
#include <immintrin.h>

#include "cpu/arch/byte_layout_portable.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

namespace {

// Four products of each of 8 columns. kSigned: the weights are bytes around 128, which would overflow the pairs as they are; their
// distances from 128 do not, 2 * 128 * 127 < 2^15, and neither do unsigned weights below 64.
template <bool kSigned>
__m256i four_products(__m256i weights, __m256i x) {
  if (kSigned) {
    const __m256i centred = _mm256_xor_si256(weights, _mm256_set1_epi8(static_cast<char>(0x80)));
    weights = _mm256_abs_epi8(centred);
    x = _mm256_sign_epi8(x, centred);
  }
  return _mm256_madd_epi16(_mm256_maddubs_epi16(weights, x), _mm256_set1_epi16(1));
}

// R rows of activations against all 16 columns; the arithmetic of dot_one, a lane for each column.
template <int R, bool kSigned>
void dot_rows(const IntRow* x, const IntTileView& tile, float* y, int64_t y_stride) {
  __m256 low[R], high[R];  // columns 0 to 7, 8 to 15
  for (int row = 0; row < R; ++row) low[row] = high[row] = _mm256_setzero_ps();
  for (int64_t start = 0, index = 0; start < tile.length; start += kActivationRun, ++index) {
    __m256i low_sums[R], high_sums[R];
    for (int row = 0; row < R; ++row) low_sums[row] = high_sums[row] = _mm256_setzero_si256();
    const uint8_t* q = tile.q + start * kTileColumns;
    for (int i = 0; i < kActivationRun; i += 4) {
      const __m256i low_weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i * kTileColumns));
      const __m256i high_weights = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q + i * kTileColumns + 32));
      for (int row = 0; row < R; ++row) {
        int32_t four;
        std::memcpy(&four, x[row].q + start + i, sizeof four);
        const __m256i values = _mm256_set1_epi32(four);
        low_sums[row] = _mm256_add_epi32(low_sums[row], four_products<kSigned>(low_weights, values));
        high_sums[row] = _mm256_add_epi32(high_sums[row], four_products<kSigned>(high_weights, values));
      }
    }
    const float* scale = tile.scale + start / tile.run * kTileColumns;
    for (int row = 0; row < R; ++row) {
      const float x_scale = x[row].scale[index];
      const int32_t x_sum = x[row].sums[index];
      const __m256i shift = _mm256_set1_epi32(kSigned ? 0 : tile.zero * x_sum);
      const __m256 factor = _mm256_set1_ps(x_scale);
      const __m256 low_exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(low_sums[row], shift));
      const __m256 high_exact = _mm256_cvtepi32_ps(_mm256_sub_epi32(high_sums[row], shift));
      low[row] = _mm256_fmadd_ps(low_exact, _mm256_mul_ps(_mm256_loadu_ps(scale), factor), low[row]);
      high[row] = _mm256_fmadd_ps(high_exact, _mm256_mul_ps(_mm256_loadu_ps(scale + 8), factor), high[row]);
      if (tile.minimum == nullptr) continue;
      const float* minimum = tile.minimum + start / tile.run * kTileColumns;
      const __m256 offset = _mm256_set1_ps(static_cast<float>(-x_sum) * x_scale);
      low[row] = _mm256_fmadd_ps(_mm256_loadu_ps(minimum), offset, low[row]);
      high[row] = _mm256_fmadd_ps(_mm256_loadu_ps(minimum + 8), offset, high[row]);
    }
  }
  for (int row = 0; row < R; ++row) {
    _mm256_storeu_ps(y + row * y_stride, low[row]);
    _mm256_storeu_ps(y + row * y_stride + 8, high[row]);
  }
}

template <bool kSigned>
void dot_all(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  for (int row = 0; row < num_x;) {
    const int count = row + 2 <= num_x ? 2 : 1;
    float columns[2 * kTileColumns];
    const bool is_whole = num_columns == kTileColumns;
    float* out = is_whole ? y + row * y_stride : columns;
    const int64_t stride = is_whole ? y_stride : kTileColumns;
    if (count == 2) {
      dot_rows<2, kSigned>(x + row, tile, out, stride);
    } else {
      dot_rows<1, kSigned>(x + row, tile, out, stride);
    }
    for (int done = 0; done < count && !is_whole; ++done) {
      std::memcpy(y + (row + done) * y_stride, columns + done * kTileColumns, num_columns * sizeof(float));
    }
    row += count;
  }
}

void dot_avx2(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  if (tile.zero == 128) {
    dot_all<true>(x, num_x, tile, num_columns, y, y_stride);
  } else {
    dot_all<false>(x, num_x, tile, num_columns, y, y_stride);
  }
}

}  // namespace

const IntKernels kAvx2IntKernels = {"avx2", quantize_row, unpack, dot_avx2, nullptr};

}  // namespace moescope
