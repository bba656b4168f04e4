// The integer kernels once, in plain loops; each int_kernels_<arch>.cpp compiles them for its machine and may replace `dot_runs`.
// Only what is inlined may be used from other headers: these files are compiled for instructions that not every machine has.
#pragma once

#include <cmath>
#include <limits>

#include "cpu/arch/int_unpack_impl.h"

namespace moescope {
namespace {

[[maybe_unused]] void quantize_row(const float* x, int64_t length, int8_t* q, float* scale, int32_t* sums) {
  for (int64_t start = 0; start < length; start += kActivationRun) {
    const float* in = x + start;
    float largest = 0, not_finite = 0;
    for (int i = 0; i < kActivationRun; ++i) {
      const float magnitude = std::fabs(in[i]);
      largest = magnitude > largest ? magnitude : largest;
      not_finite += in[i] * 0.0f;  // NaN where the value is NaN or infinite
    }
    const bool is_fine = not_finite == 0;
    const float inverse = largest > 0 && is_fine ? 127.0f / largest : 0.0f;
    scale[start / kActivationRun] = is_fine ? largest / 127.0f : std::numeric_limits<float>::quiet_NaN();
    int8_t* out = q + start;
    for (int i = 0; i < kActivationRun; ++i) {
      const float scaled = is_fine ? in[i] * inverse : 0.0f;
      // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even.
      out[i] = static_cast<int8_t>(static_cast<int32_t>((scaled + 12582912.0f) - 12582912.0f));
    }
    int32_t sum = 0;
    for (int i = 0; i < kActivationRun; ++i) sum += out[i];
    sums[start / kActivationRun] = sum;
  }
}

// Exact integer sums of 16 elements: sums[c] = sum of q * x, for 16 columns.
[[maybe_unused]] void dot_run(const uint8_t* q, const int8_t* x, int32_t* sums) {
  for (int column = 0; column < kTileColumns; ++column) sums[column] = 0;
  for (int i = 0; i < kActivationRun; i += 4) {
    for (int column = 0; column < kTileColumns; ++column) {
      const uint8_t* w = q + i * kTileColumns + 4 * column;
      sums[column] += w[0] * x[i] + w[1] * x[i + 1] + w[2] * x[i + 2] + w[3] * x[i + 3];
    }
  }
}

// One row of activations. Runs in ascending order, per column: y = fma(sum - zero * sum(x), scale_w * scale_x, y), then with a
// minimum y = fma(minimum, -sum(x) * scale_x, y).
[[maybe_unused]] void dot_one(const IntRow& x, const IntTileView& tile, int num_columns, float* y) {
  float total[kTileColumns] = {};
  for (int64_t start = 0, index = 0; start < tile.length; start += kActivationRun, ++index) {
    int32_t sums[kTileColumns];
    dot_run(tile.q + start * kTileColumns, x.q + start, sums);
    const float* scale = tile.scale + start / tile.run * kTileColumns;
    for (int column = 0; column < kTileColumns; ++column) {
      const float exact = static_cast<float>(sums[column] - tile.zero * x.sums[index]);
      total[column] = std::fma(exact, scale[column] * x.scale[index], total[column]);
    }
    if (tile.minimum == nullptr) continue;
    const float offset = static_cast<float>(-x.sums[index]) * x.scale[index];
    const float* minimum = tile.minimum + start / tile.run * kTileColumns;
    for (int column = 0; column < kTileColumns; ++column) {
      total[column] = std::fma(minimum[column], offset, total[column]);
    }
  }
  for (int column = 0; column < num_columns; ++column) y[column] = total[column];
}

[[maybe_unused]] void dot(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y,
                          int64_t y_stride) {
  for (int row = 0; row < num_x; ++row) dot_one(x[row], tile, num_columns, y + row * y_stride);
}

}  // namespace
}  // namespace moescope
