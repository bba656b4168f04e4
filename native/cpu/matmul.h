// y = x W^T for a matrix as stored: tiles of weight rows are dequantised to fp32 as they are needed and met by all rows of x.
#pragma once

#include <vector>

#include "core/weights.h"
#include "cpu/arch/kernels.h"
#include "cpu/thread_pool.h"

namespace moescope {

constexpr int kTileRows = 16;  // weight rows that are dequantised at once

inline int64_t num_tiles(const Matrix& w) { return (w.rows + kTileRows - 1) / kTileRows; }

// A thread's room for dequantised weights; grows to the largest tile met.
using Scratch = std::vector<float>;

// Rows [first, first + count) of a matrix as fp32, `w.cols` apart: the file itself where it holds aligned fp32, else dequantised into
// `scratch`.
const float* fp32_rows(const Matrix& w, int64_t first, int64_t count, Scratch& scratch);

// One tile of y = x W^T: columns [tile * 16, tile * 16 + 16) of y.
void matmul_tile(const Kernels& kernels,
                 const float* x,  // (num_x, w.cols)
                 int num_x, const Matrix& w, int64_t tile, Scratch& scratch,
                 float* y);  // (num_x, w.rows)

// y = x W^T (+ bias) over all tiles and threads. `bias`: (w.rows) or empty.
void matmul(ThreadPool& pool, const Kernels& kernels, std::vector<Scratch>& scratch, const float* x, int num_x,
            const Matrix& w, const std::vector<float>& bias, float* y);

}  // namespace moescope
