#include "core/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace moescope {

bool acts_at(const RouteScope& scope, const RoutePosition& where) {
  if (where.position < scope.position_start || where.position >= scope.position_end) return false;
  if (scope.origin >= 0 && scope.origin != where.origin) return false;
  return scope.segments.empty() ||
         std::find(scope.segments.begin(), scope.segments.end(), where.segment) != scope.segments.end();
}

namespace {

using Kind = RouteRule::Kind;

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

// What the rules that act on a row ask of its selection.
struct Selection {
  int k = 0;
  std::vector<uint16_t> forced;
  const RouteRule* replayed = nullptr;
  bool is_constrained = false;  // by a mask, force or top-k
};

// Step 2: z to z', and what step 3 needs to know.
Selection apply_to_logits(const ModelConfig& config, const std::vector<RouteRule>& rules, const RoutePosition& where,
                          RouteDecision& d) {
  Selection selection;
  selection.k = config.num_experts_per_token;
  for (const RouteRule& rule : rules) {
    if (!acts_at(rule.scope, where)) continue;
    d.intervened = true;
    selection.is_constrained |= rule.kind == Kind::Mask || rule.kind == Kind::Force || rule.kind == Kind::TopK;
    if (rule.kind == Kind::Bias) {
      for (int expert = 0; expert < config.num_experts; ++expert) d.logits[expert] += rule.bias[expert];
    } else if (rule.kind == Kind::Mask) {
      for (uint16_t expert : rule.experts) d.logits[expert] = -std::numeric_limits<float>::infinity();
    } else if (rule.kind == Kind::TopK) {
      selection.k = rule.k;
    } else if (rule.kind == Kind::Force) {
      for (uint16_t expert : rule.experts) {
        if (!contains(selection.forced, expert)) selection.forced.push_back(expert);
      }
    } else if (rule.kind == Kind::Replay) {
      selection.replayed = &rule;
    }
  }
  return selection;
}

void check_can_be_met(const Selection& selection, const RoutePosition& where, const RouteDecision& d) {
  if (selection.replayed != nullptr && selection.is_constrained) {
    fail(ErrorCode::InvalidArgument, "A replayed layer takes no mask, force or top-k, got one at position ",
         where.position, ".");
  }
  int left = 0;
  for (float logit : d.logits) left += logit != -std::numeric_limits<float>::infinity();
  if (left < selection.k) {
    fail(ErrorCode::InvalidArgument, "Position ", where.position, " needs ", selection.k, " experts, masks leave ",
         left, ".");
  }
  if (selection.forced.size() > static_cast<size_t>(selection.k)) {
    fail(ErrorCode::InvalidArgument, "Position ", where.position, " chooses ", selection.k, " experts, ",
         selection.forced.size(), " are forced.");
  }
  for (uint16_t expert : selection.forced) {
    if (d.logits[expert] == -std::numeric_limits<float>::infinity()) {
      fail(ErrorCode::InvalidArgument, "Expert ", expert, " is both masked and forced at position ", where.position,
           ".");
    }
  }
}

}  // namespace

void decide_route(const ModelConfig& config, const float* z, const std::vector<RouteRule>* rules,
                  const RoutePosition& where, RouteDecision& d) {
  static const std::vector<RouteRule> kNoRules;
  const std::vector<RouteRule>& active = rules == nullptr ? kNoRules : *rules;
  d.logits.assign(z, z + config.num_experts);
  d.zero_shared = false;
  d.intervened = false;
  const Selection selection = apply_to_logits(config, active, where, d);
  check_can_be_met(selection, where, d);

  select(selection.k, selection.forced, d);
  softmax(d);
  if (selection.replayed == nullptr) {
    gates_from_probs(config.norm_topk_prob, d);
  } else {
    replay(*selection.replayed, config.norm_topk_prob, where, d);
  }

  d.run = d.experts;
  for (const RouteRule& rule : active) {
    if (!acts_at(rule.scope, where)) continue;
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
