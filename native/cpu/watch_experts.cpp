// What level `hidden` and the contribution sums record of the experts' outputs, read where they lie after experts(). All in fp64.
#include <algorithm>
#include <cmath>

#include "core/contributions.h"
#include "cpu/backend.h"

namespace moescope {

namespace {

double dot(const float* a, const float* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double norm(const float* values, int64_t size) { return std::sqrt(dot(values, values, size)); }

// Index of a layer among the MoE layers.
int moe_layer_index(const ModelConfig& config, int layer) {
  int index = 0;
  for (int below = 0; below < layer; ++below) index += config.is_moe_layer[below];
  return index;
}

}  // namespace

void CpuBackend::watch_experts(int layer, const Batch& batch, const Routes& routes, const ExpertGrouping& grouping,
                               const Taps& taps) {
  const bool records_norms = taps.expert_norms != nullptr && taps.layer_slots[layer] >= 0;
  if (!records_norms && taps.contributions == nullptr) return;
  const int64_t hidden = config_.hidden_size, rows = static_cast<int64_t>(batch.rows.size());
  const bool has_shared = !weights_.layers[layer].shared.gate.empty();
  std::vector<double> norms(grouping.rows.size()), shared_norms(has_shared ? rows : 0);
  pool_.parallel_for(static_cast<int64_t>(norms.size()),
                     [&](int64_t place, int) { norms[place] = norm(&expert_out_[place * hidden], hidden); });
  pool_.parallel_for(static_cast<int64_t>(shared_norms.size()),
                     [&](int64_t row, int) { shared_norms[row] = norm(&shared_out_[row * hidden], hidden); });
  for (int64_t row = 0; records_norms && row < rows; ++row) {
    if (batch.rows[row].trace_row < 0) continue;
    const int64_t at = batch.rows[row].trace_row * taps.num_layers + taps.layer_slots[layer];
    for (int slot = 0; slot < std::min(routes.top_k, taps.top_k); ++slot) {
      const int64_t place = grouping.places[row * routes.top_k + slot];
      if (place >= 0) taps.expert_norms[at * taps.top_k + slot] = static_cast<float>(norms[place]);
    }
    if (taps.shared_norm != nullptr) taps.shared_norm[at] = static_cast<float>(shared_norms[row]);
  }
  if (taps.contributions == nullptr) return;
  sum_experts(moe_layer_index(config_, layer), routes, grouping, norms, *taps.contributions);
  if (has_shared) sum_shared(moe_layer_index(config_, layer), routes, grouping, shared_norms, *taps.contributions);
}

// Threads divide experts; each adds its rows in ascending order.
void CpuBackend::sum_experts(int moe_layer, const Routes& routes, const ExpertGrouping& grouping,
                             const std::vector<double>& norms, Contributions& sums) {
  const int64_t hidden = config_.hidden_size;
  const int num_experts = config_.num_experts, top_k = routes.top_k;
  pool_.parallel_for(num_experts, [&](int64_t expert, int) {
    const size_t at = static_cast<size_t>(moe_layer) * num_experts + expert;
    for (int64_t place = grouping.starts[expert]; place < grouping.starts[expert + 1]; ++place) {
      const float* output = &expert_out_[place * hidden];
      const int64_t row = grouping.rows[place];
      sums.rows[at] += 1;
      sums.norm[at] += norms[place];
      sums.squared_norm[at] += norms[place] * norms[place];
      for (int64_t i = 0; i < hidden; ++i) sums.max_abs[at] = std::max(sums.max_abs[at], std::abs(output[i]));
      for (int slot = 0; slot < top_k; ++slot) {
        const int64_t other_place = grouping.places[row * top_k + slot];
        const double weight = routes.weights[row * top_k + slot];
        if (other_place == place) {
          sums.gate[at] += weight;
          sums.gated_norm[at] += weight * norms[place];
          continue;
        }
        const int64_t other = routes.run[row * top_k + slot];
        if (other_place < 0 || other <= expert) continue;
        const double scale = norms[place] * norms[other_place];
        sums.pair_rows[at * num_experts + other] += 1;
        if (scale > 0) {
          sums.pair_cosine[at * num_experts + other] += dot(output, &expert_out_[other_place * hidden], hidden) / scale;
        }
      }
    }
  });
}

// |s f_shared| against |sum of g f|, row by row.
void CpuBackend::sum_shared(int moe_layer, const Routes& routes, const ExpertGrouping& grouping,
                            const std::vector<double>& shared_norms, Contributions& sums) {
  const int64_t hidden = config_.hidden_size, rows = static_cast<int64_t>(shared_norms.size());
  std::vector<double> routed_norms(rows);
  pool_.parallel_for(rows, [&](int64_t row, int) {
    std::vector<double> sum(hidden);
    for (int slot = 0; slot < routes.top_k; ++slot) {
      const int64_t place = grouping.places[row * routes.top_k + slot];
      if (place < 0) continue;
      const double weight = routes.weights[row * routes.top_k + slot];
      for (int64_t i = 0; i < hidden; ++i) sum[i] += weight * expert_out_[place * hidden + i];
    }
    double squares = 0;
    for (double value : sum) squares += value * value;
    routed_norms[row] = std::sqrt(squares);
  });
  for (int64_t row = 0; row < rows; ++row) {
    const double shared = routes.shared_gate[row] * shared_norms[row];
    if (!(routed_norms[row] > 0)) continue;
    sums.shared_rows[moe_layer] += 1;
    sums.shared_norm[moe_layer] += shared;
    sums.routed_norm[moe_layer] += routed_norms[row];
    sums.shared_ratio[moe_layer] += shared / routed_norms[row];
  }
}

}  // namespace moescope
