// One block multiplies 64 weight rows with up to two rows of activations by vectors, with up to 64 by tiles.
#include "cuda/matmul.h"
#include "cuda/product.cuh"

namespace moescope::cuda {

namespace {

// Which 64 packed rows of which product a block multiplies.
struct BlockPlace {
  int product, pair;
};

__device__ inline BlockPlace this_place(const MatmulParams& p) {
  int pair = static_cast<int>(blockIdx.x), product = 0;
  for (int pairs; pair >= (pairs = static_cast<int>(packed_groups(p.products[product].weights.rows)) / 2); ++product) {
    pair -= pairs;
  }
  return {product, pair};
}

template <int kRows>
__device__ inline InputRows these_rows(const MatmulParams& p) {
  const int first = static_cast<int>(blockIdx.y) * kRows;
  return {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
}

__device__ inline GroupPair groups_of(const PackedMatrix& weights, int pair) {
  return {weights.type, weights.quads(), {weights.group(2 * pair), weights.group(2 * pair + 1)}};
}

// Finds its place anew: what lives through the products takes registers from them.
template <int kRows>
__device__ inline void finish(const MatmulParams& p, const Shared<float>& sums) {
  const BlockPlace block = this_place(p);
  const Product& product = p.products[block.product];
  const InputRows rows = these_rows<kRows>(p);
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int column = block.pair * kPairRows + place % kPairRows;
    if (column >= product.weights.rows) continue;
    const int64_t at = static_cast<int64_t>(rows[place / kPairRows]) * product.weights.rows + column;
    const float y = product.bias == nullptr ? sums[place] : sums[place] + product.bias[column];
    if (product.residual == nullptr) {
      product.out[at] = y;
    } else {
      product.residual[at] += y;
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kProductThreads, 1) matmul_kernel(const MatmulParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  const BlockPlace block = this_place(p);
  const Product& product = p.products[block.product];
  multiply_pair<kRows>(groups_of(product.weights, block.pair), product.x, these_rows<kRows>(p), sums);
  finish<kRows>(p, sums);
}

template <int kRows>
void launch_rows(Stream& stream, const MatmulParams& params) {
  unsigned pairs = 0;
  for (int index = 0; index < params.count; ++index) {
    pairs += static_cast<unsigned>(packed_groups(params.products[index].weights.rows) / 2);
  }
  const unsigned row_blocks = static_cast<unsigned>((params.rows + kRows - 1) / kRows);
  launch(stream, matmul_kernel<kRows>, Grid{pairs, row_blocks}, kProductThreads, product_bytes(kRows), params);
}

}  // namespace

void matmul(Stream& stream, const MatmulParams& params) {
  if (params.rows == 1) return launch_rows<1>(stream, params);
  if (params.rows < kFewestTileRows) return launch_rows<kMaxVectorRows>(stream, params);
  launch_rows<kTileColumns>(stream, params);
}

}  // namespace moescope::cuda
