#include "cuda/library.h"

namespace moescope::cuda {

namespace {

std::vector<DeviceProperties> devices() {
  std::vector<DeviceProperties> all;
  const int count = device_count();
  for (int device = 0; device < count; ++device) all.push_back(device_properties(device));
  return all;
}

}  // namespace

}  // namespace moescope::cuda

extern "C" __attribute__((visibility("default"))) const moescope::cuda::Library* moescope_cuda_library() {
  static const moescope::cuda::Library library{.devices = moescope::cuda::devices};
  return &library;
}
