// Compiled with AVX-512 BF16. Lane j of a total takes elements 2 j and 2 j + 1 of every step of 32, in ascending order of steps; the 16
// lanes are then added in pairs. Subnormals count as zero.
#include "cpu/arch/bf16_unpack_avx512.h"
#include "cpu/arch/transpose_avx512.h"

namespace moescope {
namespace {

constexpr int kSegmentSteps = 64;  // steps that are unpacked at once
constexpr int64_t kSegment = kSegmentSteps * kBf16Step;
constexpr int kMaxRows = 64;  // rows of activations that meet a segment while it is unpacked
constexpr int64_t kWeightWords = kSegmentSteps * kStepWords;

inline __m512bh step_of(const uint16_t* words) { return (__m512bh)_mm512_loadu_si512(words); }

// X rows of activations, `padded` apart, against R weight rows over a segment.
template <int X, int R, bool kLow>
inline void multiply_block(const uint16_t* weights, int num_steps, const uint16_t* high, const uint16_t* low,
                           int64_t padded, __m512* totals) {
  __m512 sums[X][R];
#pragma GCC unroll 16
  for (int x = 0; x < X; ++x) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) sums[x][r] = totals[x * kBf16TileRows + r];
  }
  for (int step = 0; step < num_steps; ++step) {
    const uint16_t* w = weights + step * kStepWords;
#pragma GCC unroll 16
    for (int x = 0; x < X; ++x) {
      const int64_t at = x * padded + step * kBf16Step;
      const __m512bh inputs = step_of(high + at);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const __m512bh values = step_of(w + r * kBf16Step);
        sums[x][r] = _mm512_dpbf16_ps(sums[x][r], values, inputs);
        if (!kLow) continue;
        sums[x][r] = _mm512_dpbf16_ps(sums[x][r], step_of(w + kWeightWords + r * kBf16Step), inputs);
        sums[x][r] = _mm512_dpbf16_ps(sums[x][r], values, step_of(low + at));
      }
    }
  }
#pragma GCC unroll 16
  for (int x = 0; x < X; ++x) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) totals[x * kBf16TileRows + r] = sums[x][r];
  }
}

template <bool kLow>
void multiply_segment(const uint16_t* weights, int num_steps, const uint16_t* high, const uint16_t* low, int64_t padded,
                      int num_x, __m512* totals) {
  int x = 0;
  for (; x + 4 <= num_x; x += 4) {
    for (int r = 0; r < kBf16TileRows; r += 4) {
      multiply_block<4, 4, kLow>(weights + r * kBf16Step, num_steps, high + x * padded, low + x * padded, padded,
                                 totals + x * kBf16TileRows + r);
    }
  }
  for (; x < num_x; ++x) {
    multiply_block<1, 16, kLow>(weights, num_steps, high + x * padded, low + x * padded, padded,
                                totals + x * kBf16TileRows);
  }
}

// The sums of the lanes of 16 totals.
inline __m512 sum_lanes(const __m512* totals) {
  __m512i rows[16];
#pragma GCC unroll 16
  for (int row = 0; row < 16; ++row) rows[row] = _mm512_castps_si512(totals[row]);
  transpose_words(rows);
  __m512 sums[16];
#pragma GCC unroll 16
  for (int lane = 0; lane < 16; ++lane) sums[lane] = _mm512_castsi512_ps(rows[lane]);
#pragma GCC unroll 4
  for (int width = 8; width > 0; width /= 2) {
#pragma GCC unroll 8
    for (int lane = 0; lane < width; ++lane) sums[lane] = _mm512_add_ps(sums[lane], sums[lane + width]);
  }
  return sums[0];
}

// Up to 16 weight rows.
void multiply_tile(const Bf16Weights& w, const Bf16Input& x, std::byte* scratch, float* y, int64_t y_stride) {
  auto* weights = reinterpret_cast<uint16_t*>(scratch);
  auto* totals = reinterpret_cast<__m512*>(scratch + 2 * 2 * kWeightWords);
  const int64_t padded = bf16_padded(w.length);
  const bool has_low = needs_low_part(w.dtype);
  const RowUnpack unpack = row_unpack(w.dtype);
  const auto mask = static_cast<__mmask16>((1u << w.num_rows) - 1);
  for (int first = 0; first < x.num_rows; first += kMaxRows) {
    const int count = x.num_rows - first < kMaxRows ? x.num_rows - first : kMaxRows;
    for (int64_t i = 0; i < count * kBf16TileRows; ++i) totals[i] = _mm512_setzero_ps();
    for (int64_t start = 0; start < w.length; start += kSegment) {
      const int64_t length = w.length - start < kSegment ? w.length - start : kSegment;
      // Rows that a tile lacks stay what they were: their totals are not written.
      unpack({w.rows, w.row_bytes, w.num_rows, start, length}, weights, weights + kWeightWords);
      const int num_steps = static_cast<int>(bf16_padded(length) / kBf16Step);
      const uint16_t* high = x.high + first * padded + start;
      if (has_low) {
        multiply_segment<true>(weights, num_steps, high, x.low + first * padded + start, padded, count, totals);
      } else {
        multiply_segment<false>(weights, num_steps, high, high, padded, count, totals);
      }
    }
    for (int row = 0; row < count; ++row) {
      _mm512_mask_storeu_ps(y + (first + row) * y_stride, mask, sum_lanes(totals + row * kBf16TileRows));
    }
  }
}

void multiply(const Bf16Weights& w, const Bf16Input& x, std::byte* scratch, float* y, int64_t y_stride) {
  for (int first = 0; first < w.num_rows; first += kBf16TileRows) {
    const int count = w.num_rows - first < kBf16TileRows ? w.num_rows - first : kBf16TileRows;
    multiply_tile({w.dtype, w.rows + first * w.row_bytes, w.row_bytes, count, w.length}, x, scratch, y + first,
                  y_stride);
  }
}

void pack(const float* const* x, int num_x, int64_t length, uint16_t* high, uint16_t* low) {
  const int64_t padded = bf16_padded(length);
  for (int row = 0; row < num_x; ++row) {
    for (int64_t start = 0; start < length; start += kBf16Step) {
      const uint32_t mask = first_words(length - start);
      const float* from = x[row] + start;
      split(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), from),
            _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), from + 16), high + row * padded + start,
            low == nullptr ? nullptr : low + row * padded + start);
    }
  }
}

}  // namespace

const Bf16Kernels kAvx512Bf16Kernels = {"avx512bf16", 2 * 2 * kWeightWords + kMaxRows* kBf16TileRows * 64, pack,
                                        multiply};

}  // namespace moescope
