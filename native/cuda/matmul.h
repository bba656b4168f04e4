// y = x W^T for packed weights: native/cpu/matmul.cpp on the device.
#pragma once

#include "cuda/product.h"

namespace moescope::cuda {

// One of the products of a launch. y = x W^T, then y += bias; y goes to `out` or is added to `residual`.
struct Product {
  PackedMatrix weights;
  LeftSide x;
  Global<const float> bias = nullptr;  // (weights.rows)
  Global<float> out = nullptr;         // (rows, weights.rows)
  Global<float> residual = nullptr;    // (rows, weights.rows)
};

struct MatmulParams {
  static constexpr int kMaxProducts = 3;
  static constexpr KernelInfo kInfo = product_kernel("matmul");

  Product products[kMaxProducts];
  int count = 0;
  int rows = 0;  // of activations
};

// Products that share their number of rows. The bits of a row do not depend on the rows beside it.
void matmul(Stream& stream, const MatmulParams& params);

}  // namespace moescope::cuda
