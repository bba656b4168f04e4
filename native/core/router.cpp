#include "core/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace moescope {

namespace {

using Kind = RouteRule::Kind;

bool applies(const RouteScope& scope, const RoutePosition& where) {
  if (where.position < scope.position_start || where.position >= scope.position_end) return false;
  if (scope.origin >= 0 && scope.origin != where.origin) return false;
  return scope.segments.empty() ||
         std::find(scope.segments.begin(), scope.segments.end(), where.segment) != scope.segments.end();
}

bool contains(const std::vector<uint16_t>& experts, uint16_t expert) {
  return std::find(experts.begin(), experts.end(), expert) != experts.end();
}

// Descending z', ties to the lower index. NaN cannot occur: the caller has checked z, and biases are finite.
void order_by_logit(RouteDecision& d) {
  d.order.resize(d.logits.size());
  std::iota(d.order.begin(), d.order.end(), uint16_t{0});
  std::stable_sort(d.order.begin(), d.order.end(), [&](uint16_t a, uint16_t b) { return d.logits[a] > d.logits[b]; });
}

// Forced experts first, then the largest; k in all. Slots keep the order of z'.
void select(int k, const std::vector<uint16_t>& forced, RouteDecision& d) {
  order_by_logit(d);
  d.experts.clear();
  int free_slots = k - static_cast<int>(forced.size());
  for (uint16_t expert : d.order) {
    if (contains(forced, expert)) {
      d.experts.push_back(expert);
    } else if (free_slots > 0) {
      d.experts.push_back(expert);
      --free_slots;
    }
  }
  const size_t num_experts = d.order.size();
  const size_t taken = static_cast<size_t>(k);
  d.margin = taken < num_experts ? d.logits[d.order[taken - 1]] - d.logits[d.order[taken]]
                                 : std::numeric_limits<float>::infinity();
}

void softmax(RouteDecision& d) {
  double largest = -std::numeric_limits<double>::infinity();
  for (float logit : d.logits) largest = std::max(largest, static_cast<double>(logit));
  double sum = 0;
  d.probs.resize(d.logits.size());
  for (size_t expert = 0; expert < d.logits.size(); ++expert) {
    d.probs[expert] = std::exp(d.logits[expert] - largest);
    sum += d.probs[expert];
  }
  for (double& p : d.probs) p /= sum;
}

void gates_from_probs(bool normalise, RouteDecision& d) {
  double sum = 1;
  if (normalise) {
    sum = 0;
    for (uint16_t expert : d.experts) sum += d.probs[expert];
  }
  d.weights.clear();
  for (uint16_t expert : d.experts) d.weights.push_back(static_cast<float>(d.probs[expert] / sum));
}

void replay(const RouteRule& rule, bool normalise, const RoutePosition& where, RouteDecision& d) {
  const int64_t row = where.position - rule.route_start;
  const int64_t recorded = static_cast<int64_t>(rule.route_experts.size()) / rule.route_k;
  if (row < 0 || row >= recorded) {
    fail(ErrorCode::InvalidArgument, "The replayed route covers positions ", rule.route_start, " to ",
         rule.route_start + recorded - 1, ", the model asked for position ", where.position, ".");
  }
  const int64_t start = row * rule.route_k;
  d.experts.clear();
  std::vector<float> recorded_weights;
  for (int slot = 0; slot < rule.route_k; ++slot) {
    const uint16_t expert = rule.route_experts[start + slot];
    if (expert == kNoExpert) continue;
    d.experts.push_back(expert);
    if (!rule.route_weights.empty()) recorded_weights.push_back(rule.route_weights[start + slot]);
  }
  gates_from_probs(normalise, d);
  if (!rule.route_weights.empty()) d.weights = std::move(recorded_weights);
}

}  // namespace

void decide_route(const ModelConfig& config, const float* z, const std::vector<RouteRule>* rules,
                  const RoutePosition& where, RouteDecision& d) {
  d.logits.assign(z, z + config.num_experts);
  d.zero_shared = false;
  d.intervened = false;

  int k = config.num_experts_per_token;
  std::vector<uint16_t> forced;
  const RouteRule* replayed = nullptr;
  const size_t num_rules = rules == nullptr ? 0 : rules->size();
  for (size_t index = 0; index < num_rules; ++index) {
    const RouteRule& rule = (*rules)[index];
    if (!applies(rule.scope, where)) continue;
    d.intervened = true;
    if (rule.kind == Kind::Bias) {
      for (int expert = 0; expert < config.num_experts; ++expert) d.logits[expert] += rule.bias[expert];
    } else if (rule.kind == Kind::Mask) {
      for (uint16_t expert : rule.experts) d.logits[expert] = -std::numeric_limits<float>::infinity();
    } else if (rule.kind == Kind::TopK) {
      k = rule.k;
    } else if (rule.kind == Kind::Force) {
      for (uint16_t expert : rule.experts) {
        if (!contains(forced, expert)) forced.push_back(expert);
      }
    } else if (rule.kind == Kind::Replay) {
      replayed = &rule;
    }
  }

  select(k, forced, d);
  softmax(d);
  if (replayed == nullptr) {
    gates_from_probs(config.norm_topk_prob, d);
  } else {
    replay(*replayed, config.norm_topk_prob, where, d);
  }

  d.run = d.experts;
  for (size_t index = 0; index < num_rules; ++index) {
    const RouteRule& rule = (*rules)[index];
    if (!applies(rule.scope, where)) continue;
    if (rule.kind == Kind::Zero) {
      d.zero_shared = d.zero_shared || rule.shared;
      for (size_t slot = 0; slot < d.experts.size(); ++slot) {
        if (contains(rule.experts, d.experts[slot])) d.weights[slot] = 0;
      }
    } else if (rule.kind == Kind::Swap) {
      for (size_t slot = 0; slot < d.experts.size(); ++slot) {
        if (d.experts[slot] == rule.from) d.run[slot] = rule.to;
      }
    }
  }
}

}  // namespace moescope
