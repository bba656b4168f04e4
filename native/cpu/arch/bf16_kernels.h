// Products in bfloat16 for precision `fast`, on machines that have instructions for them: weights are unpacked from their storage type
// and rounded to bf16, activations are rounded to bf16, products are summed in fp32. F16 weights have more bits than that: they and
// the activations that meet them are kept as a sum of two bf16 numbers, `high` + `low`.
//
// Each variant has an order of summation of its own, the one of its instruction, so the bits of two variants differ. Within a variant
// they depend on the two rows of a product alone: elements come in steps of 32 in ascending order, for one row of activations and for many.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/blocks.h"

namespace moescope {

constexpr int kBf16Step = 32;      // elements of one step
constexpr int kBf16TileRows = 16;  // weight rows that are multiplied together
constexpr int kBf16PackRows = 16;  // rows of activations that are packed together, at most

// Elements of a packed row: whole steps, filled up with zeros.
constexpr int64_t bf16_padded(int64_t length) { return (length + kBf16Step - 1) / kBf16Step * kBf16Step; }

// Whether products with weights of this type need the low part of the activations.
constexpr bool needs_low_part(DType dtype) { return dtype == DType::F16; }

// Rows of a matrix as stored.
struct Bf16Weights {
  DType dtype;
  const uint8_t* rows;
  int64_t row_bytes;
  int num_rows;
  int64_t length;
};

// Activations: each row takes bf16_padded(length) numbers of `high`, and of `low` where the weights' type needs it. Rows were packed
// 16 at a time from the first one on.
struct Bf16Input {
  const uint16_t* high;
  const uint16_t* low;
  int num_rows;
};

struct Bf16Kernels {
  const char* name;
  int64_t scratch_bytes;  // room of multiply(), aligned to 64

  // Rounds and packs 1 to 16 rows of `length` elements. `low`: null if nothing needs it.
  void (*pack)(const float* const* x, int num_x, int64_t length, uint16_t* high, uint16_t* low);

  // y[r][c] = x_r . w_c
  void (*multiply)(const Bf16Weights& w, const Bf16Input& x, std::byte* scratch, float* y, int64_t y_stride);
};

#ifdef __x86_64__
extern const Bf16Kernels kAmxKernels;
extern const Bf16Kernels kAvx512Bf16Kernels;
#endif

}  // namespace moescope
