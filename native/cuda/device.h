// The only header about hardware that a kernel includes: under nvcc CUDA's built-ins and thin wrappers over PTX, under g++ the same
// names from the emulator of native/test/emulator. Contraction is off in both (-fmad=false): a kernel writes fmaf where it means it,
// so that sums and products have the same bits on a card and under the emulator.
//
// Names of CUDA: threadIdx, blockIdx, blockDim, gridDim, __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __ballot_sync,
// atomicAdd (integers alone: sums of floats would depend on the order of arrival), uint2, uint4, float2, float4, int4.
// Names of our own, in moescope::cuda:
//   SharedArena, arena_bytes           a block's dynamic shared memory, in parts
//   dot4                               four products of signed bytes added to an int
//   mma_bf16, mma_s8                   m16n8k16 and m16n8k32, row.col
//   ldmatrix_x4, ldmatrix_x4_transposed
//   cp_async_16, cp_async_commit, cp_async_wait
//   stream_16                          16 bytes that are read once: weights
//   bf16_of, half_of, float_of_bf16, float_of_half, pack_bf16
//   warp_sum, warp_max                 the same bits in every lane, by fixed xor trees
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/half.h"
#include "cuda/global.h"
#include "cuda/limits.h"

// Before a loop of fixed length: its arrays must stay in registers, or it takes too many of them when unrolled.
#ifdef MOESCOPE_EMULATED
#include "emulated_device.h"
#define MOESCOPE_UNROLL
#define MOESCOPE_NO_UNROLL
#else
#include "cuda/device_cuda.h"
#define MOESCOPE_UNROLL _Pragma("unroll")
#define MOESCOPE_NO_UNROLL _Pragma("unroll 1")
#endif

namespace moescope::cuda {

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

template <typename T>
__device__ inline T warp_sum(T value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}

// NaN wins over everything.
__device__ inline float warp_max(float value) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, distance);
    value = value >= other || value != value ? value : other;
  }
  return value;
}

// Two fp32 as bf16 in one register, the first in the lower half.
__device__ inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(bf16_of(low)) | static_cast<uint32_t>(bf16_of(high)) << 16;
}

}  // namespace moescope::cuda
