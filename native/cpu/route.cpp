// h = norm(x); z = Wr h; then the routing contract of core/router.h, row by row.
#include <cmath>

#include "core/error.h"
#include "cpu/backend.h"

namespace moescope {

namespace {

double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

// Index of a layer among the MoE layers.
int moe_layer_index(const ModelConfig& config, int layer) {
  int index = 0;
  for (int below = 0; below < layer; ++below) index += config.is_moe_layer[below];
  return index;
}

void record(const RouteDecision& decision, const float* z, float shared_gate, int num_experts, int64_t place,
            const Taps& taps) {
  if (taps.topk_experts != nullptr) {
    for (size_t slot = 0; slot < decision.experts.size(); ++slot) {
      taps.topk_experts[place * taps.top_k + slot] = decision.experts[slot];
      taps.topk_weights[place * taps.top_k + slot] = decision.weights[slot];
    }
    taps.margin[place] = decision.margin;
    taps.intervened[place] = decision.intervened;
  }
  if (taps.shared_gate != nullptr) taps.shared_gate[place] = shared_gate;
  if (taps.router_logits != nullptr) std::copy(z, z + num_experts, taps.router_logits + place * num_experts);
}

}  // namespace

void CpuBackend::route(int layer, const Batch& batch, const float* x, float* h, Routes& routes, const Taps& taps) {
  const LayerWeights& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size()), num_experts = config_.num_experts;
  const int moe_layer = moe_layer_index(config_, layer);
  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::Route, [&] {
    const int64_t num_weights = static_cast<int64_t>(weights.router.size() + weights.shared_gate.size());
    return ProfileWork{num_weights * 4, rows * num_weights};
  });
  routes.top_k = config_.num_experts_per_token;
  for (const BatchRow& row : batch.rows) {
    if (row.plan != nullptr) routes.top_k = std::max(routes.top_k, row.plan->max_top_k);
  }
  routes.run.assign(static_cast<size_t>(rows) * routes.top_k, kNoExpert);
  routes.weights.assign(routes.run.size(), 0);
  routes.shared_gate.assign(rows, 0);

  std::vector<RouteDecision> decisions(pool_.num_threads());
  std::vector<std::vector<float>> router_logits(pool_.num_threads(), std::vector<float>(num_experts));
  pool_.parallel_for(rows, [&](int64_t row, int thread) {
    float* input = h + row * config_.hidden_size;
    rms_norm(x + row * config_.hidden_size, weights.ffn_norm, input);
    std::vector<float>& z = router_logits[thread];
    kernels_.dot(input, 0, 1, weights.router.data(), config_.hidden_size, num_experts, config_.hidden_size, z.data(),
                 0);
    for (float logit : z) {
      if (!std::isfinite(logit)) {
        fail(ErrorCode::Invariant, "A router logit of layer ", layer, " is not finite at position ",
             batch.rows[row].where.position, ": the weights or the cache hold values that overflow.");
      }
    }
    const RoutePlan* plan = batch.rows[row].plan;
    RouteDecision& decision = decisions[thread];
    decide_route(config_, z.data(), plan == nullptr ? nullptr : &plan->layers[layer], batch.rows[row].where, decision);

    float shared_gate = 0;
    if (!weights.shared_gate.empty()) {
      float gate_logit;
      kernels_.dot(input, 0, 1, weights.shared_gate.data(), 0, 1, config_.hidden_size, &gate_logit, 0);
      shared_gate = decision.zero_shared ? 0 : static_cast<float>(sigmoid(gate_logit));
    }
    std::copy(decision.run.begin(), decision.run.end(), &routes.run[row * routes.top_k]);
    std::copy(decision.weights.begin(), decision.weights.end(), &routes.weights[row * routes.top_k]);
    routes.shared_gate[row] = shared_gate;
    for (uint16_t expert : decision.experts) {
      std::atomic_ref<uint64_t> count(taps.counts[static_cast<int64_t>(moe_layer) * num_experts + expert]);
      count.fetch_add(1, std::memory_order_relaxed);
    }
    const int64_t place = (taps.first_row + row) * taps.num_moe_layers + moe_layer;
    record(decision, z.data(), shared_gate, num_experts, place, taps);
  });
}

}  // namespace moescope
