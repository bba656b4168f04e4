// x += down(silu(gate n) * (up n)), n = norm(x): SwiGLU (Shazeer 2020).
#include <algorithm>

#include "cpu/backend.h"

namespace moescope {

void CpuBackend::dense_ffn(const FeedForward& ffn, const float* x, int rows, std::vector<float>& inner, float* out) {
  const int64_t intermediate = ffn.gate.rows;
  inner.resize(std::max<size_t>(inner.size(), static_cast<size_t>(2 * rows * intermediate)));
  float* gate = inner.data();
  float* up = gate + rows * intermediate;
  matmul(x, rows, ffn.gate, {}, gate);
  matmul(x, rows, ffn.up, {}, up);
  pool_.parallel_for(rows, [&](int64_t row, int) {
    kernels_.silu_mul(gate + row * intermediate, up + row * intermediate, intermediate, gate + row * intermediate);
  });
  matmul(gate, rows, ffn.down, {}, out);
}

void CpuBackend::feed_forward(int layer, int rows, float* x) {
  const LayerWeights& weights = weights_.layers[layer];
  const FeedForward& ffn = weights.dense;
  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::FeedForward, [&] { return work_of(rows, {&ffn.gate, &ffn.up, &ffn.down}); });
  rms_norm(x, rows, weights.ffn_norm, normed_.data());
  dense_ffn(ffn, normed_.data(), rows, inner_, block_out_.data());
  add_rows(block_out_.data(), rows, x);
}

}  // namespace moescope
