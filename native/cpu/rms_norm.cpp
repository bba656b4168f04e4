// out = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019), the mean in fp64.
#include <cmath>

#include "cpu/backend.h"

namespace moescope {

void CpuBackend::rms_norm(const float* x, const std::vector<float>& weight, float* out) const {
  const int64_t hidden = config_.hidden_size;
  double sum = 0;
  for (int64_t i = 0; i < hidden; ++i) sum += static_cast<double>(x[i]) * x[i];
  const float scale = static_cast<float>(1 / std::sqrt(sum / static_cast<double>(hidden) + config_.rms_norm_eps));
  for (int64_t i = 0; i < hidden; ++i) out[i] = weight[i] * (x[i] * scale);
}

}  // namespace moescope
