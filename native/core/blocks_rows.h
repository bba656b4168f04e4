// Between blocks.cpp and the files of the families: a function per type that decodes a run of blocks, and shared parts.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/blocks.h"
#include "core/half.h"

namespace moescope::rows {

// A number at any address.
template <typename T>
inline T load(const uint8_t* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return value;
}

inline float load_half(const uint8_t* source) { return half_to_float(load<uint16_t>(source)); }

// Calls decode(block, values) for each block of a row.
template <DType kType, typename Decode>
inline void each_block(const uint8_t* blocks, float* values, int64_t count, Decode decode) {
  constexpr BlockShape kShape = block_shape(kType);
  for (int64_t i = 0; i < count; ++i) decode(blocks + i * kShape.bytes, values + i * kShape.elements);
}

using RowFunction = void(const uint8_t* blocks, float* values, int64_t count);

RowFunction f32, f16, bf16;                                        // blocks_simple.cpp
RowFunction q4_0, q4_1, q5_0, q5_1, q8_0;                          // blocks_simple.cpp
RowFunction q2_k, q3_k, q4_k, q5_k, q6_k;                          // blocks_k.cpp
RowFunction iq1_s, iq1_m, iq2_xxs, iq2_xs, iq2_s, iq3_xxs, iq3_s;  // blocks_iq.cpp
RowFunction iq4_nl, iq4_xs;                                        // blocks_iq.cpp
RowFunction tq1_0, tq2_0, mxfp4, nvfp4;                            // blocks_small.cpp

}  // namespace moescope::rows
