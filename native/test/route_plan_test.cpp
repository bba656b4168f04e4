// Which plans are refused, and how a route that was recorded for several layers and positions is taken apart.
#include <cmath>

#include "core/router.h"
#include "test/route_cases.h"

using namespace moescope;
using namespace moescope::check;

CASE("replay ends where its route does") {
  const ModelConfig config = config_of(4, 2);
  RouteRule ids = replay_of({1, 0, 3, 2}, 2);
  ids.route_start = 5;
  CHECK_FAILS(decide(config, logs({4, 3, 2, 1}), {ids}, {4, 0, 0}), InvalidArgument);
  CHECK_FAILS(decide(config, logs({4, 3, 2, 1}), {ids}, {7, 0, 0}), InvalidArgument);
  ids.scope.position_start = 5;
  ids.scope.position_end = 7;
  check_experts("outside its scope", decide(config, logs({4, 3, 2, 1}), {ids}, {7, 0, 0}).experts, {0, 1});
}

CASE("a replayed route of several layers gives each layer its own part") {
  const ModelConfig config = config_of(4, 2);
  RouteRule rule = replay_of({0, 1, 2, 3, /* position 1 */ 3, 2, 1, 0}, 2, {1, 2, 3, 4, 5, 6, 7, 8});
  rule.route_layers = 2;
  const RoutePlan plan = make_route_plan(config, {{rule, {2, 0}}});
  const std::vector<float> z = logs({4, 3, 2, 1});
  RouteDecision d;
  decide_route(config, z.data(), &plan.layers[2], {1, 0, 0}, d);
  check_experts("first layer of the rule", d.experts, {3, 2});
  check_weights("first layer of the rule", d.weights, {5, 6});
  decide_route(config, z.data(), &plan.layers[0], {0, 0, 0}, d);
  check_experts("second layer of the rule", d.experts, {2, 3});
  check_weights("second layer of the rule", d.weights, {3, 4});
}

CASE("plans that cannot be met are refused") {
  const ModelConfig config = config_of(4, 2);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {4})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0})}, 3), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0})}, -1), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0})}, 1), InvalidArgument);  // a dense layer
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0, 1, 2})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0, 1}), rule_of(Kind::Mask, {2})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Mask, {0, 1}), top_k_of(3)}), InvalidArgument);
  plan_of(config, {rule_of(Kind::Mask, {0, 1, 2}), top_k_of(1)});  // one is left, and one is asked for
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Force, {0, 1, 2})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Force, {0, 1}), top_k_of(1)}), InvalidArgument);
  plan_of(config, {rule_of(Kind::Force, {0, 1, 2}), top_k_of(3)});
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Force, {0}), rule_of(Kind::Mask, {0})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Force, {4})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {rule_of(Kind::Zero, {4})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {top_k_of(0)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {top_k_of(5)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {swap_of(4, 0)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {swap_of(0, 4)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {bias_of({0, 0, 0})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {bias_of({0, 0, 0, std::nanf("")})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {bias_of({0, kInfinity, 0, 0})}), InvalidArgument);
}

CASE("rules with a scope are refused on the rows where they meet, and there alone") {
  const ModelConfig config = config_of(4, 2);
  const std::vector<float> z = logs({4, 3, 2, 1});
  const auto from = [](RouteRule rule, int64_t start, int64_t end = 100) {
    rule.scope.position_start = start;
    rule.scope.position_end = end;
    return rule;
  };
  const std::vector<std::vector<RouteRule>> meeting_at_5 = {
      {rule_of(Kind::Force, {0, 1}), from(top_k_of(1), 5)},
      {rule_of(Kind::Mask, {0, 1}), from(top_k_of(3), 5)},
      {from(rule_of(Kind::Mask, {0, 1}), 0, 6), from(rule_of(Kind::Mask, {2}), 5, 9)},
      {from(rule_of(Kind::Mask, {2}), 0, 6), from(rule_of(Kind::Force, {2}), 5, 9)},
      {from(replay_of({0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, 2), 0, 6), from(rule_of(Kind::Mask, {2}), 5, 9)},
  };
  for (const std::vector<RouteRule>& rules : meeting_at_5) {
    plan_of(config, rules);
    decide(config, z, rules, {4, 0, 0});
    CHECK_FAILS(decide(config, z, rules, {5, 0, 0}), InvalidArgument);
    decide(config, z, {from(rules[0], 0, 5), rules[1]}, {5, 0, 0});
  }
}

CASE("routes that do not fit their shape are refused") {
  const ModelConfig config = config_of(4, 2);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1, 2}, 2)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 4}, 2)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1}, 2, {1})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1}, 2, {1, std::nanf("")})}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1}, 0)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1}, -2)}), InvalidArgument);
  CHECK_FAILS(plan_of(config, {replay_of({0, 1, 2, 3, 0}, 5)}), InvalidArgument);
  // Recorded for one layer, asked for in two: the second would read past the end.
  CHECK_FAILS(make_route_plan(config, {{replay_of({0, 1}, 2), {0, 2}}}), InvalidArgument);
  for (const RouteRule& rule : {rule_of(Kind::Mask, {0}), rule_of(Kind::Force, {0}), top_k_of(1)}) {
    CHECK_FAILS(plan_of(config, {replay_of({0, 1}, 2), rule}), InvalidArgument);
  }
  make_route_plan(config,
                  {{replay_of({0, 1}, 2), {0}}, {rule_of(Kind::Mask, {0}), {2}}});  // another layer may be masked
}
