// out = x / sqrt(mean(x^2) + eps) * weight, row by row (Zhang and Sennrich 2019); native/cpu/rms_norm.cpp on the device. The rows are
// rounded in the same launch to the forms in which products take them.
#pragma once

#include <cstdint>

#include "cuda/launch.h"
#include "cuda/left_side.h"

namespace moescope::cuda {

struct RmsNormParams {
  static constexpr int kThreads = 256;
  static constexpr KernelInfo kInfo{"rms_norm", kThreads, arena_bytes<float>(kThreads / 32)};

  Global<const float> x;       // (rows, hidden)
  Global<const float> weight;  // (hidden)
  Global<float> out;           // (rows, hidden), or null; may be x
  int hidden = 0;
  float eps = 0;
  LeftSide side = {};  // (rows, hidden), or nothing of it
};

void rms_norm(Stream& stream, int rows, const RmsNormParams& params);

struct QuantizeParams {
  static constexpr KernelInfo kInfo{"quantize", 256};

  Global<const float> x;  // (rows, length), rows `length` apart
  int length = 0;
  LeftSide side;
};

// Rounds rows to the forms of `side`.
void quantize(Stream& stream, int rows, const QuantizeParams& params);

}  // namespace moescope::cuda
