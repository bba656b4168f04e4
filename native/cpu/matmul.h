// y = x W^T for a matrix as stored, in tiles of 16 weight rows that all rows of x meet. Precision `ref` dequantises the tile to fp32;
// precision `fast` unpacks it to integers where its type allows, and meets activations that were rounded to 8 bits.
#pragma once

#include <vector>

#include "core/weights.h"
#include "cpu/arch/int_kernels.h"
#include "cpu/arch/kernels.h"
#include "cpu/thread_pool.h"

namespace moescope {

constexpr int kTileRows = kTileColumns;  // weight rows that are unpacked at once

inline int64_t num_tiles(const Matrix& w) { return (w.rows + kTileRows - 1) / kTileRows; }

// A thread's room for unpacked weights; grows to the largest tile met.
struct Scratch {
  std::vector<float> floats;
  IntTile integers;
};

// Activations of several rows, rounded to 8 bits.
class IntRows {
 public:
  // Rounds `num_rows` rows of `length` elements, a multiple of 16.
  void quantize(ThreadPool& pool, const IntKernels& kernels, const float* x, int64_t num_rows, int64_t length);
  const IntRow* rows() const { return rows_.data(); }

 private:
  std::vector<int8_t> q_;
  std::vector<float> scales_;
  std::vector<int32_t> sums_;
  std::vector<IntRow> rows_;
};

// The left side of a product: fp32 rows and, in precision `fast`, the same rows as integers.
struct MatmulInput {
  const float* x = nullptr;          // (num_rows, cols)
  const IntRow* integers = nullptr;  // (num_rows), or null
  int num_rows = 0;

  // Rows [first, first + count), `cols` elements each.
  MatmulInput slice(int64_t first, int64_t cols, int count) const {
    return {x + first * cols, integers == nullptr ? nullptr : integers + first, count};
  }
};

// The kernels of one precision on one machine.
struct MatmulKernels {
  const Kernels& floats;
  const IntKernels* integers;  // null: precision `ref`

  // Whether a product with this matrix wants its input as integers.
  bool wants_integers(const Matrix& w) const {
    return integers != nullptr && has_int_form(w.dtype) && w.cols % kActivationRun == 0;
  }
};

// One tile of y = x W^T: columns [tile * 16, tile * 16 + 16) of y. `input` has integers if the matrix wants them.
void matmul_tile(const MatmulKernels& kernels, const MatmulInput& input, const Matrix& w, int64_t tile,
                 Scratch& scratch,
                 float* y);  // (num_rows, w.rows)

}  // namespace moescope
