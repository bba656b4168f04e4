// Statuses of the CUDA runtime as core Errors. Only files that nvcc compiles include this.
#pragma once

#include <cuda_runtime.h>

#include "core/error.h"

namespace moescope::cuda {

constexpr const char* kNeededDriver =
    "580.65";  // the first with CUDA 13.0 (CUDA Toolkit release notes, table of drivers)

// `what` was being done: it opens the message.
inline void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  // Errors of a launch are kept until they are asked for; one that was reported must not be met again by the next call.
  cudaGetLastError();
  switch (status) {
    case cudaErrorMemoryAllocation: fail(ErrorCode::OutOfMemory, "The card has no memory left for ", what, ".");
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      fail(ErrorCode::Unsupported, "Expected an NVIDIA driver of version ", kNeededDriver,
           " or newer for device cuda, found none or an older one (", cudaGetErrorName(status), ").");
    case cudaErrorNoKernelImageForDevice:
      fail(ErrorCode::Unsupported, "Expected a card of compute capability 8.0 or newer for ", what,
           ", got an older one.");
    default:
      fail(ErrorCode::Internal, "CUDA: ", what, " failed with ", cudaGetErrorName(status), ": ",
           cudaGetErrorString(status), ".");
  }
}

}  // namespace moescope::cuda
