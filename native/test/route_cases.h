// Rules, plans and decisions of the routing contract in few words, for router_test.cpp and route_plan_test.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "core/router.h"
#include "test/check.h"

namespace moescope::check {

using Kind = RouteRule::Kind;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline ModelConfig config_of(int num_experts, int k, bool norm_topk_prob = false) {
  ModelConfig config;
  config.num_layers = 3;
  config.is_moe_layer = {1, 0, 1};
  config.num_experts = num_experts;
  config.num_experts_per_token = k;
  config.norm_topk_prob = norm_topk_prob;
  return config;
}

inline std::vector<float> logs(const std::vector<int>& weights) {
  std::vector<float> z;
  for (int weight : weights) z.push_back(static_cast<float>(std::log(weight)));
  return z;
}

inline RouteRule rule_of(Kind kind, std::vector<uint16_t> experts = {}) {
  RouteRule rule;
  rule.kind = kind;
  rule.experts = std::move(experts);
  return rule;
}

inline RouteRule swap_of(uint16_t from, uint16_t to) {
  RouteRule rule = rule_of(Kind::Swap);
  rule.from = from;
  rule.to = to;
  return rule;
}

inline RouteRule top_k_of(int k) {
  RouteRule rule = rule_of(Kind::TopK);
  rule.k = k;
  return rule;
}

inline RouteRule bias_of(std::vector<float> bias) {
  RouteRule rule = rule_of(Kind::Bias);
  rule.bias = std::move(bias);
  return rule;
}

inline RouteRule replay_of(std::vector<uint16_t> experts, int k, std::vector<float> weights = {}) {
  RouteRule rule = rule_of(Kind::Replay);
  rule.route_experts = std::move(experts);
  rule.route_weights = std::move(weights);
  rule.route_k = k;
  rule.route_layers = 1;
  return rule;
}

inline RoutePlan plan_of(const ModelConfig& config, const std::vector<RouteRule>& rules, int32_t layer = 0) {
  std::vector<RouteRequest> requests;
  for (const RouteRule& rule : rules) requests.push_back({rule, {layer}});
  return make_route_plan(config, requests);
}

inline RouteDecision decide(const ModelConfig& config, const std::vector<float>& z,
                            const std::vector<RouteRule>& rules = {}, RoutePosition where = {}) {
  const RoutePlan plan = plan_of(config, rules);
  RouteDecision decision;
  decide_route(config, z.data(), &plan.layers[0], where, decision);
  return decision;
}

inline void check_experts(const char* what, const std::vector<uint16_t>& actual,
                          const std::vector<uint16_t>& expected) {
  std::ostringstream text;
  for (uint16_t expert : actual) text << ' ' << expert;
  if (actual != expected) report(__FILE__, __LINE__, what, ": got", text.str());
}

// A gate is a double rounded to fp32, from logits that are fp32: three roundings.
inline void check_weights(const char* what, const std::vector<float>& actual, const std::vector<double>& expected) {
  CHECK_EQ(actual.size(), expected.size());
  for (size_t slot = 0; slot < expected.size() && slot < actual.size(); ++slot) {
    if (!(std::abs(actual[slot] - expected[slot]) <= 0x1p-22 * std::max(expected[slot], 0.01))) {
      report(__FILE__, __LINE__, what, ": slot ", slot, " expected ", expected[slot], ", got ", actual[slot]);
    }
  }
}

}  // namespace moescope::check
