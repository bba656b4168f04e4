// h = norm(x); z = Wr h; then the routing contract of core/router.h, row by row.
#include <cmath>

#include "core/error.h"
#include "core/hooks.h"
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

void record(const RouteDecision& decision, const float* z, const float* h, float shared_gate, const ModelConfig& config,
            int64_t place, const Taps& taps) {
  for (size_t slot = 0; slot < decision.experts.size(); ++slot) {
    taps.topk_experts[place * taps.top_k + slot] = decision.experts[slot];
    taps.topk_weights[place * taps.top_k + slot] = decision.weights[slot];
  }
  taps.margin[place] = decision.margin;
  taps.intervened[place] |= decision.intervened;
  if (taps.shared_gate != nullptr) taps.shared_gate[place] = shared_gate;
  if (taps.router_logits != nullptr)
    std::copy_n(z, config.num_experts, taps.router_logits + place * config.num_experts);
  if (taps.router_input != nullptr) std::copy_n(h, config.hidden_size, taps.router_input + place * config.hidden_size);
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

  const auto norm = [&](int64_t row) {
    rms_norm(x + row * config_.hidden_size, weights.ffn_norm, h + row * config_.hidden_size);
  };
  router_logits_.resize(std::max<size_t>(router_logits_.size(), static_cast<size_t>(rows) * num_experts));
  const float* effective_logits = router_logits_.data();

  const auto score = [&](int64_t row) {
    const float* input = h + row * config_.hidden_size;
    float* z = &router_logits_[row * num_experts];
    kernels_.dot(input, 0, 1, weights.router.data(), config_.hidden_size, num_experts, config_.hidden_size, z, 0);
    if (weights.shared_gate.empty()) return;
    float gate_logit;
    kernels_.dot(input, 0, 1, weights.shared_gate.data(), 0, 1, config_.hidden_size, &gate_logit, 0);
    routes.shared_gate[row] = static_cast<float>(sigmoid(gate_logit));
  };
  std::vector<RouteDecision> decisions(pool_.num_threads());
  const auto decide = [&](int64_t row, int thread) {
    const BatchRow& where = batch.rows[row];
    const float* z = &router_logits_[row * num_experts];
    for (int expert = 0; expert < num_experts; ++expert) {
      if (std::isfinite(z[expert])) continue;
      fail(ErrorCode::Invariant, "A router logit of layer ", layer, " is not finite at position ", where.where.position,
           ": the weights or the cache hold values that overflow.");
    }
    RouteDecision& decision = decisions[thread];
    const std::vector<RouteRule>* rules = where.plan == nullptr ? nullptr : &where.plan->layers[layer];
    decide_route(config_, effective_logits + row * num_experts, rules, where.where, decision);
    if (decision.zero_shared) routes.shared_gate[row] = 0;
    std::copy(decision.run.begin(), decision.run.end(), &routes.run[row * routes.top_k]);
    std::copy(decision.weights.begin(), decision.weights.end(), &routes.weights[row * routes.top_k]);
    for (uint16_t expert : decision.experts) {
      std::atomic_ref<uint64_t> count(where.counts[static_cast<int64_t>(moe_layer) * num_experts + expert]);
      count.fetch_add(1, std::memory_order_relaxed);
    }
    if (where.trace_row < 0 || taps.layer_slots[layer] < 0) return;
    const int64_t place = where.trace_row * taps.num_layers + taps.layer_slots[layer];
    record(decision, z, h + row * config_.hidden_size, routes.shared_gate[row], config_, place, taps);
  };
  if (taps.hooks == nullptr) {
    pool_.parallel_for(rows, [&](int64_t row, int thread) {
      norm(row);
      score(row);
      decide(row, thread);
    });
    return;
  }
  // The same arithmetic with callbacks between its parts; what goes wrong with a sequence that has some is its own fault.
  pool_.parallel_for(rows, [&](int64_t row, int) { norm(row); });
  taps.hooks->run(HookPoint::RouterInput, layer, config_.hidden_size, h, taps);
  pool_.parallel_for(rows, [&](int64_t row, int) { score(row); });
  if (taps.hooks->wants(HookPoint::RouterLogits, layer)) {
    effective_logits_.assign(router_logits_.begin(), router_logits_.begin() + static_cast<int64_t>(rows) * num_experts);
    effective_logits = effective_logits_.data();
    taps.hooks->run(HookPoint::RouterLogits, layer, num_experts, effective_logits_.data(), taps);
  }
  if (!weights.shared_gate.empty()) {
    taps.hooks->run(HookPoint::SharedGate, layer, 1, routes.shared_gate.data(), taps);
  }
  pool_.parallel_for(rows, [&](int64_t row, int thread) {
    if (!taps.hooks->is_watched(static_cast<int>(row))) return decide(row, thread);
    const int sequence = batch.rows[row].sequence;
    if (taps.hooks->has_failed(sequence)) return;
    try {
      decide(row, thread);
    } catch (const Error& error) {
      taps.hooks->fail_sequence(sequence, error);
    }
  });
}

}  // namespace moescope
