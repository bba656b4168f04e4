// What moescope_cuda.so exports: one C function, found by dlsym. Both sides are built from one tree by one compiler, which the
// version checks.
#pragma once

#include <vector>

#include "cuda/runtime.h"

namespace moescope::cuda {

constexpr int kLibraryVersion = 1;

struct Library {
  int version = kLibraryVersion;
  // The cards that can be used, in the driver's order; empty where it finds none. Unsupported where the driver is missing or too old.
  std::vector<DeviceProperties> (*devices)() = nullptr;
};

}  // namespace moescope::cuda

extern "C" const moescope::cuda::Library* moescope_cuda_library();
