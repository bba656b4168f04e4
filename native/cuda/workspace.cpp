#include "cuda/workspace.h"

namespace moescope::cuda {

void SideForms::add(DType type) {
  has_integers |= is_integer_type(type);
  has_high |= type == DType::BF16 || type == DType::F16;
  has_low |= type == DType::F16;
  has_floats |= type == DType::F32;
}

LeftSide SideBuffer::reserve(const SideForms& forms, int64_t rows, int64_t cols) {
  LeftSide side;
  side.quads = num_quads(cols);
  const size_t units = static_cast<size_t>(rows) * side.quads * kQuadUnits, elements = units * kUnit;
  if (forms.has_integers) {
    side.q = q_.reserve<int8_t>(elements);
    side.scales = scales_.reserve<float>(2 * units);
  }
  if (forms.has_high) side.high = high_.reserve<uint16_t>(elements);
  if (forms.has_low) side.low = low_.reserve<uint16_t>(elements);
  if (forms.has_floats) side.floats = floats_.reserve<float>(elements);
  return side;
}

ModelForms::ModelForms(const Weights& weights) {
  const auto add = [](SideForms& forms, const Matrix& matrix) {
    if (!matrix.empty()) forms.add(matrix.dtype);
  };
  const auto add_feed_forward = [&](const FeedForward& from) {
    add(normed, from.gate);
    add(normed, from.up);
    add(inner, from.down);
  };
  for (const LayerWeights& layer : weights.layers) {
    for (const Matrix* matrix : {&layer.q, &layer.k, &layer.v}) add(normed, *matrix);
    add(context, layer.o);
    add_feed_forward(layer.dense);
    add_feed_forward(layer.shared);
    for (const FeedForward& expert : layer.experts) add_feed_forward(expert);
  }
  add(head, weights.head);
}

}  // namespace moescope::cuda
