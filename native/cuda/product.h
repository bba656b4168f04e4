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

// Rows of activations that one block takes by vectors, and by tiles on the matrix units.
constexpr int kMaxVectorRows = 2;
constexpr int kTileColumns = 64;
// From so many rows on, tiles. The bits are the same either way.
constexpr int kFewestTileRows = 5;

constexpr size_t kTileBytes = 66 * 1024;  // of shared memory: the stages of the widest type, then the columns

// Shared memory of a block that multiplies with kRows rows of activations.
constexpr size_t product_bytes(int rows) {
  return rows == kTileColumns ? arena_bytes<uint8_t>(kTileBytes + kTileColumns * sizeof(int))
                              : arena_bytes<float>(partial_floats(rows));
}

// Blocks that shall fit a multiprocessor together. One row of activations needs them, to have enough weights under way; with more rows the
// sums need the registers.
constexpr int product_blocks(int rows) { return rows == 1 ? 2 : 1; }

constexpr KernelInfo product_kernel(const char* name) { return {name, kProductThreads, product_bytes(kTileColumns)}; }

}  // namespace moescope::cuda
