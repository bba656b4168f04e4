#include "core/trace_block.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace moescope {

TraceBlock::TraceBlock(const ModelConfig& config, CaptureLevel wanted, int64_t num_rows, int slots,
                       const std::optional<std::vector<int32_t>>& layers)
    : level(wanted),
      rows(num_rows),
      num_experts(config.num_experts),
      top_k(slots),
      layer_slots_(config.num_layers, -1),
      residual_slots_(config.num_layers, -1) {
  for (int32_t layer : layers.value_or(std::vector<int32_t>{})) {
    if (layer >= 0 && layer < config.num_layers) continue;
    fail(ErrorCode::InvalidArgument, "Expected layers from 0 to ", config.num_layers - 1, " to record, got ", layer,
         ".");
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    if (layers && std::find(layers->begin(), layers->end(), layer) == layers->end()) continue;
    if (config.is_moe_layer[layer]) layer_slots_[layer] = num_moe_layers++;
    if (level == CaptureLevel::Hidden) residual_slots_[layer] = num_residual_layers++;
  }
  const auto wanted_rows = static_cast<size_t>(rows), row_layers = wanted_rows * num_moe_layers;
  const auto hidden = static_cast<size_t>(config.hidden_size);
  const bool has_shared = config.shared_expert_intermediate_size > 0;
  topk_experts.resize(row_layers * top_k);
  topk_weights.resize(row_layers * top_k);
  if (has_shared) shared_gate.resize(row_layers);
  margin.resize(row_layers);
  intervened.resize(row_layers);
  if (level >= CaptureLevel::Logits) router_logits.resize(row_layers * config.num_experts);
  if (level < CaptureLevel::Hidden) return;
  router_input.resize(row_layers * hidden);
  expert_norms.resize(row_layers * top_k);
  if (has_shared) shared_norm.resize(row_layers);
  residual.resize(wanted_rows * num_residual_layers * hidden);
}

void TraceBlock::open(int64_t first, int64_t count, Taps& taps) {
  const auto place = [&](auto& values, auto empty) {
    const size_t width = values.size() / static_cast<size_t>(rows);
    std::fill_n(values.begin() + first * width, count * width, empty);
    return values.empty() ? nullptr : values.data();
  };
  // What every recorded row overwrites need not be emptied.
  const auto as_is = [](auto& values) { return values.empty() ? nullptr : values.data(); };
  taps.layer_slots = layer_slots_;
  taps.residual_slots = residual_slots_;
  taps.num_layers = num_moe_layers;
  taps.num_residuals = num_residual_layers;
  taps.top_k = top_k;
  taps.topk_experts = place(topk_experts, kNoExpert);
  taps.topk_weights = place(topk_weights, 0.0f);
  taps.intervened = place(intervened, uint8_t{0});
  taps.expert_norms = place(expert_norms, std::numeric_limits<float>::quiet_NaN());
  taps.shared_gate = as_is(shared_gate);
  taps.margin = as_is(margin);
  taps.router_logits = as_is(router_logits);
  taps.router_input = as_is(router_input);
  taps.shared_norm = as_is(shared_norm);
  taps.residual = as_is(residual);
}

}  // namespace moescope
