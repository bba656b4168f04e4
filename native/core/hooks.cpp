#include "core/hooks.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace moescope {

namespace {

constexpr std::array<const char*, 10> kNames = {"residual.before", "router.input",  "router.logits", "shared.gate",
                                                "expert.output",   "shared.output", "moe.output",    "residual.after",
                                                "final.norm",      "output.logits"};

bool names(const HookRule& rule, HookPoint point, int layer) {
  return rule.point == point &&
         (layer < 0 || std::find(rule.layers.begin(), rule.layers.end(), layer) != rule.layers.end());
}

// -inf takes an expert or a token out; nothing else that is not finite can be computed with.
bool is_usable(float value, HookPoint point) {
  const bool is_logit = point == HookPoint::RouterLogits || point == HookPoint::OutputLogits;
  return std::isfinite(value) || (is_logit && value == -std::numeric_limits<float>::infinity());
}

std::string place_of(const HookCall& call) {
  return hook_name(call.point) + (call.layer < 0 ? std::string() : " of layer " + std::to_string(call.layer));
}

}  // namespace

const char* hook_name(HookPoint point) { return kNames[static_cast<size_t>(point)]; }

std::optional<HookPoint> parse_hook_name(const std::string& name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<HookPoint>(found - kNames.begin());
}

bool HookRunner::wants(HookPoint point, int layer) const {
  return std::any_of(batch_->runs.begin(), batch_->runs.end(), [&](const BatchRun& run) {
    const RoutePlan* plan = batch_->rows[run.first_row].plan;
    return plan != nullptr && std::any_of(plan->hooks.begin(), plan->hooks.end(),
                                          [&](const HookRule& rule) { return names(rule, point, layer); });
  });
}

void HookRunner::run(HookPoint point, int layer, int expert, const int64_t* rows, int64_t num_rows, int width,
                     float* values, const Taps& taps) {
  if (!wants(point, layer)) return;
  for (const BatchRun& run : batch_->runs) {
    const RoutePlan* plan = batch_->rows[run.first_row].plan;
    if (plan == nullptr) continue;
    for (const HookRule& rule : plan->hooks) {
      if (!names(rule, point, layer) || has_failed(run.sequence)) continue;
      std::vector<int64_t> value_rows;
      for (int64_t value_row = 0; value_row < num_rows; ++value_row) {
        const BatchRow& row = batch_->rows[rows == nullptr ? value_row : rows[value_row]];
        if (row.sequence == run.sequence && acts_at(rule.scope, row.where)) value_rows.push_back(value_row);
      }
      if (!value_rows.empty()) call(rule, layer, expert, run.sequence, value_rows, rows, width, values, taps);
    }
  }
}

void HookRunner::call(const HookRule& rule, int layer, int expert, int sequence, const std::vector<int64_t>& value_rows,
                      const int64_t* rows, int width, float* values, const Taps& taps) {
  HookCall call;
  call.callback = rule.callback;
  call.point = rule.point;
  call.layer = layer;
  call.expert = expert;
  call.sequence = sequence;
  call.width = width;
  const auto row_of = [&](int64_t value_row) -> const BatchRow& {
    return batch_->rows[rows == nullptr ? value_row : rows[value_row]];
  };
  for (int64_t value_row : value_rows) {
    const BatchRow& row = row_of(value_row);
    call.positions.push_back(static_cast<int32_t>(row.where.position));
    call.tokens.push_back(row.token);
    call.origins.push_back(row.where.origin);
    call.segments.push_back(row.where.segment);
    call.values.insert(call.values.end(), values + value_row * width, values + (value_row + 1) * width);
  }
  const HookHost::Outcome outcome = host_.call(call);
  if (outcome == HookHost::Outcome::Failed) fail_sequence(sequence, std::nullopt);
  if (outcome != HookHost::Outcome::Replaced) return;
  for (size_t index = 0; index < call.values.size(); ++index) {
    if (is_usable(call.values[index], call.point)) continue;
    std::ostringstream message;
    message << "Expected finite numbers from the callback at " << place_of(call) << ", got " << call.values[index]
            << " for position " << call.positions[index / width] << ".";
    return fail_sequence(sequence, Error(ErrorCode::InvalidArgument, message.str()));
  }
  const int moe_slot = layer >= 0 && taps.intervened != nullptr ? taps.layer_slots[layer] : -1;
  for (size_t index = 0; index < value_rows.size(); ++index) {
    std::copy_n(&call.values[index * width], width, values + value_rows[index] * width);
    const int64_t trace_row = row_of(value_rows[index]).trace_row;
    if (moe_slot >= 0 && trace_row >= 0) taps.intervened[trace_row * taps.num_layers + moe_slot] = 1;
  }
}

bool HookRunner::has_failed(int sequence) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(failures_.begin(), failures_.end(),
                     [&](const HookFailure& failure) { return failure.sequence == sequence; });
}

void HookRunner::fail_sequence(int sequence, std::optional<Error> error) {
  if (has_failed(sequence)) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  failures_.push_back({sequence, std::move(error)});
}

}  // namespace moescope
