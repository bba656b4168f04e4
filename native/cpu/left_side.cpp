#include <algorithm>

#include "cpu/matmul.h"

namespace moescope {

namespace {

template <typename T>
void grow(std::vector<T>& values, int64_t size) {
  if (values.size() < static_cast<size_t>(size)) values.resize(size);
}

}  // namespace

void InputForms::add(const MatmulKernels& kernels, const Matrix& w) {
  switch (kernels.form(w)) {
    case MatmulKernels::Form::Floats: floats = true; break;
    case MatmulKernels::Form::Integers: integers = true; break;
    case MatmulKernels::Form::Bf16:
      bf16 = true;
      low_part = low_part || needs_low_part(w.dtype);
      break;
  }
}

void LeftSide::prepare(const MatmulKernels& kernels, InputForms forms, const float* rows, int64_t num_rows,
                       int64_t length) {
  std::vector<const float*> sources(num_rows);
  for (int64_t row = 0; row < num_rows; ++row) sources[row] = rows + row * length;
  prepare(kernels, forms, std::move(sources), {0, num_rows}, length);
}

void LeftSide::prepare(const MatmulKernels& kernels, InputForms forms, std::vector<const float*> rows,
                       const std::vector<int64_t>& starts, int64_t length) {
  fast_ = kernels.fast;
  forms_ = forms;
  length_ = length;
  sources_ = std::move(rows);
  const int64_t num_rows = static_cast<int64_t>(sources_.size());

  blocks_.clear();
  for (size_t group = 0; group + 1 < starts.size(); ++group) {
    for (int64_t first = starts[group]; first < starts[group + 1]; first += kBf16PackRows) {
      blocks_.push_back({first, static_cast<int>(std::min<int64_t>(kBf16PackRows, starts[group + 1] - first))});
    }
  }
  is_gathered_ = false;
  for (int64_t row = 1; row < num_rows; ++row) is_gathered_ |= sources_[row] != sources_[0] + row * length;
  if (forms.floats && is_gathered_) grow(floats_, num_rows * length);
  if (forms.integers) {
    const int64_t runs = length / kActivationRun;
    grow(q_, num_rows * length);
    grow(scales_, num_rows * runs);
    grow(sums_, num_rows * runs);
    grow(integers_, num_rows);
  }
  const int64_t bf16_bytes = num_rows * bf16_padded(length) * static_cast<int64_t>(sizeof(uint16_t));
  if (forms.bf16) high_ = reinterpret_cast<uint16_t*>(high_room_.at_least(bf16_bytes));
  if (forms.low_part) low_ = reinterpret_cast<uint16_t*>(low_room_.at_least(bf16_bytes));
}

void LeftSide::fill_integers(int64_t row) {
  const int64_t runs = length_ / kActivationRun;
  int8_t* q = &q_[row * length_];
  fast_->integers->quantize_row(sources_[row], length_, q, &scales_[row * runs], &sums_[row * runs]);
  integers_[row] = {q, &scales_[row * runs], &sums_[row * runs]};
}

void LeftSide::fill(int64_t index) {
  const Block& block = blocks_[index];
  for (int64_t row = block.first; row < block.first + block.count; ++row) {
    if (forms_.floats && is_gathered_) std::copy_n(sources_[row], length_, &floats_[row * length_]);
    if (forms_.integers) fill_integers(row);
  }
  if (!forms_.bf16) return;
  const int64_t start = block.first * bf16_padded(length_);
  fast_->bf16->pack(&sources_[block.first], block.count, length_, high_ + start,
                    forms_.low_part ? low_ + start : nullptr);
}

MatmulInput LeftSide::group(int64_t first, int64_t count) const {
  MatmulInput input;
  input.num_rows = static_cast<int>(count);
  if (count == 0) return input;
  if (forms_.floats) input.floats = is_gathered_ ? &floats_[first * length_] : sources_[first];
  if (forms_.integers) input.integers = &integers_[first];
  const int64_t start = first * bf16_padded(length_);
  if (forms_.bf16) input.bf16 = {high_ + start, forms_.low_part ? low_ + start : nullptr, input.num_rows};
  return input;
}

}  // namespace moescope
