// What the launches of products have in common; the products themselves: product.cuh.
#pragma once

#include "cuda/launch.h"
#include "cuda/left_side.h"
#include "cuda/packed.h"

namespace moescope::cuda {

constexpr int kChains = 8;  // parts of a sum, each by one warp
constexpr int kProductThreads = kChains * 32;

// Floats of shared memory for sums over `rows` rows of activations.
constexpr int partial_floats(int rows) { return kChains * rows * kPairRows; }

// Rows of activations that meet the weights together; the largest share that one block takes by vectors.
constexpr int kMaxVectorRows = 2;

constexpr KernelInfo product_kernel(const char* name) {
  return {name, kProductThreads, arena_bytes<float>(partial_floats(kMaxVectorRows))};
}

}  // namespace moescope::cuda
