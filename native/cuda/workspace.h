// Device memory of a step, kept from step to step and grown when a larger one comes.
#pragma once

#include <initializer_list>
#include <vector>

#include "cuda/left_side.h"
#include "cuda/runtime.h"
#include "cuda/weights.h"

namespace moescope::cuda {

// A buffer that grows and never shrinks; growing loses what it held.
class GrowingBuffer {
 public:
  void reserve(size_t bytes) {
    if (bytes > buffer_.bytes()) buffer_ = DeviceBuffer(bytes);
  }
  template <typename T>
  Global<T> reserve(size_t count) {
    reserve(count * sizeof(T));
    return as<T>();
  }
  template <typename T>
  Global<T> as() const {
    return buffer_.as<T>();
  }
  void* data() const { return buffer_.data(); }

 private:
  DeviceBuffer buffer_;
};

// Which forms of activations the products with some matrices take.
struct SideForms {
  bool has_integers = false, has_high = false, has_low = false, has_floats = false;

  void add(DType type);
};

// Rows of activations in the forms that products take.
class SideBuffer {
 public:
  // Room for `rows` rows of `cols` elements.
  LeftSide reserve(const SideForms& forms, int64_t rows, int64_t cols);

 private:
  GrowingBuffer q_, scales_, high_, low_, floats_;
};

// The forms that the products of a model take, by where the activations come from.
struct ModelForms {
  explicit ModelForms(const Weights& weights);

  SideForms normed;   // by q, k, v, gate and up
  SideForms context;  // by o
  SideForms inner;    // by down
  SideForms head;
};

}  // namespace moescope::cuda
