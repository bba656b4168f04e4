// Values on the emulated device and back, in few words.
#pragma once

#include <cstring>
#include <vector>

#include "cuda/runtime.h"

namespace moescope::check {

template <typename T>
cuda::DeviceBuffer on_device(cuda::Stream& stream, const std::vector<T>& values) {
  cuda::DeviceBuffer buffer(values.size() * sizeof(T));
  cuda::copy_to_device(stream, buffer.data(), values.data(), buffer.bytes());
  stream.synchronize();
  return buffer;
}

// Waits for the stream; throws what went wrong on it.
template <typename T>
std::vector<T> on_host(cuda::Stream& stream, const cuda::DeviceBuffer& buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  cuda::copy_to_host(stream, values.data(), buffer.data(), buffer.bytes());
  stream.synchronize();
  return values;
}

}  // namespace moescope::check
