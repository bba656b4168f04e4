// A device that comes as a shared library of its own, so that the package for the CPU needs nothing of it. moescope_cuda.so exports
//
//   extern "C" const moescope::DeviceLibrary* moescope_device_library();
//
// Both sides are compiled from one tree and share the headers of core/; Errors cross the joint.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/weights.h"

namespace moescope {

// To be raised with every change of a header of core/ that both sides use.
constexpr uint32_t kDeviceLibraryVersion = 1;

struct DeviceInfo {
  std::string name;         // as the driver calls the card
  size_t total_memory = 0;  // bytes
  size_t free_memory = 0;
};

struct DeviceLibrary {
  uint32_t version;
  // The card that would be used. Unsupported, in one sentence, where there is none or its driver is too old.
  DeviceInfo (*describe)();
  // `config` and `weights` must outlive the backend. OutOfMemory where the weights do not fit.
  std::unique_ptr<Backend> (*make_backend)(const ModelConfig& config, const Weights& weights);
};

constexpr const char* kDeviceLibrarySymbol = "moescope_device_library";

}  // namespace moescope
