// What the two ways to multiply have in common, product.cuh by vectors and tiles.cuh by tiles: the arguments, and the steps of a sum.
#pragma once

#include "cuda/product.h"
#include "cuda/unpack.cuh"

namespace moescope::cuda {

// 64 weight rows as two groups of 32: of one matrix, or 32 of two matrices of the same type and width.
struct GroupPair {
  DType type = DType::F32;
  int quads = 0;
  Global<const uint8_t> groups[2];  // first record of each
};

// Rows of activations: those that a list names, or consecutive ones.
struct InputRows {
  Global<const int32_t> list = nullptr;
  int first = 0;  // row, or place in the list
  int count = 0;
  int divisor = 1;  // of the list's entries

  // Beyond the last one: the last one again. What it gives is thrown away.
  __device__ int operator[](int index) const {
    const int place = first + (index < count ? index : count - 1);
    return list == nullptr ? place : list[place] / divisor;
  }
};

// Adds one unit to a chain. `sums`: of its two halves; `half_scales` are factors of theirs in Q6_K.
template <DType kType>
__device__ inline float add_unit(float chain, const int (&sums)[2], const UnitScale& weight,
                                 const int (&half_scales)[2], float2 x) {
  const int sum = kType == DType::Q6_K ? half_scales[0] * sums[0] + half_scales[1] * sums[1] : sums[0] + sums[1];
  chain = fmaf(static_cast<float>(sum), weight.scale * x.x, chain);
  return has_minimum(kType) ? fmaf(-weight.minimum, x.y, chain) : chain;
}

// Two halves as the bf16 of each, and what that leaves, which bf16 holds too: 11 bits are 8 and 3.
__device__ inline void split_halves(uint32_t halves, uint32_t& high, uint32_t& low) {
  const float a = low_half(halves), b = high_half(halves);
  high = pack_bf16(a, b);
  low = pack_bf16(a - float_of_bf16(static_cast<uint16_t>(high)), b - float_of_bf16(static_cast<uint16_t>(high >> 16)));
}

// One step of 16 elements. `x`: high, then low; the low part is there for F16 alone.
template <DType kType>
__device__ inline void add_step(float (&sums)[4], const uint4& weights, const uint32_t (&x)[2][2]) {
  const uint32_t words[4] = {weights.x, weights.y, weights.z, weights.w};
  if constexpr (kType == DType::F16) {
    uint32_t high[4], low[4];
    MOESCOPE_UNROLL
    for (int word = 0; word < 4; ++word) split_halves(words[word], high[word], low[word]);
    mma_bf16(sums, low, x[0]);
    mma_bf16(sums, high, x[1]);
    mma_bf16(sums, high, x[0]);
  } else {
    mma_bf16(sums, words, x[0]);
  }
}

}  // namespace moescope::cuda
