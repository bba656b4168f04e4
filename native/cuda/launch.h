// How a kernel is started: one parameter struct by value, which says what the kernel is in a KernelInfo.
//
//   struct RmsNormParams {
//     static constexpr KernelInfo kInfo{"rms_norm", 256, arena_bytes<float>(8)};
//     Global<const float> x;
//     ...
//   };
//   launch(stream, rms_norm_kernel, Grid{rows}, 256, arena_bytes<float>(8), params);
#pragma once

#include <cstddef>
#include <type_traits>

#include "core/error.h"
#include "cuda/limits.h"
#include "cuda/runtime.h"

#ifdef MOESCOPE_EMULATED
#include "emulated_launch.h"
#elif defined(__CUDACC__)
#include "cuda/launch_cuda.h"
#endif

namespace moescope::cuda {

struct KernelInfo {
  const char* name;
  int max_threads;  // of a block: what __launch_bounds__ promises
  size_t max_shared_bytes = 0;
};

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

// Enqueues a kernel; an empty grid is no launch. Throws where the launch itself is wrong; what goes wrong on the device, the stream
// says when it is waited for.
template <typename Params>
void launch(Stream& stream, void (*kernel)(Params), Grid grid, int threads, size_t shared_bytes,
            const std::type_identity_t<Params>& params) {
  constexpr KernelInfo info = Params::kInfo;
  static_assert(info.max_threads % 32 == 0 && info.max_threads > 0 && info.max_threads <= kMaxThreadsPerBlock);
  static_assert(info.max_shared_bytes <= kMaxSharedBytesPerBlock, "more shared memory than every target has");
  static_assert(sizeof(Params) <= kMaxParameterBytes);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (threads <= 0 || threads % 32 != 0 || threads > info.max_threads || shared_bytes > info.max_shared_bytes ||
      grid.y > kMaxGridY || grid.z > kMaxGridY) {
    fail(ErrorCode::Internal, "Kernel ", info.name, " takes at most ", info.max_threads, " threads in whole warps, ",
         info.max_shared_bytes, " bytes of shared memory and ", kMaxGridY, " blocks in y and z, got ", threads,
         " threads, ", shared_bytes, " bytes and a grid of ", grid.x, " x ", grid.y, " x ", grid.z, ".");
  }
  launch_here(stream, info.name, kernel, grid.x, grid.y, grid.z, threads, shared_bytes, params);
}

}  // namespace moescope::cuda
