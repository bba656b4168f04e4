// Turns a caller's rules into a RoutePlan, refusing what cannot be meant. TypeScript has said it in nicer words before
// (src/router/interventions.ts); this is what keeps decide_route() safe whoever calls.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/hooks.h"
#include "core/router.h"

namespace moescope {

namespace {

using Kind = RouteRule::Kind;

bool acts_everywhere(const RouteScope& scope) {
  return scope.position_start <= 0 && scope.position_end == std::numeric_limits<int64_t>::max() && scope.origin < 0 &&
         scope.segments.empty();
}

void check_rule(const ModelConfig& config, const RouteRequest& request) {
  const RouteRule& rule = request.rule;
  const int num_experts = config.num_experts;
  for (uint16_t expert : rule.experts) {
    if (expert >= num_experts) {
      fail(ErrorCode::InvalidArgument, "Expected experts from 0 to ", num_experts - 1, ", got ", expert, ".");
    }
  }
  if (rule.kind == Kind::Bias) {
    if (rule.bias.size() != static_cast<size_t>(num_experts)) {
      fail(ErrorCode::InvalidArgument, "Expected a bias of ", num_experts, " numbers, got ", rule.bias.size(), ".");
    }
    for (float value : rule.bias) {
      if (!std::isfinite(value)) fail(ErrorCode::InvalidArgument, "Expected finite router biases, got ", value, ".");
    }
  }
  if (rule.kind == Kind::TopK && (rule.k < 1 || rule.k > num_experts)) {
    fail(ErrorCode::InvalidArgument, "Expected top-k from 1 to ", num_experts, ", got ", rule.k, ".");
  }
  if (rule.kind == Kind::Swap && (rule.from >= num_experts || rule.to >= num_experts)) {
    fail(ErrorCode::InvalidArgument, "Expected swapped experts from 0 to ", num_experts - 1, ", got ", rule.from,
         " and ", rule.to, ".");
  }
  if (rule.kind == Kind::Replay) {
    const size_t stride = static_cast<size_t>(std::max(rule.route_k, 0)) * std::max(rule.route_layers, 0);
    if (stride == 0 || static_cast<size_t>(rule.route_layers) != request.layers.size() || rule.route_k > num_experts ||
        rule.route_experts.size() % stride != 0 ||
        (!rule.route_weights.empty() && rule.route_weights.size() != rule.route_experts.size())) {
      fail(ErrorCode::InvalidArgument, "The replayed route's arrays do not fit its shape [positions, ",
           rule.route_layers, ", ", rule.route_k, "] for ", request.layers.size(), " layers.");
    }
    for (float weight : rule.route_weights) {
      if (!std::isfinite(weight))
        fail(ErrorCode::InvalidArgument, "Expected finite replayed weights, got ", weight, ".");
    }
    for (uint16_t expert : rule.route_experts) {
      if (expert >= num_experts && expert != kNoExpert) {
        fail(ErrorCode::InvalidArgument, "Expected replayed experts from 0 to ", num_experts - 1, ", got ", expert,
             ".");
      }
    }
  }
}

// Rules that act on every row meet on every row: deciding one shows whether they can be met. Rules with a scope are checked where
// they meet, row by row.
void check_layer(const ModelConfig& config, const std::vector<RouteRule>& rules) {
  RoutePosition where;
  for (const RouteRule& rule : rules) {
    if (!acts_everywhere(rule.scope)) return;
    if (rule.kind == Kind::Replay) where.position = rule.route_start;
  }
  const std::vector<float> z(config.num_experts);
  RouteDecision decision;
  decide_route(config, z.data(), &rules, where, decision);
}

// The part of a recorded route that belongs to one of its layers: (positions, route_k).
template <typename T>
std::vector<T> layer_of_route(const RouteRule& rule, const std::vector<T>& recorded, size_t route_layer) {
  const size_t k = static_cast<size_t>(rule.route_k), stride = k * static_cast<size_t>(rule.route_layers);
  std::vector<T> part;
  part.reserve(recorded.size() / static_cast<size_t>(rule.route_layers));
  for (size_t start = route_layer * k; start < recorded.size(); start += stride) {
    part.insert(part.end(), recorded.begin() + start, recorded.begin() + start + k);
  }
  return part;
}

RouteRule rule_of_layer(const RouteRule& source, size_t route_layer) {
  RouteRule rule = source;
  if (rule.kind != Kind::Replay) return rule;
  rule.route_experts = layer_of_route(source, source.route_experts, route_layer);
  rule.route_weights = layer_of_route(source, source.route_weights, route_layer);
  rule.route_layers = 1;
  return rule;
}

void check_hook(const ModelConfig& config, const HookRule& hook) {
  const bool is_in_layer = hook.point < HookPoint::FinalNorm;
  const bool is_in_moe =
      is_in_layer && hook.point != HookPoint::ResidualBefore && hook.point != HookPoint::ResidualAfter;
  if (is_in_layer == hook.layers.empty()) {
    fail(ErrorCode::InvalidArgument, "Expected ", is_in_layer ? "layers" : "no layers", " for a callback at ",
         hook_name(hook.point), ".");
  }
  for (int32_t layer : hook.layers) {
    if (layer < 0 || layer >= config.num_layers || (is_in_moe && !config.is_moe_layer[layer])) {
      fail(ErrorCode::InvalidArgument, "Layer ", layer, " has no hook point ", hook_name(hook.point), ".");
    }
  }
}

}  // namespace

RoutePlan make_route_plan(const ModelConfig& config, const std::vector<RouteRequest>& requests) {
  RoutePlan plan;
  plan.layers.resize(config.num_layers);
  plan.max_top_k = config.num_experts_per_token;
  for (const RouteRequest& request : requests) {
    if (request.hook) {
      check_hook(config, *request.hook);
      plan.hooks.push_back(*request.hook);
      continue;
    }
    check_rule(config, request);
    for (size_t index = 0; index < request.layers.size(); ++index) {
      const int32_t layer = request.layers[index];
      if (layer < 0 || layer >= config.num_layers || !config.is_moe_layer[layer]) {
        fail(ErrorCode::InvalidArgument, "Layer ", layer, " is not a mixture-of-experts layer of this model.");
      }
      plan.max_top_k = std::max({plan.max_top_k, request.rule.k, request.rule.route_k});
      plan.layers[layer].push_back(rule_of_layer(request.rule, index));
    }
  }
  for (int layer = 0; layer < config.num_layers; ++layer) {
    std::vector<RouteRule>& rules = plan.layers[layer];
    std::stable_sort(rules.begin(), rules.end(),
                     [](const RouteRule& a, const RouteRule& b) { return a.kind < b.kind; });
    if (!rules.empty()) check_layer(config, rules);
  }
  return plan;
}

}  // namespace moescope
