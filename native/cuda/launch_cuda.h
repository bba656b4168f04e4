// launch.h for nvcc.
#pragma once

#include <cuda_runtime.h>

#include "cuda/cuda_error.h"
#include "cuda/runtime.h"

namespace moescope::cuda {

constexpr size_t kSharedBytesWithoutOptIn = 48 * 1024;

template <typename Params>
void launch_here(Stream& stream, const char* name, void (*kernel)(Params), unsigned x, unsigned y, unsigned z,
                 int threads, size_t shared_bytes, const Params& params) {
  if (shared_bytes > kSharedBytesWithoutOptIn) {
    check_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
        name);
  }
  const cudaStream_t cuda_stream = static_cast<cudaStream_t>(stream.handle());
  kernel<<<dim3(x, y, z), threads, shared_bytes, cuda_stream>>>(params);
  check_cuda(cudaGetLastError(), name);
}

}  // namespace moescope::cuda
