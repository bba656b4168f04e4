// What the targets of the build have in common: sm_80, sm_86, sm_89, sm_90 (CUDA C++ Programming Guide 13, compute capabilities).
// A kernel must fit all of them; scripts/cuda/ holds the compiled kernels to the limits that ptxas alone can see.
#pragma once

#include <cstddef>

#include "cuda/global.h"

namespace moescope::cuda {

constexpr int kMaxThreadsPerBlock = 1024;
constexpr size_t kMaxSharedBytesPerBlock = 99 * 1024;  // sm_86 and sm_89; sm_80: 163 KiB, sm_90: 227 KiB
constexpr size_t kMaxParameterBytes = 4096;
constexpr size_t kArenaAlignment = 16;
constexpr unsigned kMaxGridY = 65535;  // and z; x goes to 2^31 - 1

// Bytes that a part of `count` values takes of a block's shared memory.
template <typename T>
MOESCOPE_ANYWHERE constexpr size_t arena_bytes(size_t count) {
  return (count * sizeof(T) + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
}

}  // namespace moescope::cuda
