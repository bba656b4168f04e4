// Pointers to device memory in the parameters of kernels: plain pointers for nvcc and for host code beside it; under the emulator a
// thin type that checks every access against the allocations.
#pragma once

#ifdef MOESCOPE_EMULATED
#include "checked_pointer.h"
#else

namespace moescope::cuda {

#ifdef __CUDACC__
#define MOESCOPE_ANYWHERE __host__ __device__
#else
#define MOESCOPE_ANYWHERE
#endif

// Device memory; may be null.
template <typename T>
using Global = T*;

// A part of a block's shared memory.
template <typename T>
using Shared = T*;

// The same place read as another type; its alignment is the caller's to keep.
template <typename To, typename From>
MOESCOPE_ANYWHERE inline To* as(From* pointer) {
  return reinterpret_cast<To*>(pointer);
}

}  // namespace moescope::cuda

#endif
