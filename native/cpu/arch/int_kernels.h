// Integer dot products for precision `fast`: weights as stored meet activations that were rounded to 8 bits. Once per instruction set,
// like kernels.h, and like there all variants of this file compute the same bits (bf16_kernels.h has others): sums over 16 elements are
// integers and exact, and are added in ascending order with fused multiply-adds, the same for one row of activations and for many.
#pragma once

#include <cstdint>
#include <vector>

#include "core/blocks.h"

namespace moescope {

constexpr int kTileColumns = 16;    // weight rows (output columns) that are unpacked together
constexpr int kActivationRun = 16;  // activations that share a scale, and whose sum is kept

// 16 weight rows as integers: w = scale * (q - zero) - minimum, scale and minimum shared by `run` elements.
struct IntTile {
  int64_t length = 0;  // elements of a row
  int run = 32;        // 16 or 32
  int zero = 0;
  bool has_minimum = false;
  std::vector<uint8_t> q;      // (length / 4, 16, 4): four elements of each row side by side
  std::vector<float> scale;    // (length / run, 16)
  std::vector<float> minimum;  // (length / run, 16), or empty

  // Takes the form of a storage type and makes room for rows of `length` elements.
  void prepare(DType dtype, int64_t length);
};

// The same, as the kernels see it: files compiled for one instruction set must not make code for a std::vector.
struct IntTileView {
  int64_t length;
  int run;
  int zero;
  uint8_t* q;
  float* scale;
  float* minimum;  // null: none

  explicit IntTileView(IntTile& tile);
};

// Activations rounded to 8 bits: x = scale * q.
struct IntRow {
  const int8_t* q;      // (length)
  const float* scale;   // (length / 16)
  const int32_t* sums;  // (length / 16) of q
};

// Rows of a matrix in a file.
struct StoredRows {
  DType dtype;
  const uint8_t* rows;
  int64_t row_bytes;
  int num_rows;
  int64_t length;
};

struct IntKernels {
  const char* name;

  // Rounds `length` activations, a multiple of 16: scale = largest magnitude / 127, ties to even. Values that are not finite make
  // their scale NaN.
  void (*quantize_row)(const float* x, int64_t length, int8_t* q, float* scale, int32_t* sums);

  // Unpacks 16 rows of a matrix; fewer than 16 are filled up with zeros.
  void (*unpack)(DType dtype, const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length,
                 const IntTileView& tile);

  // y[r][c] = x_r . w_c for the first `num_columns` of the tile's 16.
  void (*dot)(const IntRow* x, int num_x, const IntTileView& tile, int num_columns, float* y, int64_t y_stride);

  // The same for a few rows of activations without unpacking; false, and nothing done, where a tile is faster. Null: always.
  bool (*dot_stored)(const IntRow* x, int num_x, const StoredRows& w, float* y, int64_t y_stride);
};

// Whether a storage type has the form of an IntTile; the others are multiplied in fp32.
bool has_int_form(DType dtype);

const IntKernels& best_int_kernels();
int num_int_kernel_variants();
const IntKernels& int_kernel_variant(int index);

extern const IntKernels kPortableIntKernels;
#ifdef __x86_64__
extern const IntKernels kAvx2IntKernels;
extern const IntKernels kAvx512VnniIntKernels;
#endif
#ifdef __aarch64__
extern const IntKernels kNeonIntKernels;
extern const IntKernels kNeonDotIntKernels;
#endif

}  // namespace moescope
