// Between quantize.cpp and the files of the families: a function per type that makes one block of finite values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "core/half.h"

namespace moescope::make_block {

using BlockFunction = void(const float* values, uint8_t* block);

BlockFunction q4_0, q4_1, q5_0, q5_1, q8_0;  // quantize_simple.cpp
BlockFunction q2_k, q3_k, q4_k, q5_k, q6_k;  // quantize_k.cpp
BlockFunction iq4_nl, iq4_xs;                // quantize_iq4.cpp

// The nearest half that is finite.
inline uint16_t to_finite_half(float value) {
  constexpr float kLargest = 65504.0f;
  return float_to_half(std::clamp(value, -kLargest, kLargest));
}

// A factor as the block will hold it.
inline float as_half(float value) { return half_to_float(to_finite_half(value)); }

inline void store_half(uint8_t* target, float value) {
  const uint16_t half = to_finite_half(value);
  std::memcpy(target, &half, sizeof half);
}

}  // namespace moescope::make_block
