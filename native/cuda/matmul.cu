// One block multiplies 64 weight rows with up to two rows of activations by vectors, with up to 64 by tiles.
#include "cuda/matmul.h"
#include "cuda/product.cuh"

namespace moescope::cuda {

namespace {

__device__ inline void finish(const Product& product, int first_weight_row, const InputRows& rows,
                              const Shared<float>& sums) {
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int column = first_weight_row + place % kPairRows;
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
__global__ void __launch_bounds__(kProductThreads, product_blocks(kRows)) matmul_kernel(const MatmulParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  int pair = static_cast<int>(blockIdx.x), index = 0;
  for (int pairs; pair >= (pairs = static_cast<int>(packed_groups(p.products[index].weights.rows)) / 2); ++index) {
    pair -= pairs;
  }
  const Product& product = p.products[index];
  const int first = static_cast<int>(blockIdx.y) * kRows;
  const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
  const GroupPair weights = {product.weights.type,
                             product.weights.quads(),
                             {product.weights.group(2 * pair), product.weights.group(2 * pair + 1)}};
  multiply_pair<kRows>(weights, product.x, rows, sums);
  finish(product, pair * kPairRows, rows, sums);
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
