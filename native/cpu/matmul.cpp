#include "cpu/matmul.h"

#include <algorithm>

namespace moescope {

const float* fp32_rows(const Matrix& w, int64_t first, int64_t count, Scratch& scratch) {
  const std::byte* source = w.row(first);
  if (w.dtype == DType::F32 && reinterpret_cast<uintptr_t>(source) % alignof(float) == 0) {
    return reinterpret_cast<const float*>(source);
  }
  const size_t needed = static_cast<size_t>(count * w.cols);
  if (scratch.size() < needed) scratch.resize(needed);
  for (int64_t row = 0; row < count; ++row) {
    dequantize_row(w.dtype, w.row(first + row), &scratch[row * w.cols], w.cols);
  }
  return scratch.data();
}

void matmul_tile(const Kernels& kernels, const float* x, int num_x, const Matrix& w, int64_t tile, Scratch& scratch,
                 float* y) {
  const int64_t first = tile * kTileRows;
  const int64_t count = std::min<int64_t>(kTileRows, w.rows - first);
  const float* rows = fp32_rows(w, first, count, scratch);
  kernels.dot(x, w.cols, num_x, rows, w.cols, static_cast<int>(count), w.cols, y + first, w.rows);
}

void matmul(ThreadPool& pool, const Kernels& kernels, std::vector<Scratch>& scratch, const float* x, int num_x,
            const Matrix& w, const std::vector<float>& bias, float* y) {
  pool.parallel_for(num_tiles(w), [&](int64_t tile, int thread) {
    matmul_tile(kernels, x, num_x, w, tile, scratch[thread], y);
    if (bias.empty()) return;
    const int64_t end = std::min<int64_t>(w.rows, (tile + 1) * kTileRows);
    for (int row = 0; row < num_x; ++row) {
      for (int64_t column = tile * kTileRows; column < end; ++column) y[row * w.rows + column] += bias[column];
    }
  });
}

}  // namespace moescope
