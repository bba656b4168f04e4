// Rows of activations in the forms that products want: 8-bit integers for quantised weights, bf16 (for F16 weights with the rounding's
// rest) and fp32. Rows are filled up with zeros to whole quads.
#pragma once

#include "cuda/packed.h"

namespace moescope::cuda {

// Null: not wanted. Of a row: `units` = 4 quads, which hold 128 quads elements.
struct LeftSide {
  int quads = 0;
  Global<int8_t> q = nullptr;       // (rows, units, 32)   x is about scale * q
  Global<float> scales = nullptr;   // (rows, units, 2)    scale, scale * sum of q
  Global<uint16_t> high = nullptr;  // (rows, units, 32)   bf16
  Global<uint16_t> low = nullptr;   // (rows, units, 32)   bf16 of x - high
  Global<float> floats = nullptr;   // (rows, units, 32)

  MOESCOPE_ANYWHERE int64_t unit(int64_t row, int quad, int unit) const {
    return (row * quads + quad) * kQuadUnits + unit;
  }
};

}  // namespace moescope::cuda
