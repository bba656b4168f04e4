// x += sum over slots of g_e FFN_e(h), in slot order, + shared_gate * FFN_shared(h). Rows are grouped by expert so that each expert's
// weights are read once per batch; nothing is padded.
#include <algorithm>

#include "cpu/backend.h"

namespace moescope {

namespace {

// Assignments of a batch, grouped by the expert that runs: group e is [starts[e], starts[e + 1]).
struct Grouping {
  std::vector<int64_t> starts;  // (num_experts + 1)
  std::vector<int64_t> rows;    // row of each assignment
  std::vector<int64_t> places;  // (rows, top_k): index of a slot's assignment, -1 where nothing runs
};

Grouping group_by_expert(const Routes& routes, int rows, int num_experts) {
  Grouping grouping;
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

// One tile of one expert's weight rows.
struct Task {
  int expert;
  int64_t tile;
};

std::vector<Task> tasks_of(const Grouping& grouping, const std::vector<FeedForward>& experts,
                           Matrix FeedForward::*part) {
  std::vector<Task> tasks;
  for (size_t expert = 0; expert < experts.size(); ++expert) {
    if (grouping.starts[expert] == grouping.starts[expert + 1]) continue;
    for (int64_t tile = 0; tile < num_tiles(experts[expert].*part); ++tile) {
      tasks.push_back({static_cast<int>(expert), tile});
    }
  }
  return tasks;
}

// Bytes and products of the experts that run: each expert's matrices once, its rows times their size.
ProfileWork experts_work(const Grouping& grouping, const std::vector<FeedForward>& experts,
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

// Experts of one layer need not have one type: integers are made if any of them wants them.
MatmulInput CpuBackend::input_for_experts(const std::vector<FeedForward>& experts,
                                          std::initializer_list<Matrix FeedForward::*> parts, const float* x,
                                          int64_t rows) {
  for (const FeedForward& ffn : experts) {
    for (Matrix FeedForward::*part : parts) {
      if (matmul_kernels_.wants_integers(ffn.*part)) return input_for(ffn.*part, x, rows, int_rows_);
    }
  }
  return {x, nullptr, static_cast<int>(rows)};
}

void CpuBackend::experts(int layer, int rows, float* x, const float* h, const Routes& routes) {
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t hidden = config_.hidden_size, intermediate = config_.moe_intermediate_size;
  const Grouping grouping = group_by_expert(routes, rows, config_.num_experts);
  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::ExpertsIn, [&] {
    return experts_work(grouping, weights.experts, {&FeedForward::gate, &FeedForward::up});
  });
  const int64_t assignments = static_cast<int64_t>(grouping.rows.size());
  expert_in_.resize(std::max<size_t>(expert_in_.size(), assignments * hidden));
  expert_inner_.resize(std::max<size_t>(expert_inner_.size(), 2 * assignments * intermediate));
  expert_out_.resize(std::max<size_t>(expert_out_.size(), assignments * hidden));
  float* gate = expert_inner_.data();
  float* up = gate + assignments * intermediate;

  pool_.parallel_for(assignments, [&](int64_t place, int) {
    std::copy_n(h + grouping.rows[place] * hidden, hidden, &expert_in_[place * hidden]);
  });
  const MatmulInput in =
      input_for_experts(weights.experts, {&FeedForward::gate, &FeedForward::up}, expert_in_.data(), assignments);
  const std::vector<Task> inner_tasks = tasks_of(grouping, weights.experts, &FeedForward::gate);
  pool_.parallel_for(static_cast<int64_t>(inner_tasks.size()), [&](int64_t index, int thread) {
    const Task& task = inner_tasks[index];
    const FeedForward& ffn = weights.experts[task.expert];
    const int64_t start = grouping.starts[task.expert];
    const int count = static_cast<int>(grouping.starts[task.expert + 1] - start);
    const MatmulInput rows_in = in.slice(start, hidden, count);
    matmul_tile(matmul_kernels_, rows_in, ffn.gate, task.tile, scratch_[thread], gate + start * intermediate);
    matmul_tile(matmul_kernels_, rows_in, ffn.up, task.tile, scratch_[thread], up + start * intermediate);
    const int64_t first = task.tile * kTileRows, columns = std::min<int64_t>(kTileRows, intermediate - first);
    for (int64_t place = start; place < start + count; ++place) {
      float* inner = gate + place * intermediate + first;
      kernels_.silu_mul(inner, up + place * intermediate + first, columns, inner);
    }
  });
  span.begin(ProfileOp::ExpertsOut, [&] { return experts_work(grouping, weights.experts, {&FeedForward::down}); });
  const MatmulInput inner = input_for_experts(weights.experts, {&FeedForward::down}, gate, assignments);
  const std::vector<Task> out_tasks = tasks_of(grouping, weights.experts, &FeedForward::down);
  pool_.parallel_for(static_cast<int64_t>(out_tasks.size()), [&](int64_t index, int thread) {
    const Task& task = out_tasks[index];
    const int64_t start = grouping.starts[task.expert];
    const int count = static_cast<int>(grouping.starts[task.expert + 1] - start);
    matmul_tile(matmul_kernels_, inner.slice(start, intermediate, count), weights.experts[task.expert].down, task.tile,
                scratch_[thread], &expert_out_[start * hidden]);
  });

  const bool has_shared = !weights.shared.gate.empty();
  if (has_shared) {
    const FeedForward& shared = weights.shared;
    span.begin(ProfileOp::SharedExpert, [&] { return work_of(rows, {&shared.gate, &shared.up, &shared.down}); });
    shared_out_.resize(std::max<size_t>(shared_out_.size(), static_cast<size_t>(rows) * hidden));
    dense_ffn(shared, h, rows, inner_, shared_out_.data());
  }
  span.begin(ProfileOp::ExpertsAdd);
  pool_.parallel_for(rows, [&](int64_t row, int) {
    float* sum = &block_out_[row * hidden];
    std::fill_n(sum, hidden, 0.0f);
    for (int slot = 0; slot < routes.top_k; ++slot) {
      const int64_t place = grouping.places[row * routes.top_k + slot];
      if (place < 0) continue;
      kernels_.add_scaled(routes.weights[row * routes.top_k + slot], &expert_out_[place * hidden], hidden, sum);
    }
    if (has_shared && routes.shared_gate[row] != 0)
      kernels_.add_scaled(routes.shared_gate[row], &shared_out_[row * hidden], hidden, sum);
    for (int64_t i = 0; i < hidden; ++i) x[row * hidden + i] += sum[i];
  });
}

}  // namespace moescope
