// device.h for g++: CUDA's names and ours, by the emulator.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <source_location>

#include "block.h"
#include "checked_pointer.h"
#include "core/half.h"
#include "cuda/limits.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __restrict__

#define threadIdx ::moescope::emulator::thread_index
#define blockIdx ::moescope::emulator::block_index
#define blockDim ::moescope::emulator::block_dim
#define gridDim ::moescope::emulator::grid_dim

struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return bits == 0 ? 0 : std::countr_zero(static_cast<unsigned>(bits)) + 1; }
inline unsigned __float_as_uint(float value) { return std::bit_cast<unsigned>(value); }
inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
using std::fmaf;

inline void __syncthreads(const std::source_location where = std::source_location::current()) {
  moescope::emulator::meet_block("__syncthreads", where);
}

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       const std::source_location where = std::source_location::current()) {
  moescope::emulator::meet_warp(mask, "__syncwarp", where, nullptr, nullptr);
}

namespace moescope::emulator {

template <typename T>
struct Shuffle {
  T value;
  int source;
  T result;
};

// Every lane gets the value of the lane that it names.
template <typename T>
T shuffle(unsigned mask, T value, int source, const char* operation, const std::source_location& where) {
  Shuffle<T> own{value, source & 31, value};
  meet_warp(mask, operation, where, &own, [](WarpArguments lanes, unsigned) {
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] == nullptr) continue;
      auto& taker = *static_cast<Shuffle<T>*>(lanes[lane]);
      if (lanes[taker.source] == nullptr) fail_lane("took part in a shuffle that reads a lane outside of its mask");
      taker.result = static_cast<Shuffle<T>*>(lanes[taker.source])->value;
    }
  });
  return own.result;
}

unsigned ballot(unsigned mask, bool vote, const char* operation, const std::source_location& where);

}  // namespace moescope::emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, const std::source_location where = std::source_location::current()) {
  return moescope::emulator::shuffle(mask, value, source, "__shfl_sync", where);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance,
                  const std::source_location where = std::source_location::current()) {
  const int source = static_cast<int>(moescope::emulator::lane_index()) ^ distance;
  return moescope::emulator::shuffle(mask, value, source, "__shfl_xor_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, bool vote,
                              const std::source_location where = std::source_location::current()) {
  return moescope::emulator::ballot(mask, vote, "__ballot_sync", where);
}
inline int __any_sync(unsigned mask, bool vote, const std::source_location where = std::source_location::current()) {
  return moescope::emulator::ballot(mask, vote, "__any_sync", where) != 0;
}
inline int __all_sync(unsigned mask, bool vote, const std::source_location where = std::source_location::current()) {
  return moescope::emulator::ballot(mask, vote, "__all_sync", where) == mask;
}

// Integers alone: what floats add up to depends on the order of arrival.
template <typename T, typename Space>
  requires std::is_integral_v<T>
T atomicAdd(const moescope::emulator::CheckedPointer<T, Space>& place, std::type_identity_t<T> value) {
  T& target = *place;
  const T before = target;
  target = before + value;
  return before;
}

namespace moescope::cuda {

class SharedArena {
 public:
  template <typename T>
  Shared<T> take(size_t count) {
    char* part = emulator::arena_part(taken_, count * sizeof(T));
    taken_ += arena_bytes<T>(count);
    return {reinterpret_cast<T*>(part), {part, part + count * sizeof(T)}};
  }

 private:
  size_t taken_ = 0;
};

inline int dot4(int a, int b, int c) {
  for (int i = 0; i < 4; ++i) c += static_cast<int8_t>(a >> 8 * i) * static_cast<int8_t>(b >> 8 * i);
  return c;
}

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
              const std::source_location where = std::source_location::current());
void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
            const std::source_location where = std::source_location::current());
void load_matrices(uint32_t (&r)[4], const void* row, bool is_transposed, const std::source_location& where);

template <typename T>
void ldmatrix_x4(uint32_t (&r)[4], const Shared<T>& row,
                 const std::source_location where = std::source_location::current()) {
  load_matrices(r, row.address(), false, where);
}
template <typename T>
void ldmatrix_x4_transposed(uint32_t (&r)[4], const Shared<T>& row,
                            const std::source_location where = std::source_location::current()) {
  load_matrices(r, row.address(), true, where);
}

template <typename S, typename G>
void cp_async_16(const Shared<S>& shared, const Global<G>& global, bool wanted) {
  static_cast<void>(*as<uint4>(shared));
  if (wanted) static_cast<void>(*as<const uint4>(global));
  emulator::copy_later(shared.address(), wanted ? global.address() : nullptr);
}
inline void cp_async_commit() { emulator::close_copy_group(); }
template <int pending>
void cp_async_wait() {
  emulator::wait_for_copies(pending);
}

template <typename T>
uint4 stream_16(const Global<T>& global) {
  return *as<const uint4>(global);
}

inline uint16_t bf16_of(float value) { return float_to_bf16(value); }
inline uint16_t half_of(float value) { return float_to_half(value); }
inline float float_of_bf16(uint16_t bits) { return bf16_to_float(bits); }
inline float float_of_half(uint16_t bits) { return half_to_float(bits); }

}  // namespace moescope::cuda
