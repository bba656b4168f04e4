// The products of product.cuh for up to 64 rows of activations at once, on the matrix units: 64 weight rows by 64 columns in a block, 32 by 16
// in a warp. Quads come through shared memory by asynchronous copies, chain after chain, so that two numbers for each sum are enough: the
// chain under way and the total. The order of a sum is that of product.cuh, and so are its bits: what mma_s8 adds are integers, and bf16 takes
// the same steps of mma_bf16 there.
#pragma once

#include "cuda/left_side.cuh"
#include "cuda/product.h"
#include "cuda/steps.cuh"

namespace moescope::cuda {

// A quad of two groups and of 64 rows of activations in shared memory.
template <DType kType>
struct TileStage {
  static constexpr PackedShape kShape = packed_shape(kType);
  static constexpr bool kIsInteger = is_integer_type(kType);
  static constexpr int kParts = kType == DType::F16 ? 2 : 1;  // of the activations: high, low
  // A row's quad and 16 bytes, so that eight rows' words lie in different banks.
  static constexpr int kPitch = (kIsInteger ? kQuad : 2 * kQuad) + 16;
  static constexpr int kScaleBytes = kIsInteger ? kQuadUnits * 8 : 0;
  static constexpr int kGroupBytes = kShape.quad_bytes() + kShape.shared * kGroupRows;
  static constexpr int kX = 2 * kGroupBytes, kScales = kX + kParts * kTileColumns * kPitch;
  static constexpr int kBytes = kScales + kTileColumns * kScaleBytes;
  static constexpr int kStages = kType == DType::F16 ? 1 : (kIsInteger ? 3 : 2);
  static_assert(kGroupBytes % 16 == 0 && kStages * kBytes <= static_cast<int>(kTileBytes));
};

// Starts the copies of one quad. `columns`: the row of activations of each column.
template <DType kType>
__device__ inline void copy_stage(const GroupPair& weights, const LeftSide& x, const Shared<int>& columns, int quad,
                                  const Shared<uint8_t>& stage) {
  using Stage = TileStage<kType>;
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int kRecord = Stage::kShape.quad_bytes() / 16, kGroup = Stage::kGroupBytes / 16;
  for (int i = thread; i < 2 * kGroup; i += kProductThreads) {
    const int chunk = i % kGroup;
    const int64_t at = chunk < kRecord ? quad_offset(Stage::kShape, quad) + 16 * chunk
                                       : shared_offset(Stage::kShape, quad) + 16 * (chunk - kRecord);
    cp_async_16(stage + 16 * i, weights.groups[i / kGroup] + at, true);
  }
  constexpr int kChunks = (Stage::kPitch - 16) / 16;
  for (int i = thread; i < kTileColumns * kChunks; i += kProductThreads) {
    const int column = i / kChunks, chunk = i % kChunks;
    const int64_t first = x.unit(columns[column], quad, 0) * kUnit;
    const Shared<uint8_t> to = stage + Stage::kX + column * Stage::kPitch + 16 * chunk;
    if constexpr (Stage::kIsInteger) {
      cp_async_16(to, x.q + first + 16 * chunk, true);
    } else {
      cp_async_16(to, x.high + first + 8 * chunk, true);
      if constexpr (Stage::kParts == 2) cp_async_16(to + kTileColumns * Stage::kPitch, x.low + first + 8 * chunk, true);
    }
  }
  if constexpr (Stage::kIsInteger) {
    for (int i = thread; i < 2 * kTileColumns; i += kProductThreads) {
      const int column = i / 2;
      cp_async_16(stage + Stage::kScales + 16 * i, x.scales + x.unit(columns[column], quad, 0) * 2 + i % 2 * 4, true);
    }
  }
}

// The A operand of 16 weight rows and a unit: of row g the words t and t + 4, of row g + 8 the same.
template <DType kType>
__device__ inline void unit_fragment(const Shared<const uint8_t>& record, int row, int unit, uint32_t (&a)[4]) {
  constexpr PackedShape kShape = packed_shape(kType);
  const int thread = static_cast<int>(threadIdx.x) % 4;
  MOESCOPE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const int place = (row + 8 * half) * 16;
    if constexpr (kType == DType::Q8_0) {
      a[half] = as<const uint32_t>(record + 2 * unit * 512 + place)[thread];
      a[half + 2] = as<const uint32_t>(record + (2 * unit + 1) * 512 + place)[thread];
    } else {
      uint32_t high[2] = {};
      const Shared<const uint8_t> above = record + kShape.low * kGroupRows;
      if constexpr (kShape.high == 16) high[0] = as<const uint32_t>(above + place)[unit];
      if constexpr (kShape.high == 32) {
        const uint2 two = as<const uint2>(above + unit / 2 * 512 + place)[unit % 2];
        high[0] = two.x, high[1] = two.y;
      }
      int first, second;
      unpack_words<kType>(as<const uint32_t>(record + unit * 512 + place)[thread], high, thread, first, second);
      a[half] = static_cast<uint32_t>(first), a[half + 2] = static_cast<uint32_t>(second);
    }
  }
}

// chain[m][n]: tiles of 16 weight rows by 8 columns; element i is row g + 8 (i / 2), column 2 t + i % 2.
using TileSums = float[2][2][4];

template <DType kType>
__device__ inline void add_integer_stage(const Shared<const uint8_t>& stage, int group, int first_column,
                                         TileSums& chain) {
  using Stage = TileStage<kType>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, thread = lane % 4;
  const Shared<const uint8_t> record = stage + group * Stage::kGroupBytes;
  MOESCOPE_UNROLL
  for (int m = 0; m < 2; ++m) {
    const ScaleWords scales[2] = {load_scales<kType>(record, record + Stage::kShape.quad_bytes(), 16 * m + g),
                                  load_scales<kType>(record, record + Stage::kShape.quad_bytes(), 16 * m + g + 8)};
    MOESCOPE_UNROLL
    for (int unit = 0; unit < kQuadUnits; ++unit) {
      uint32_t a[4];
      unit_fragment<kType>(record, 16 * m + g, unit, a);
      MOESCOPE_UNROLL
      for (int n = 0; n < 2; ++n) {
        const int column = first_column + 8 * n;
        const Shared<const uint32_t> x =
            as<const uint32_t>(stage + Stage::kX + (column + g) * Stage::kPitch + unit * kUnit);
        const uint32_t b[2] = {x[thread], x[thread + 4]};
        int sums[2][4] = {};
        if constexpr (kType == DType::Q6_K) {
          const uint32_t halves[2][4] = {{a[0], a[1], 0, 0}, {0, 0, a[2], a[3]}};
          mma_s8(sums[0], halves[0], b);
          mma_s8(sums[1], halves[1], b);
        } else {
          mma_s8(sums[0], a, b);
        }
        MOESCOPE_UNROLL
        for (int i = 0; i < 4; ++i) {
          const float2 x_scale =
              as<const float2>(stage + Stage::kScales)[(column + 2 * thread + i % 2) * kQuadUnits + unit];
          const ScaleWords& words = scales[i / 2];
          const int both[2] = {sums[0][i], sums[1][i]};
          int half_scales[2] = {1, 1};
          if constexpr (kType == DType::Q6_K) {
            half_scales[0] = half_scale(words, unit, 0), half_scales[1] = half_scale(words, unit, 1);
          }
          chain[m][n][i] = add_unit<kType>(chain[m][n][i], both, unit_scale<kType>(words, unit), half_scales, x_scale);
        }
      }
    }
  }
}

template <DType kType>
__device__ inline void add_bf16_stage(const Shared<const uint8_t>& stage, int group, int first_column,
                                      TileSums& chain) {
  using Stage = TileStage<kType>;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, g = lane / 4, thread = lane % 4;
  const Shared<const uint8_t> record = stage + group * Stage::kGroupBytes;
  MOESCOPE_NO_UNROLL
  for (int steps = 0; steps < kQuadUnits; ++steps) {
    uint32_t values[2][2][2][2] = {};  // (column tile, step, part, word)
    MOESCOPE_UNROLL
    for (int n = 0; n < 2; ++n) {
      MOESCOPE_UNROLL
      for (int part = 0; part < Stage::kParts; ++part) {
        const int row = part * kTileColumns + first_column + 8 * n + g;
        const uint4 four = as<const uint4>(stage + Stage::kX + row * Stage::kPitch + steps * 64)[thread];
        values[n][0][part][0] = four.x, values[n][0][part][1] = four.y;
        values[n][1][part][0] = four.z, values[n][1][part][1] = four.w;
      }
    }
    MOESCOPE_UNROLL
    for (int m = 0; m < 2; ++m) {
      MOESCOPE_UNROLL
      for (int step = 0; step < 2; ++step) {
        const uint4 fragment = as<const uint4>(record + ((2 * steps + step) * 2 + m) * 512)[lane];
        add_step<kType>(chain[m][0], fragment, values[0][step]);
        add_step<kType>(chain[m][1], fragment, values[1][step]);
      }
    }
  }
}

// The quads in the order in which they are added: chain after chain.
struct ChainWalk {
  int quad, quads;

  __device__ bool is_chain_end() const { return quad + kChains >= quads; }
  __device__ bool is_end() const { return quad >= quads; }
  __device__ void next() {
    quad += kChains;
    if (quad >= quads) quad = quad % kChains + 1 < kChains ? quad % kChains + 1 : quads;
  }
};

// sums[column][64] for columns [0, rows.count), in `room`, which holds kTileBytes and the columns.
template <DType kType>
__device__ inline void multiply_tile(const GroupPair& weights, const LeftSide& x, const InputRows& rows,
                                     const Shared<uint8_t>& room) {
  using Stage = TileStage<kType>;
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize, lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int group = warp % 2, first_column = warp / 2 * 16;
  const Shared<int> columns = as<int>(room + static_cast<int>(kTileBytes));
  for (int column = static_cast<int>(threadIdx.x); column < kTileColumns; column += kProductThreads) {
    columns[column] = rows[column];
  }
  __syncthreads();
  TileSums total = {}, chain = {};
  ChainWalk ahead = {0, weights.quads}, walk = ahead;
  int ahead_stage = 0, stage_index = 0;
  for (int stage = 0; stage + 1 < Stage::kStages; ++stage) {
    if (!ahead.is_end()) copy_stage<kType>(weights, x, columns, ahead.quad, room + ahead_stage * Stage::kBytes);
    cp_async_commit();
    ahead_stage = (ahead_stage + 1) % Stage::kStages;
    if (!ahead.is_end()) ahead.next();
  }
  for (; !walk.is_end(); walk.next()) {
    if constexpr (Stage::kStages == 1) {
      copy_stage<kType>(weights, x, columns, walk.quad, room);
      cp_async_commit();
      cp_async_wait<0>();
      __syncthreads();
    } else {
      cp_async_wait<Stage::kStages - 2>();
      // The quad that is needed has come for all, and all are done with the one that is overwritten next.
      __syncthreads();
      if (!ahead.is_end()) copy_stage<kType>(weights, x, columns, ahead.quad, room + ahead_stage * Stage::kBytes);
      cp_async_commit();
      ahead_stage = (ahead_stage + 1) % Stage::kStages;
      if (!ahead.is_end()) ahead.next();
    }
    if (first_column < rows.count) {
      const Shared<const uint8_t> stage = room + stage_index * Stage::kBytes;
      if constexpr (Stage::kIsInteger) {
        add_integer_stage<kType>(stage, group, first_column, chain);
      } else {
        add_bf16_stage<kType>(stage, group, first_column, chain);
      }
    }
    stage_index = (stage_index + 1) % Stage::kStages;
    if constexpr (Stage::kStages == 1) __syncthreads();
    if (!walk.is_chain_end()) continue;
    MOESCOPE_UNROLL
    for (int i = 0; i < 16; ++i) {
      total[i / 8][i / 4 % 2][i % 4] += chain[i / 8][i / 4 % 2][i % 4];
      chain[i / 8][i / 4 % 2][i % 4] = 0;
    }
  }
  cp_async_wait<0>();
  __syncthreads();
  const Shared<float> sums = as<float>(room);
  MOESCOPE_UNROLL
  for (int i = 0; i < 16; ++i) {
    const int row = group * kGroupRows + i / 8 * 16 + lane / 4 + i % 4 / 2 * 8;
    const int column = first_column + i / 4 % 2 * 8 + lane % 4 * 2 + i % 2;
    sums[column * kPairRows + row] = total[i / 8][i / 4 % 2][i % 4];
  }
  __syncthreads();
}

}  // namespace moescope::cuda
