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
  const auto* stored = reinterpret_cast<const uint8_t*>(w.row(first));
  switch (kernels.form(w)) {
    case MatmulKernels::Form::Floats: {
      const float* rows = fp32_rows(w, first, count, scratch.floats);
      kernels.floats.dot(input.floats, w.cols, input.num_rows, rows, w.cols, count, w.cols, y + first, w.rows);
      return;
    }
    case MatmulKernels::Form::Integers: {
      scratch.integers.prepare(w.dtype, w.cols);
      const IntTileView view(scratch.integers);
      kernels.fast->integers->unpack(w.dtype, stored, w.row_bytes, count, w.cols, view);
      kernels.fast->integers->dot(input.integers, input.num_rows, view, count, y + first, w.rows);
      return;
    }
    case MatmulKernels::Form::Bf16: {
      const Bf16Kernels& bf16 = *kernels.fast->bf16;
      const Bf16Weights weights = {w.dtype, stored, w.row_bytes, count, w.cols};
      bf16.multiply(weights, input.bf16, scratch.bf16.at_least(bf16.scratch_bytes), y + first, w.rows);
      return;
    }
  }
}

}  // namespace moescope
