// Activations into the forms of left_side.h.
#pragma once

#include "cuda/device.h"
#include "cuda/left_side.h"

namespace moescope::cuda {

struct QuantizedUnit {
  int code;      // of this lane's element
  float2 scale;  // the same in every lane
};

// One unit, an element in each lane: scale = largest magnitude / 127, ties to even. A value that is not finite makes the scale NaN.
__device__ inline QuantizedUnit quantize_unit(float value) {
  const float largest = warp_max(fabsf(value));
  const bool is_fine = largest <= 3.402823466e38f;
  const float inverse = largest > 0 && is_fine ? 127.0f / largest : 0.0f;
  const int code = is_fine ? static_cast<int>(rintf(value * inverse)) : 0;
  const float scale = is_fine ? largest / 127.0f : __uint_as_float(0x7fc00000u);
  return {code, make_float2(scale, scale * static_cast<float>(warp_sum(code)))};
}

// Stores one unit in every form of `side`; `value` is this lane's element. Called by whole warps.
__device__ inline void store_unit(const LeftSide& side, int64_t row, int unit, int lane, float value) {
  const int64_t index = side.unit(row, 0, unit), at = index * kUnit + lane;
  if (side.floats != nullptr) side.floats[at] = value;
  if (side.high != nullptr) {
    const uint16_t high = bf16_of(value);
    side.high[at] = high;
    if (side.low != nullptr) side.low[at] = bf16_of(value - float_of_bf16(high));
  }
  if (side.q != nullptr) {
    const QuantizedUnit unit_of = quantize_unit(value);
    side.q[at] = static_cast<int8_t>(unit_of.code);
    if (lane == 0) as<float2>(side.scales)[index] = unit_of.scale;
  }
}

}  // namespace moescope::cuda
