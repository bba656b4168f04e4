#include "cpu/matmul.h"

#include <algorithm>

namespace moescope {

std::byte* AlignedRoom::at_least(int64_t size) {
  constexpr size_t kLine = 64;
  if (bytes_.size() < static_cast<size_t>(size) + kLine) bytes_.resize(static_cast<size_t>(size) + kLine);
  const size_t past_line = reinterpret_cast<uintptr_t>(bytes_.data()) % kLine;
  return bytes_.data() + (past_line == 0 ? 0 : kLine - past_line);
}

MatmulKernels::Form MatmulKernels::form(const Matrix& w) const {
  if (fast == nullptr) return Form::Floats;
  if (fast->integers != nullptr && has_int_form(w.dtype) && w.cols % kActivationRun == 0) return Form::Integers;
  return fast->bf16 != nullptr && w.dtype != DType::F32 ? Form::Bf16 : Form::Floats;
}

namespace {

int64_t rows_per_item(const Matrix& w, int64_t num_x) {
  constexpr int64_t kProducts = 1 << 20;  // of one item, some microseconds
  const int64_t in_a_tile = kTileRows * w.cols * std::max<int64_t>(num_x, 16);
  return kTileRows * std::clamp<int64_t>(kProducts / in_a_tile, 1, 8);
}

}  // namespace

int64_t num_items(const Matrix& w, int64_t num_x) {
  const int64_t rows = rows_per_item(w, num_x);
  return (w.rows + rows - 1) / rows;
}

RowRange item_rows(const Matrix& w, int64_t num_x, int64_t item) {
  const int64_t rows = rows_per_item(w, num_x);
  return {item * rows, std::min(w.rows, (item + 1) * rows)};
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

void matmul_rows(const MatmulKernels& kernels, const MatmulInput& input, const Matrix& w, RowRange rows,
                 Scratch& scratch, float* y) {
  const MatmulKernels::Form form = kernels.form(w);
  if (form == MatmulKernels::Form::Bf16) {
    const Bf16Kernels& bf16 = *kernels.fast->bf16;
    const Bf16Weights weights = {w.dtype, reinterpret_cast<const uint8_t*>(w.row(rows.first)), w.row_bytes,
                                 static_cast<int>(rows.end - rows.first), w.cols};
    bf16.multiply(weights, input.bf16, scratch.bf16.at_least(bf16.scratch_bytes), y + rows.first, w.rows);
    return;
  }
  if (form == MatmulKernels::Form::Integers && kernels.fast->integers->dot_stored != nullptr) {
    const StoredRows stored = {w.dtype, reinterpret_cast<const uint8_t*>(w.row(rows.first)), w.row_bytes,
                               static_cast<int>(rows.end - rows.first), w.cols};
    const IntKernels& integers = *kernels.fast->integers;
    if (integers.dot_stored(input.integers, input.num_rows, stored, y + rows.first, w.rows)) return;
  }
  for (int64_t first = rows.first; first < rows.end; first += kTileRows) {
    const int count = static_cast<int>(std::min<int64_t>(kTileRows, rows.end - first));
    if (form == MatmulKernels::Form::Integers) {
      scratch.integers.prepare(w.dtype, w.cols);
      const IntTileView view(scratch.integers);
      kernels.fast->integers->unpack(w.dtype, reinterpret_cast<const uint8_t*>(w.row(first)), w.row_bytes, count,
                                     w.cols, view);
      kernels.fast->integers->dot(input.integers, input.num_rows, view, count, y + first, w.rows);
      continue;
    }
    const float* values = fp32_rows(w, first, count, scratch.floats);
    kernels.floats.dot(input.floats, w.cols, input.num_rows, values, w.cols, count, w.cols, y + first, w.rows);
  }
}

}  // namespace moescope
