// route(): the router's launches, what is recorded of them, and the callbacks between.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/hooks.h"
#include "cuda/backend.h"

namespace moescope::cuda {

namespace {

// What this device does not compute yet, refused by name.
void refuse_missing(int layer, const Taps& taps) {
  if (taps.contributions != nullptr) {
    fail(ErrorCode::Unsupported, "Contributions of experts are not summed on device cuda: use device cpu.");
  }
  if (taps.hooks == nullptr) return;
  for (HookPoint point : {HookPoint::ExpertOutput, HookPoint::SharedOutput, HookPoint::MoeOutput}) {
    if (!taps.hooks->wants(point, layer)) continue;
    fail(ErrorCode::Unsupported, "Callbacks at ", hook_name(point), " do not run on device cuda: use device cpu.");
  }
}

}  // namespace

void CudaBackend::call_back(HookPoint point, int layer, int rows, int width, void* values, const Taps& taps) {
  if (taps.hooks == nullptr || !taps.hooks->wants(point, layer)) return;
  std::vector<float> host(static_cast<size_t>(rows) * width);
  copy_to_host(stream_, host.data(), values, host.size() * sizeof(float));
  stream_.synchronize();
  taps.hooks->run(point, layer, width, host.data(), taps);
  copy_to_device(stream_, values, host.data(), host.size() * sizeof(float));
  stream_.synchronize();
}

void CudaBackend::route(int layer, const Batch& batch, const float* x, float* h, Routes&, const Taps& taps) {
  refuse_missing(layer, taps);
  if (!trace_is_ready_) trace_.prepare(stream_, config_, batch, taps);
  trace_is_ready_ = true;
  const DeviceLayer& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size()), width = batch_.route_width();
  const size_t num_logits = static_cast<size_t>(rows) * config_.num_experts;
  const LeftSide side = normed(rows, x, weights.ffn_norm, h);
  if (taps.hooks != nullptr && taps.hooks->wants(HookPoint::RouterInput, layer)) {
    call_back(HookPoint::RouterInput, layer, rows, config_.hidden_size, h, taps);
    quantize(stream_, rows, {.x = h, .length = config_.hidden_size, .side = side});
  }

  ScoreParams scores;
  scores.h = h;
  scores.router = weights.router;
  scores.gate_weight = weights.shared_gate;
  scores.logits = raw_logits_.reserve<float>(num_logits);
  scores.shared_gate = shared_gate_.reserve<float>(rows);
  scores.rows = rows;
  scores.hidden = config_.hidden_size;
  scores.num_experts = config_.num_experts;
  score(stream_, scores);

  Global<const float> logits = scores.logits;
  if (taps.hooks != nullptr && taps.hooks->wants(HookPoint::RouterLogits, layer)) {
    logits = logits_.reserve<float>(num_logits);
    copy_on_device(stream_, logits_.data(), raw_logits_.data(), num_logits * sizeof(float));
    call_back(HookPoint::RouterLogits, layer, rows, config_.num_experts, logits_.data(), taps);
  }
  if (weights.shared_gate != nullptr) call_back(HookPoint::SharedGate, layer, rows, 1, shared_gate_.data(), taps);

  DecideParams params;
  params.raw_logits = scores.logits;
  params.logits = logits;
  params.rows = batch_.route_rows();
  params.taps = trace_.taps();
  params.tables = batch_.route_tables();
  params.counts = batch_.counts();
  params.run = run_.reserve<uint16_t>(static_cast<size_t>(rows) * width);
  params.weights = gate_weights_.reserve<float>(static_cast<size_t>(rows) * width);
  if (weights.shared_gate != nullptr) params.shared_gate = scores.shared_gate;
  params.status = status_.as<int32_t>() + static_cast<int64_t>(moe_layers_[layer]) * rows;
  params.num_experts = config_.num_experts;
  params.k = config_.num_experts_per_token;
  params.width = width;
  params.layer = layer;
  params.moe_layer = moe_layers_[layer];
  params.num_moe_layers = config_.num_moe_layers();
  params.norm_topk_prob = config_.norm_topk_prob;
  decide(stream_, rows, params);
  record_inputs(layer, batch, h, taps);
}

void CudaBackend::record_inputs(int layer, const Batch& batch, const float* h, const Taps& taps) {
  if (taps.router_input == nullptr || taps.layer_slots[layer] < 0) return;
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    if (batch.rows[row].trace_row < 0) continue;
    const int64_t place = batch.rows[row].trace_row * taps.num_layers + taps.layer_slots[layer];
    copy_to_host(stream_, taps.router_input + place * hidden, h + row * hidden, hidden * sizeof(float));
  }
}

// Level `hidden` alone: the outputs come to the host, which takes their norms in float64 as the CPU does.
void CudaBackend::record_norms(int layer, const Batch& batch, const ExpertsParams& experts, const Taps& taps) {
  const size_t hidden = static_cast<size_t>(config_.hidden_size), width = static_cast<size_t>(experts.top_k),
               rows = batch.rows.size();
  std::vector<float> out(rows * width * hidden), shared(taps.shared_norm == nullptr ? 0 : rows * hidden),
      weights(rows * width);
  std::vector<uint16_t> run(rows * width);
  copy_to_host(stream_, out.data(), expert_out_.data(), out.size() * sizeof(float));
  copy_to_host(stream_, run.data(), run_.data(), run.size() * sizeof(uint16_t));
  copy_to_host(stream_, weights.data(), gate_weights_.data(), weights.size() * sizeof(float));
  if (!shared.empty()) copy_to_host(stream_, shared.data(), shared_out_.data(), shared.size() * sizeof(float));
  stream_.synchronize();
  const auto norm = [&](const float* values) {
    double squares = 0;
    for (size_t i = 0; i < hidden; ++i) squares += static_cast<double>(values[i]) * values[i];
    return static_cast<float>(std::sqrt(squares));
  };
  for (size_t row = 0; row < rows; ++row) {
    if (batch.rows[row].trace_row < 0) continue;
    const int64_t place = batch.rows[row].trace_row * taps.num_layers + taps.layer_slots[layer];
    for (size_t slot = 0; slot < std::min(width, static_cast<size_t>(taps.top_k)); ++slot) {
      const size_t at = row * width + slot;
      if (run[at] != kNoExpert && weights[at] != 0) {
        taps.expert_norms[place * taps.top_k + slot] = norm(&out[at * hidden]);
      }
    }
    if (!shared.empty()) taps.shared_norm[place] = norm(&shared[row * hidden]);
  }
}

void CudaBackend::check_routes(const Batch& batch, const Taps& taps) const {
  const size_t rows = batch.rows.size();
  RouteDecision decision;
  const std::vector<float> any_logits(config_.num_experts);
  for (int layer = 0; layer < config_.num_layers; ++layer) {
    if (moe_layers_[layer] < 0) continue;
    for (size_t row = 0; row < rows; ++row) {
      const auto status = static_cast<RouteStatus>(host_status_[moe_layers_[layer] * rows + row]);
      if (status == RouteStatus::Fine) continue;
      const BatchRow& where = batch.rows[row];
      try {
        if (status == RouteStatus::NotFinite) {
          fail(ErrorCode::Invariant, "A router logit of layer ", layer, " is not finite at position ",
               where.where.position, ": the weights or the cache hold values that overflow.");
        }
        decide_route(config_, any_logits.data(), &where.plan->layers[layer], where.where, decision);
        fail(ErrorCode::InvalidArgument, "The callback at router.logits of layer ", layer,
             " left fewer experts than are selected at position ", where.where.position, ".");
      } catch (const Error& error) {
        if (taps.hooks == nullptr || !taps.hooks->is_watched(static_cast<int>(row))) throw;
        if (!taps.hooks->has_failed(where.sequence)) taps.hooks->fail_sequence(where.sequence, error);
      }
    }
  }
}

}  // namespace moescope::cuda
