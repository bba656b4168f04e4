// x += down(silu(gate n) * (up n)), n = norm(x): SwiGLU (Shazeer 2020).
#include <algorithm>

#include "cpu/backend.h"

namespace moescope {

namespace {

// The group that an item of a loop over all groups belongs to; `item` becomes the one within the group.
template <typename Group>
const Group& group_of(const std::vector<Group>& groups, Matrix FeedForward::*part, int64_t& item) {
  const Group* group = groups.data();
  for (int64_t items; item >= (items = num_items(group->ffn->*part, group->x.num_rows)); ++group) item -= items;
  return *group;
}

template <typename Group>
int64_t total_items(const std::vector<Group>& groups, Matrix FeedForward::*part) {
  int64_t total = 0;
  for (const Group& group : groups) total += num_items(group.ffn->*part, group.x.num_rows);
  return total;
}

}  // namespace

void CpuBackend::gated_in(const std::vector<GatedRows>& groups) {
  pool_.parallel_for(total_items(groups, &FeedForward::gate), [&](int64_t item, int thread) {
    const GatedRows& group = group_of(groups, &FeedForward::gate, item);
    const FeedForward& ffn = *group.ffn;
    const RowRange range = item_rows(ffn.gate, group.x.num_rows, item);
    matmul_rows(matmul_kernels_, group.x, ffn.gate, range, scratch_[thread], group.gate);
    matmul_rows(matmul_kernels_, group.x, ffn.up, range, scratch_[thread], group.up);
    for (int64_t row = 0; row < group.x.num_rows; ++row) {
      const int64_t at = row * ffn.gate.rows + range.first;
      kernels_.silu_mul(group.gate + at, group.up + at, range.end - range.first, group.gate + at);
    }
  });
}

void CpuBackend::gated_out(const std::vector<GatedRows>& groups) {
  pool_.parallel_for(total_items(groups, &FeedForward::down), [&](int64_t item, int thread) {
    const GatedRows& group = group_of(groups, &FeedForward::down, item);
    const Matrix& down = group.ffn->down;
    const MatmulInput inner = group.inner->group(group.first, group.x.num_rows);
    const RowRange range = item_rows(down, group.x.num_rows, item);
    matmul_rows(matmul_kernels_, inner, down, range, scratch_[thread], group.out);
    if (group.residual == nullptr) return;
    for (int64_t row = 0; row < group.x.num_rows; ++row) {
      const int64_t start = row * down.rows;
      for (int64_t i = start + range.first; i < start + range.end; ++i) group.residual[i] += group.out[i];
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
