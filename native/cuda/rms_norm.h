// out = x / sqrt(mean(x^2) + eps) * weight, row by row (Zhang and Sennrich 2019); native/cpu/rms_norm.cpp on the device.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace moescope::cuda {

struct RmsNormParams {
  static constexpr int kThreads = 256;
  static constexpr KernelInfo kInfo{"rms_norm", kThreads, arena_bytes<float>(kThreads / 32)};

  Global<const float> x;       // (rows, hidden)
  Global<const float> weight;  // (hidden)
  Global<float> out;           // (rows, hidden); may be x
  int hidden = 0;
  float eps = 0;
};

void rms_norm(Stream& stream, int rows, const RmsNormParams& params);

}  // namespace moescope::cuda
