// What moescope_cuda.so exports: core/device_library.h. Both sides are built from one tree by one compiler.
#include "core/device_library.h"
#include "core/error.h"
#include "cuda/backend.h"

namespace moescope::cuda {

namespace {

constexpr int kDevice = 0;  // the first card in the driver's order; CUDA_VISIBLE_DEVICES puts another there

DeviceInfo describe() {
  if (device_count() == 0) {
    fail(ErrorCode::Unsupported, "Expected an NVIDIA card for device cuda, the driver finds none.");
  }
  const DeviceProperties properties = device_properties(kDevice);
  return {properties.name, properties.total_memory, properties.free_memory};
}

std::unique_ptr<Backend> make_backend(const ModelConfig& config, const Weights& weights) {
  return std::make_unique<CudaBackend>(config, weights, kDevice);
}

}  // namespace

}  // namespace moescope::cuda

extern "C" __attribute__((visibility("default"))) const moescope::DeviceLibrary* moescope_device_library() {
  static const moescope::DeviceLibrary library{moescope::kDeviceLibraryVersion, moescope::cuda::describe,
                                               moescope::cuda::make_backend};
  return &library;
}
