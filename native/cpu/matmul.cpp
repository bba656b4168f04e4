#include "cpu/matmul.h"

#include <algorithm>

namespace moescope {

void IntRows::quantize(ThreadPool& pool, const IntKernels& kernels, const float* x, int64_t num_rows, int64_t length) {
  const int64_t runs = length / kActivationRun;
  const auto grow = [](auto& values, int64_t size) {
    if (values.size() < static_cast<size_t>(size)) values.resize(size);
  };
  grow(q_, num_rows * length);
  grow(scales_, num_rows * runs);
  grow(sums_, num_rows * runs);
  grow(rows_, num_rows);
  pool.parallel_for(num_rows, [&](int64_t row, int) {
    int8_t* q = &q_[row * length];
    kernels.quantize_row(x + row * length, length, q, &scales_[row * runs], &sums_[row * runs]);
    rows_[row] = {q, &scales_[row * runs], &sums_[row * runs]};
  });
}

namespace {

// Rows [first, first + count) of a matrix as fp32, `w.cols` apart: the file itself where it holds aligned fp32, else dequantised
// into `scratch`.
const float* fp32_rows(const Matrix& w, int64_t first, int64_t count, std::vector<float>& scratch) {
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

}  // namespace

void matmul_tile(const MatmulKernels& kernels, const MatmulInput& input, const Matrix& w, int64_t tile,
                 Scratch& scratch, float* y) {
  const int64_t first = tile * kTileRows;
  const int count = static_cast<int>(std::min<int64_t>(kTileRows, w.rows - first));
  if (kernels.wants_integers(w)) {
    scratch.integers.prepare(w.dtype, w.cols);
    const IntTileView view(scratch.integers);
    const auto* rows = reinterpret_cast<const uint8_t*>(w.row(first));
    kernels.integers->unpack(w.dtype, rows, w.row_bytes, count, w.cols, view);
    kernels.integers->dot(input.integers, input.num_rows, view, count, y + first, w.rows);
    return;
  }
  const float* rows = fp32_rows(w, first, count, scratch.floats);
  kernels.floats.dot(input.x, w.cols, input.num_rows, rows, w.cols, count, w.cols, y + first, w.rows);
}

}  // namespace moescope
