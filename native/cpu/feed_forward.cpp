// x += down(silu(gate n) * (up n)), n = norm(x): SwiGLU (Shazeer 2020).
#include <algorithm>

#include "cpu/backend.h"

namespace moescope {

namespace {

// The group that an item of a loop over all groups' tiles belongs to; `tile` becomes the one within the group.
template <typename Group>
const Group& group_of(const std::vector<Group>& groups, Matrix FeedForward::*part, int64_t& tile) {
  const Group* group = groups.data();
  for (; tile >= num_tiles(group->ffn->*part); ++group) tile -= num_tiles(group->ffn->*part);
  return *group;
}

template <typename Group>
int64_t total_tiles(const std::vector<Group>& groups, Matrix FeedForward::*part) {
  int64_t total = 0;
  for (const Group& group : groups) total += num_tiles(group.ffn->*part);
  return total;
}

}  // namespace

void CpuBackend::gated_in(const std::vector<GatedRows>& groups) {
  pool_.parallel_for(total_tiles(groups, &FeedForward::gate), [&](int64_t tile, int thread) {
    const GatedRows& group = group_of(groups, &FeedForward::gate, tile);
    const FeedForward& ffn = *group.ffn;
    matmul_tile(matmul_kernels_, group.x, ffn.gate, tile, scratch_[thread], group.gate);
    matmul_tile(matmul_kernels_, group.x, ffn.up, tile, scratch_[thread], group.up);
    const int64_t first = tile * kTileRows, columns = std::min<int64_t>(kTileRows, ffn.gate.rows - first);
    for (int64_t row = 0; row < group.x.num_rows; ++row) {
      float* inner = group.gate + row * ffn.gate.rows + first;
      kernels_.silu_mul(inner, group.up + row * ffn.gate.rows + first, columns, inner);
    }
  });
}

void CpuBackend::gated_out(const std::vector<GatedRows>& groups) {
  pool_.parallel_for(total_tiles(groups, &FeedForward::down), [&](int64_t tile, int thread) {
    const GatedRows& group = group_of(groups, &FeedForward::down, tile);
    const Matrix& down = group.ffn->down;
    const MatmulInput inner = group.inner->group(group.first, group.x.num_rows);
    matmul_tile(matmul_kernels_, inner, down, tile, scratch_[thread], group.out);
    if (group.residual == nullptr) return;
    const int64_t first = tile * kTileRows, end = std::min<int64_t>(down.rows, first + kTileRows);
    for (int64_t row = 0; row < group.x.num_rows; ++row) {
      for (int64_t i = row * down.rows + first; i < row * down.rows + end; ++i) group.residual[i] += group.out[i];
    }
  });
}

void CpuBackend::feed_forward(int layer, int rows, float* x) {
  const LayerWeights& weights = weights_.layers[layer];
  const FeedForward& ffn = weights.dense;
  const int64_t hidden = config_.hidden_size, intermediate = ffn.gate.rows;
  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::FeedForward, [&] { return work_of(rows, {&ffn.gate, &ffn.up, &ffn.down}); });
  inner_.resize(std::max<size_t>(inner_.size(), static_cast<size_t>(2 * rows * intermediate)));

  rows_side_.prepare(matmul_kernels_, forms_of({&ffn.gate, &ffn.up}), normed_.data(), rows, hidden);
  fill(rows_side_, [&](int64_t row) { rms_norm(x + row * hidden, weights.ffn_norm, &normed_[row * hidden]); });
  const std::vector<GatedRows> group = {{&ffn, rows_side_.group(0, rows), &inner_side_, 0, inner_.data(),
                                         inner_.data() + rows * intermediate, block_out_.data(), x}};
  gated_in(group);
  inner_side_.prepare(matmul_kernels_, forms_of({&ffn.down}), inner_.data(), rows, intermediate);
  fill(inner_side_, [](int64_t) {});
  gated_out(group);
}

}  // namespace moescope
