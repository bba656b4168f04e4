// The integer product on arm64 NEON, once for machines with dot product instructions and once for those without. The including file
// defines `ExactSums` before: sums of four columns over 16 elements,
//
//   void add(int8x16_t weights, int8x16_t x)    the next four elements of four columns; `x` holds those of the activations four times
//   int32x4_t columns() const
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

constexpr int kParts = kTileColumns / 4;  // registers of four columns

// R rows of activations against all 16 columns; the arithmetic of dot_one, a lane for each column. kSigned: the weights are bytes
// around 128; as signed bytes they are what they stand for.
template <int R, bool kSigned>
void dot_rows(const IntRow* x, const IntTileView& tile, float* y, int64_t y_stride) {
  float32x4_t total[R][kParts];
  for (int row = 0; row < R; ++row) {
    for (int part = 0; part < kParts; ++part) total[row][part] = vdupq_n_f32(0);
  }
  for (int64_t start = 0, index = 0; start < tile.length; start += kActivationRun, ++index) {
    ExactSums sums[R][kParts];
    const uint8_t* q = tile.q + start * kTileColumns;
    for (int i = 0; i < kActivationRun; i += 4) {
      int8x16_t weights[kParts];
      for (int part = 0; part < kParts; ++part) {
        const uint8x16_t bytes = vld1q_u8(q + i * kTileColumns + 16 * part);
        weights[part] = vreinterpretq_s8_u8(kSigned ? veorq_u8(bytes, vdupq_n_u8(0x80)) : bytes);
      }
      for (int row = 0; row < R; ++row) {
        int32_t four;
        std::memcpy(&four, x[row].q + start + i, sizeof four);
        const int8x16_t values = vreinterpretq_s8_s32(vdupq_n_s32(four));
        for (int part = 0; part < kParts; ++part) sums[row][part].add(weights[part], values);
      }
    }
    const float* scale = tile.scale + start / tile.run * kTileColumns;
    for (int row = 0; row < R; ++row) {
      const float x_scale = x[row].scale[index];
      const int32_t x_sum = x[row].sums[index];
      const int32x4_t shift = vdupq_n_s32(kSigned ? 0 : tile.zero * x_sum);
      for (int part = 0; part < kParts; ++part) {
        const float32x4_t exact = vcvtq_f32_s32(vsubq_s32(sums[row][part].columns(), shift));
        const float32x4_t factor = vmulq_f32(vld1q_f32(scale + 4 * part), vdupq_n_f32(x_scale));
        total[row][part] = vfmaq_f32(total[row][part], exact, factor);
      }
      if (tile.minimum == nullptr) continue;
      const float* minimum = tile.minimum + start / tile.run * kTileColumns;
      const float32x4_t offset = vdupq_n_f32(static_cast<float>(-x_sum) * x_scale);
      for (int part = 0; part < kParts; ++part) {
        total[row][part] = vfmaq_f32(total[row][part], vld1q_f32(minimum + 4 * part), offset);
      }
    }
  }
  for (int row = 0; row < R; ++row) {
    for (int part = 0; part < kParts; ++part) vst1q_f32(y + row * y_stride + 4 * part, total[row][part]);
  }
}

template <bool kSigned>
void dot_all(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  const bool is_whole = num_columns == kTileColumns;
  for (int row = 0; row < num_x;) {
    const int count = row + 2 <= num_x ? 2 : 1;
    float columns[2 * kTileColumns];
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

void dot_neon(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride) {
  if (tile.zero == 128) {
    dot_all<true>(x, num_x, tile, num_columns, y, y_stride);
  } else {
    dot_all<false>(x, num_x, tile, num_columns, y, y_stride);
  }
}

}  // namespace
}  // namespace moescope
