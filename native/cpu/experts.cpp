// x += sum over slots of g_e FFN_e(h), in slot order, + shared_gate * FFN_shared(h). Rows are grouped by expert so that each expert's
// weights are read once per batch; nothing is padded.
#include <algorithm>

#include "core/hooks.h"
#include "cpu/backend.h"

namespace moescope {

namespace {

ExpertGrouping group_by_expert(const Routes& routes, int rows, int num_experts) {
  ExpertGrouping grouping;
  grouping.starts.assign(num_experts + 1, 0);
  // An expert whose gate is 0 does not run: its contribution is removed even where it is not a finite number.
  const auto runs = [&](size_t index) { return routes.run[index] != kNoExpert && routes.weights[index] != 0; };
  for (size_t index = 0; index < routes.run.size(); ++index) {
    if (runs(index)) ++grouping.starts[routes.run[index] + 1];
  }
  for (int expert = 0; expert < num_experts; ++expert) grouping.starts[expert + 1] += grouping.starts[expert];
  std::vector<int64_t> next(grouping.starts.begin(), grouping.starts.end() - 1);
  grouping.rows.resize(grouping.starts.back());
  grouping.places.assign(routes.run.size(), -1);
  for (int64_t row = 0; row < rows; ++row) {
    for (int slot = 0; slot < routes.top_k; ++slot) {
      const size_t index = row * routes.top_k + slot;
      if (!runs(index)) continue;
      const int64_t place = next[routes.run[index]]++;
      grouping.rows[place] = row;
      grouping.places[index] = place;
    }
  }
  return grouping;
}

// Bytes and products of the experts that run: each expert's matrices once, its rows times their size.
ProfileWork experts_work(const ExpertGrouping& grouping, const std::vector<FeedForward>& experts,
                         std::initializer_list<Matrix FeedForward::*> parts) {
  ProfileWork work;
  for (size_t expert = 0; expert < experts.size(); ++expert) {
    const int64_t count = grouping.starts[expert + 1] - grouping.starts[expert];
    for (Matrix FeedForward::*part : parts) {
      const Matrix& matrix = experts[expert].*part;
      if (count > 0) work += {matrix.rows * matrix.row_bytes, count * matrix.rows * matrix.cols};
    }
  }
  return work;
}

}  // namespace

void CpuBackend::experts(int layer, const Batch& batch, float* x, const float* h, const Routes& routes,
                         const Taps& taps) {
  const LayerWeights& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size());
  const FeedForward& shared = weights.shared;
  const bool has_shared = !shared.gate.empty();
  const int64_t hidden = config_.hidden_size, intermediate = config_.moe_intermediate_size;
  const int64_t shared_rows = has_shared ? rows : 0, shared_intermediate = config_.shared_expert_intermediate_size;
  const ExpertGrouping grouping = group_by_expert(routes, rows, config_.num_experts);
  const int64_t assignments = static_cast<int64_t>(grouping.rows.size());
  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::ExpertsIn, [&] {
    ProfileWork work = experts_work(grouping, weights.experts, {&FeedForward::gate, &FeedForward::up});
    if (has_shared) work += work_of(rows, {&shared.gate, &shared.up});
    return work;
  });
  expert_inner_.resize(std::max<size_t>(expert_inner_.size(), 2 * assignments * intermediate));
  expert_out_.resize(std::max<size_t>(expert_out_.size(), assignments * hidden));
  inner_.resize(std::max<size_t>(inner_.size(), 2 * shared_rows * shared_intermediate));
  shared_out_.resize(std::max<size_t>(shared_out_.size(), shared_rows * hidden));

  std::vector<const float*> sources;
  for (int64_t row : grouping.rows) sources.push_back(h + row * hidden);
  expert_side_.prepare(matmul_kernels_, expert_forms_[layer].in, std::move(sources), grouping.starts, hidden);
  if (has_shared) rows_side_.prepare(matmul_kernels_, forms_of({&shared.gate, &shared.up}), h, rows, hidden);
  fill_both(expert_side_, rows_side_, has_shared);

  std::vector<GatedRows> groups;
  float* gate = expert_inner_.data();
  for (size_t expert = 0; expert < weights.experts.size(); ++expert) {
    const int64_t start = grouping.starts[expert], count = grouping.starts[expert + 1] - start;
    if (count == 0) continue;
    groups.push_back({&weights.experts[expert], expert_side_.group(start, count), &expert_inner_side_, start,
                      gate + start * intermediate, gate + (assignments + start) * intermediate,
                      &expert_out_[start * hidden]});
  }
  if (has_shared) {
    groups.push_back({&shared, rows_side_.group(0, rows), &inner_side_, 0, inner_.data(),
                      inner_.data() + rows * shared_intermediate, shared_out_.data()});
  }
  gated_in(groups);

  span.begin(ProfileOp::ExpertsOut, [&] {
    ProfileWork work = experts_work(grouping, weights.experts, {&FeedForward::down});
    if (has_shared) work += work_of(rows, {&shared.down});
    return work;
  });
  sources.clear();
  for (int64_t place = 0; place < assignments; ++place) sources.push_back(gate + place * intermediate);
  expert_inner_side_.prepare(matmul_kernels_, expert_forms_[layer].out, std::move(sources), grouping.starts,
                             intermediate);
  if (has_shared) {
    inner_side_.prepare(matmul_kernels_, forms_of({&shared.down}), inner_.data(), rows, shared_intermediate);
  }
  fill_both(expert_inner_side_, inner_side_, has_shared);
  gated_out(groups);

  if (taps.hooks != nullptr) call_back_outputs(layer, grouping, has_shared, taps);
  span.begin(ProfileOp::ExpertsAdd);
  const auto combine = [&](int64_t row) {
    float* sum = &block_out_[row * hidden];
    std::fill_n(sum, hidden, 0.0f);
    for (int slot = 0; slot < routes.top_k; ++slot) {
      const int64_t place = grouping.places[row * routes.top_k + slot];
      if (place < 0) continue;
      kernels_.add_scaled(routes.weights[row * routes.top_k + slot], &expert_out_[place * hidden], hidden, sum);
    }
    if (has_shared && routes.shared_gate[row] != 0)
      kernels_.add_scaled(routes.shared_gate[row], &shared_out_[row * hidden], hidden, sum);
  };
  const auto add = [&](int64_t row) {
    for (int64_t i = row * hidden; i < (row + 1) * hidden; ++i) x[i] += block_out_[i];
  };
  if (taps.hooks == nullptr) {
    pool_.parallel_for(rows, [&](int64_t row, int) {
      combine(row);
      add(row);
    });
  } else {
    pool_.parallel_for(rows, [&](int64_t row, int) { combine(row); });
    taps.hooks->run(HookPoint::MoeOutput, layer, config_.hidden_size, block_out_.data(), taps);
    pool_.parallel_for(rows, [&](int64_t row, int) { add(row); });
  }
  watch_experts(layer, batch, routes, grouping, taps);
}

void CpuBackend::call_back_outputs(int layer, const ExpertGrouping& grouping, bool has_shared, const Taps& taps) {
  const int width = config_.hidden_size;
  for (int expert = 0; expert < config_.num_experts; ++expert) {
    const int64_t start = grouping.starts[expert], count = grouping.starts[expert + 1] - start;
    if (count == 0) continue;
    float* outputs = &expert_out_[start * width];
    taps.hooks->run(HookPoint::ExpertOutput, layer, expert, &grouping.rows[start], count, width, outputs, taps);
  }
  if (has_shared) taps.hooks->run(HookPoint::SharedOutput, layer, width, shared_out_.data(), taps);
}

void CpuBackend::fill_both(LeftSide& experts, LeftSide& shared, bool has_shared) {
  const int64_t expert_blocks = experts.num_blocks(), shared_blocks = has_shared ? shared.num_blocks() : 0;
  const auto fill_one = [&](int64_t block, int) {
    if (block < expert_blocks) return experts.fill(block);
    shared.fill(block - expert_blocks);
  };
  // A few blocks take less time than a thread needs to notice them.
  constexpr int64_t kFewBlocks = 8;
  if (expert_blocks + shared_blocks > kFewBlocks) return pool_.parallel_for(expert_blocks + shared_blocks, fill_one);
  for (int64_t block = 0; block < expert_blocks + shared_blocks; ++block) fill_one(block, 0);
}

}  // namespace moescope
