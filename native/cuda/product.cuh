// Sums of products of 64 packed weight rows with a few rows of activations, by one block of threads. All products with weights go through
// this page or through tiles.cuh, which gives the same bits.
//
// The order of a sum depends on the number of quads alone. Warp c of eight is chain c: it adds quads c, c + 8, c + 16, ... in ascending
// order; then the chains are added in ascending order. Within a quad:
//   quantised weights  each unit of 32 is an exact integer sum s, times one scale; units ascending:
//                        chain = fma(s, weight scale * activation scale, chain)
//                        chain = fma(-minimum, activation scale * sum of q, chain)      where the type has a minimum
//                      so dot4 by one lane a row and mma_s8 by tiles are equal: only the integers differ in their order
//   BF16               one mma_bf16 for each step of 16 elements, steps ascending, for one row of activations and for many
//   F16                weights as high + low, exactly, and activations so too: mma_bf16 of low*high, high*low, high*high for each step
//   F32                chain = fma(weight, x, chain), elements ascending
#pragma once

#include "cuda/steps.cuh"
#include "cuda/tiles.cuh"

namespace moescope::cuda {

// One row's unit, ready for dot4.
template <DType kType>
struct RowUnit {
  int codes[8];
  UnitScale scale;
  int half_scales[2];

  __device__ void read(const uint4 (&low)[packed_shape(kType).low / 16], const uint4 (&high)[2],
                       const ScaleWords& scales, int unit) {
    scale = unit_scale<kType>(scales, unit);
    half_scales[0] = kType == DType::Q6_K ? half_scale(scales, unit, 0) : 1;
    half_scales[1] = kType == DType::Q6_K ? half_scale(scales, unit, 1) : 1;
    if constexpr (kType == DType::Q8_0) {
      const uint4 a = low[2 * unit], b = low[2 * unit + 1];
      const uint32_t words[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
      MOESCOPE_UNROLL
      for (int word = 0; word < 8; ++word) codes[word] = static_cast<int>(words[word]);
    } else {
      const uint4 four = low[unit];
      const uint32_t words[4] = {four.x, four.y, four.z, four.w};
      uint32_t above[2] = {};
      if constexpr (packed_shape(kType).high == 16) {
        above[0] = unit == 0 ? high[0].x : unit == 1 ? high[0].y : unit == 2 ? high[0].z : high[0].w;
      }
      if constexpr (packed_shape(kType).high == 32) {
        above[0] = unit % 2 == 0 ? high[unit / 2].x : high[unit / 2].z;
        above[1] = unit % 2 == 0 ? high[unit / 2].y : high[unit / 2].w;
      }
      MOESCOPE_UNROLL
      for (int word = 0; word < 4; ++word) {
        unpack_words<kType>(words[word], above, word, codes[word], codes[word + 4]);
      }
    }
  }

  __device__ float add_to(float chain, const uint4 (&x)[2], float2 x_scale) const {
    int sums[2];
    sums[0] = dot4(codes[3], static_cast<int>(x[0].w),
                   dot4(codes[2], static_cast<int>(x[0].z),
                        dot4(codes[1], static_cast<int>(x[0].y), dot4(codes[0], static_cast<int>(x[0].x), 0))));
    sums[1] = dot4(codes[7], static_cast<int>(x[1].w),
                   dot4(codes[6], static_cast<int>(x[1].z),
                        dot4(codes[5], static_cast<int>(x[1].y), dot4(codes[4], static_cast<int>(x[1].x), 0))));
    return add_unit<kType>(chain, sums, scale, half_scales, x_scale);
  }
};

// One lane a row of each group: chains[group][row of activations].
template <DType kType, int kRows>
__device__ inline void add_integer_chain(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                         float (&chains)[2][kRows]) {
  constexpr PackedShape kShape = packed_shape(kType);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, chain = static_cast<int>(threadIdx.x) / kWarpSize;
  MOESCOPE_NO_UNROLL
  for (int quad = chain; quad < weights.quads; quad += kChains) {
    uint4 low[2][kShape.low / 16], high[2][2];
    ScaleWords scales[2];
    MOESCOPE_UNROLL
    for (int group = 0; group < 2; ++group) {
      const Global<const uint8_t> record = weights.groups[group] + quad_offset(kShape, quad);
      MOESCOPE_UNROLL
      for (int chunk = 0; chunk < kShape.low / 16; ++chunk) {
        low[group][chunk] = stream_16(record + (chunk * kWarpSize + lane) * 16);
      }
      MOESCOPE_UNROLL
      for (int chunk = 0; chunk < kShape.high / 16; ++chunk) {
        high[group][chunk] = stream_16(record + kShape.low * kGroupRows + (chunk * kWarpSize + lane) * 16);
      }
      scales[group] = load_scales<kType>(record, weights.groups[group] + shared_offset(kShape, quad), lane);
    }
    MOESCOPE_UNROLL
    for (int unit = 0; unit < kQuadUnits; ++unit) {
      RowUnit<kType> units[2];
      units[0].read(low[0], high[0], scales[0], unit);
      units[1].read(low[1], high[1], scales[1], unit);
      MOESCOPE_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const int64_t index = x.unit(rows[row], quad, unit);
        const Global<const uint4> q = as<const uint4>(x.q + index * kUnit);
        const uint4 values[2] = {q[0], q[1]};
        const float2 x_scale = as<const float2>(x.scales)[index];
        chains[0][row] = units[0].add_to(chains[0][row], values, x_scale);
        chains[1][row] = units[1].add_to(chains[1][row], values, x_scale);
      }
    }
  }
}

template <int kRows>
__device__ inline void add_float_chain(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                       float (&chains)[2][kRows]) {
  constexpr PackedShape kShape = packed_shape(DType::F32);
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, chain = static_cast<int>(threadIdx.x) / kWarpSize;
  MOESCOPE_NO_UNROLL
  for (int quad = chain; quad < weights.quads; quad += kChains) {
    MOESCOPE_NO_UNROLL
    for (int chunk = 0; chunk < kQuad / 4; ++chunk) {
      const int64_t at = quad_offset(kShape, quad) + (chunk * kWarpSize + lane) * 16;
      float4 w[2];
      w[0] = *as<const float4>(weights.groups[0] + at);
      w[1] = *as<const float4>(weights.groups[1] + at);
      MOESCOPE_UNROLL
      for (int row = 0; row < kRows; ++row) {
        const float4 values = *as<const float4>(x.floats + x.unit(rows[row], quad, 0) * kUnit + 4 * chunk);
        MOESCOPE_UNROLL
        for (int group = 0; group < 2; ++group) {
          float& sum = chains[group][row];
          sum = fmaf(w[group].w, values.w,
                     fmaf(w[group].z, values.z, fmaf(w[group].y, values.y, fmaf(w[group].x, values.x, sum))));
        }
      }
    }
  }
}

// Up to eight rows of activations are the columns of mma_bf16; sums[tile of 16 weight rows].
template <DType kType, int kRows>
__device__ inline void add_bf16_chain(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                      float (&sums)[4][4]) {
  constexpr PackedShape kShape = packed_shape(kType);
  constexpr int kParts = kType == DType::F16 ? 2 : 1;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, chain = static_cast<int>(threadIdx.x) / kWarpSize;
  const int column = lane / 4, thread = lane % 4;
  const int row = column < kRows ? rows[column] : 0;
  MOESCOPE_NO_UNROLL
  for (int quad = chain; quad < weights.quads; quad += kChains) {
    MOESCOPE_NO_UNROLL
    for (int steps = 0; steps < kQuadUnits; ++steps) {  // two steps a unit
      uint32_t values[2][2][2] = {};                    // (step, part, word)
      if (column < kRows) {
        const int64_t at = x.unit(row, quad, steps) * kUnit + 8 * thread;
        MOESCOPE_UNROLL
        for (int part = 0; part < kParts; ++part) {
          const uint4 four = *as<const uint4>((part == 0 ? x.high : x.low) + at);
          values[0][part][0] = four.x, values[0][part][1] = four.y;
          values[1][part][0] = four.z, values[1][part][1] = four.w;
        }
      }
      MOESCOPE_UNROLL
      for (int tile = 0; tile < 4; ++tile) {
        const Global<const uint8_t> record = weights.groups[tile / 2] + quad_offset(kShape, quad) + lane * 16;
        MOESCOPE_UNROLL
        for (int step = 0; step < 2; ++step) {
          const uint4 fragment = stream_16(record + ((2 * steps + step) * 2 + tile % 2) * 512);
          add_step<kType>(sums[tile], fragment, values[step]);
        }
      }
    }
  }
}

// This warp's chain into partial[chain][row][64].
template <DType kType, int kRows>
__device__ inline void store_chain(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                   const Shared<float>& partial) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, chain = static_cast<int>(threadIdx.x) / kWarpSize;
  const Shared<float> own = partial + chain * kRows * kPairRows;
  if constexpr (kType == DType::BF16 || kType == DType::F16) {
    float sums[4][4] = {};
    add_bf16_chain<kType, kRows>(weights, x, rows, sums);
    MOESCOPE_UNROLL
    for (int tile = 0; tile < 4; ++tile) {
      MOESCOPE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int row = lane % 4 * 2 + i % 2, weight_row = tile * 16 + lane / 4 + i / 2 * 8;
        if (row < kRows) own[row * kPairRows + weight_row] = sums[tile][i];
      }
    }
  } else {
    float chains[2][kRows] = {};
    if constexpr (kType == DType::F32) {
      add_float_chain<kRows>(weights, x, rows, chains);
    } else {
      add_integer_chain<kType, kRows>(weights, x, rows, chains);
    }
    MOESCOPE_UNROLL
    for (int row = 0; row < kRows; ++row) {
      own[row * kPairRows + lane] = chains[0][row];
      own[row * kPairRows + kGroupRows + lane] = chains[1][row];
    }
  }
}

// A block's shared memory for products, and its sums in the end.
template <int kRows>
__device__ inline Shared<float> take_sums(SharedArena& arena) {
  return as<float>(arena.take<uint8_t>(product_bytes(kRows)));
}

// By vectors; `partial`: (kChains, kRows, 64), of which the first part becomes the sums.
template <DType kType, int kRows>
__device__ inline void multiply_vectors(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                        const Shared<float>& partial) {
  store_chain<kType, kRows>(weights, x, rows, partial);
  __syncthreads();
  for (int place = static_cast<int>(threadIdx.x); place < kRows * kPairRows; place += kProductThreads) {
    float sum = 0;
    for (int chain = 0; chain < kChains; ++chain) sum += partial[chain * kRows * kPairRows + place];
    partial[place] = sum;
  }
  __syncthreads();
}

// By tiles; F32, which the matrix units do not have, by vectors, one row after another.
template <DType kType>
__device__ inline void multiply_columns(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                        const Shared<float>& sums) {
  if constexpr (kType != DType::F32) {
    multiply_tile<kType>(weights, x, rows, as<uint8_t>(sums));
  } else {
    const Shared<float> partial = sums + kTileColumns * kPairRows;
    for (int row = 0; row < rows.count; ++row) {
      multiply_vectors<kType, 1>(weights, x, {rows.list, rows.first + row, 1, rows.divisor}, partial);
      if (threadIdx.x < kPairRows) sums[row * kPairRows + threadIdx.x] = partial[threadIdx.x];
      __syncthreads();
    }
  }
}

// sums[row][64], for all threads of the block.
template <int kRows>
__device__ inline void multiply_pair(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                     const Shared<float>& sums) {
  switch (weights.type) {
#define MOESCOPE_PRODUCT(type)                                             \
  case DType::type:                                                        \
    if constexpr (kRows == kTileColumns) {                                 \
      return multiply_columns<DType::type>(weights, x, rows, sums);        \
    } else {                                                               \
      return multiply_vectors<DType::type, kRows>(weights, x, rows, sums); \
    }
    MOESCOPE_PRODUCT(F32)
    MOESCOPE_PRODUCT(F16)
    MOESCOPE_PRODUCT(BF16)
    MOESCOPE_PRODUCT(Q4_0)
    MOESCOPE_PRODUCT(Q4_1)
    MOESCOPE_PRODUCT(Q5_0)
    MOESCOPE_PRODUCT(Q5_1)
    MOESCOPE_PRODUCT(Q8_0)
    MOESCOPE_PRODUCT(Q4_K)
    MOESCOPE_PRODUCT(Q5_K)
    MOESCOPE_PRODUCT(Q6_K)
#undef MOESCOPE_PRODUCT
    default: return;
  }
}

}  // namespace moescope::cuda
