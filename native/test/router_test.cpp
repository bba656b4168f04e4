// The routing contract by hand-made cases: what is selected and with which gates. Logits are logarithms of small integers, so that
// softmax gives fractions that anybody can check.
#include "core/router.h"

#include <cmath>

#include "test/route_cases.h"

using namespace moescope;
using namespace moescope::check;

CASE("softmax runs over all experts, slots in descending order") {
  const RouteDecision d = decide(config_of(5, 2), logs({3, 1, 8, 2, 6}));
  check_experts("selected", d.experts, {2, 4});
  check_experts("run", d.run, {2, 4});
  check_weights("gates", d.weights, {8 / 20.0, 6 / 20.0});
  CHECK_NEAR(d.margin, std::log(6.0 / 3.0), 1e-6);
  CHECK(!d.intervened);
  CHECK(!d.zero_shared);
}

CASE("gates are divided by their sum only where the config says so") {
  const RouteDecision d = decide(config_of(5, 2, true), logs({3, 1, 8, 2, 6}));
  check_weights("gates", d.weights, {8 / 14.0, 6 / 14.0});
}

CASE("ties go to the lower index, at the border of the selection too") {
  const RouteDecision d = decide(config_of(6, 3), {1, 2, 2, 1, 2, 2});
  check_experts("selected", d.experts, {1, 2, 4});
  CHECK_EQ(d.margin, 0.0f);
  check_experts("all equal", decide(config_of(6, 4), std::vector<float>(6, 0.5f)).experts, {0, 1, 2, 3});
  check_experts("signs of zero are equal", decide(config_of(4, 2), {0.0f, -0.0f, 0.0f, -0.0f}).experts, {0, 1});
}

CASE("8 of 64, every logit once, in descending order; gates sum to the selected mass") {
  const ModelConfig config = config_of(64, 8), normalised = config_of(64, 8, true);
  Random random(31);
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<float> z;
    // A coarse grid, so that ties are common.
    for (int expert = 0; expert < 64; ++expert) z.push_back(static_cast<float>(random.below(24)) / 4);
    const RouteDecision d = decide(config, z), n = decide(normalised, z);
    CHECK_EQ(d.experts.size(), 8u);
    double all = 0, selected = 0, sum = 0, normalised_sum = 0;
    for (float logit : z) all += std::exp(static_cast<double>(logit));
    for (size_t slot = 0; slot < 8; ++slot) {
      const uint16_t expert = d.experts[slot];
      selected += std::exp(static_cast<double>(z[expert]));
      sum += d.weights[slot];
      normalised_sum += n.weights[slot];
      // Everybody who comes before in (z descending, index ascending) order has an earlier slot.
      size_t before = 0;
      for (uint16_t other = 0; other < 64; ++other)
        before += z[other] > z[expert] || (z[other] == z[expert] && other < expert);
      CHECK_EQ(before, slot);
    }
    CHECK_NEAR(sum, selected / all, 8 * 0x1p-24);
    CHECK_NEAR(normalised_sum, 1, 8 * 0x1p-24);
    CHECK(sum < 1);
    CHECK(n.experts == d.experts);
  }
}

CASE("all experts selected: the margin is infinite, the gates sum to 1") {
  const RouteDecision d = decide(config_of(3, 3), logs({1, 3, 4}));
  CHECK_EQ(d.margin, kInfinity);
  check_weights("gates", d.weights, {4 / 8.0, 3 / 8.0, 1 / 8.0});
}

CASE("large logits do not overflow") {
  const RouteDecision d = decide(config_of(3, 2), {20000.0f, 20000.0f, -30000.0f});
  check_weights("gates", d.weights, {0.5, 0.5});
}

CASE("a bias moves the selection and the gates, the margin is that of z'") {
  const ModelConfig config = config_of(4, 2);
  const float log8 = std::log(8.0f);
  const RouteDecision d = decide(config, logs({4, 3, 2, 1}), {bias_of({0, 0, 0, log8})});
  check_experts("selected", d.experts, {3, 0});
  check_weights("gates", d.weights, {8 / 17.0, 4 / 17.0});
  CHECK_NEAR(d.margin, std::log(4.0 / 3.0), 1e-6);
  CHECK(d.intervened);
  const RouteDecision twice =
      decide(config, logs({4, 3, 2, 1}), {bias_of({0, 0, 0, log8 / 2}), bias_of({0, 0, 0, log8 / 2})});
  check_experts("biases add up", twice.experts, {3, 0});
}

CASE("masked experts leave their mass to the others") {
  const RouteDecision d = decide(config_of(4, 2), logs({4, 3, 2, 1}), {rule_of(Kind::Mask, {0, 2})});
  check_experts("selected", d.experts, {1, 3});
  check_weights("gates", d.weights, {3 / 4.0, 1 / 4.0});
  CHECK_EQ(d.margin, kInfinity);
}

CASE("top-k replaces k") {
  const ModelConfig config = config_of(4, 2, true);
  check_weights("one", decide(config, logs({4, 3, 2, 1}), {top_k_of(1)}).weights, {1});
  const RouteDecision all = decide(config, logs({1, 2, 3, 4}), {top_k_of(4)});
  check_experts("all", all.experts, {3, 2, 1, 0});
  check_weights("all", all.weights, {0.4, 0.3, 0.2, 0.1});
  CHECK_EQ(plan_of(config, {top_k_of(4)}).max_top_k, 4);
  CHECK_EQ(plan_of(config, {top_k_of(1)}).max_top_k, 2);
}

CASE("forced experts take slots from the weakest, slots keep the order of z'") {
  const RouteDecision d = decide(config_of(5, 3), logs({5, 1, 4, 2, 3}), {rule_of(Kind::Force, {1, 1})});
  check_experts("selected", d.experts, {0, 2, 1});
  check_weights("gates", d.weights, {5 / 15.0, 4 / 15.0, 1 / 15.0});
  const RouteDecision chosen = decide(config_of(5, 2), logs({5, 1, 4, 2, 3}), {rule_of(Kind::Force, {2, 0})});
  check_experts("those that win anyway", chosen.experts, {0, 2});
}

CASE("bias, mask, top-k and force act in one layer, in the contract's order") {
  // z' = log {6, 2, -, 1, 12, 3}: expert 2 is masked after its bias; 3 is forced, so two of the others win.
  const float log4 = std::log(4.0f);
  const RouteDecision d =
      decide(config_of(6, 2), logs({6, 2, 5, 1, 3, 3}),
             {rule_of(Kind::Force, {3}), top_k_of(3), rule_of(Kind::Mask, {2}), bias_of({0, 0, log4, 0, log4, 0})});
  check_experts("selected", d.experts, {4, 0, 3});
  check_weights("gates", d.weights, {12 / 24.0, 6 / 24.0, 1 / 24.0});
}

CASE("zero removes a gate and leaves the others") {
  RouteRule zero = rule_of(Kind::Zero, {2, 0});
  zero.shared = true;
  const RouteDecision d = decide(config_of(4, 3, true), logs({1, 2, 3, 4}), {zero});
  check_experts("selected", d.experts, {3, 2, 1});
  check_weights("gates", d.weights, {4 / 9.0, 0, 2 / 9.0});
  CHECK(d.zero_shared);
  CHECK(!decide(config_of(4, 3), logs({1, 2, 3, 4}), {rule_of(Kind::Zero, {2})}).zero_shared);
}

CASE("swaps go by the selected ids and do not see one another") {
  const ModelConfig config = config_of(5, 3);
  const std::vector<float> z = logs({5, 4, 3, 2, 1});
  const RouteDecision cycle = decide(config, z, {swap_of(0, 1), swap_of(1, 2), swap_of(2, 0)});
  check_experts("selected", cycle.experts, {0, 1, 2});
  check_experts("run", cycle.run, {1, 2, 0});
  check_weights("gates", cycle.weights, {5 / 15.0, 4 / 15.0, 3 / 15.0});
  check_experts("twice the same", decide(config, z, {swap_of(0, 1)}).run, {1, 1, 2});
  check_experts("one that was not selected", decide(config, z, {swap_of(4, 0)}).run, {0, 1, 2});
}

CASE("zero goes by the selected id, not by what a swap puts in") {
  const RouteDecision d = decide(config_of(4, 2), logs({4, 3, 2, 1}), {swap_of(0, 1), rule_of(Kind::Zero, {1})});
  check_experts("run", d.run, {1, 1});
  check_weights("gates", d.weights, {0.4, 0});
}

CASE("replay takes ids, and gates of this pass or recorded ones") {
  const ModelConfig config = config_of(4, 2), normalised = config_of(4, 2, true);
  const std::vector<float> z = logs({4, 3, 2, 1});
  RouteRule ids = replay_of({9 % 4, 0, 3, 2, 2, 0}, 2);  // three positions
  ids.route_start = 5;
  const RouteDecision d = decide(config, z, {ids}, {6, 0, 0});
  check_experts("recorded order stays", d.experts, {3, 2});
  check_weights("gates of this pass", d.weights, {0.1, 0.2});
  check_weights("renormalised", decide(normalised, z, {ids}, {6, 0, 0}).weights, {1 / 3.0, 2 / 3.0});
  check_weights("after a bias", decide(config, z, {ids, bias_of({0, 0, 0, std::log(11.0f)})}, {6, 0, 0}).weights,
                {11 / 20.0, 2 / 20.0});

  const RouteRule gates = replay_of({3, 2}, 2, {0.75f, 0.5f});
  check_weights("recorded", decide(normalised, z, {gates}).weights, {0.75, 0.5});
  const RouteDecision changed = decide(config, z, {gates, rule_of(Kind::Zero, {3}), swap_of(2, 0)});
  check_weights("zero after replay", changed.weights, {0, 0.5});
  check_experts("swap after replay", changed.run, {3, 0});

  // A slot that was empty when it was recorded stays empty, and takes its weight along.
  const RouteDecision gap = decide(config, z, {replay_of({kNoExpert, 1, 3}, 3, {9, 0.25f, 0.125f})});
  check_experts("gap", gap.experts, {1, 3});
  check_weights("gap", gap.weights, {0.25, 0.125});
  check_experts("nothing recorded", decide(normalised, z, {replay_of({kNoExpert, kNoExpert}, 2)}).experts, {});
}

CASE("scopes: positions are half open, origin and segment must match") {
  const ModelConfig config = config_of(3, 1);
  const auto intervened = [&](const RouteScope& scope, RoutePosition where) {
    RouteRule rule = rule_of(Kind::Mask, {0});
    rule.scope = scope;
    const RouteDecision d = decide(config, logs({3, 2, 1}), {rule}, where);
    CHECK_EQ(d.experts[0] == 1, d.intervened);
    return d.intervened;
  };
  RouteScope positions;
  positions.position_start = 2;
  positions.position_end = 4;
  CHECK(!intervened(positions, {1, 0, 0}));
  CHECK(intervened(positions, {2, 0, 0}));
  CHECK(intervened(positions, {3, 1, 7}));
  CHECK(!intervened(positions, {4, 0, 0}));
  RouteScope generated;
  generated.origin = 1;
  CHECK(!intervened(generated, {0, 0, 0}));
  CHECK(intervened(generated, {0, 1, 0}));
  RouteScope prompt;
  prompt.origin = 0;
  CHECK(intervened(prompt, {0, 0, 0}));
  CHECK(!intervened(prompt, {0, 1, 0}));
  RouteScope segments;
  segments.segments = {4, -2};
  CHECK(!intervened(segments, {0, 0, 0}));
  CHECK(intervened(segments, {0, 0, -2}));
  segments.origin = 1;
  CHECK(!intervened(segments, {0, 0, 4}));
  CHECK(intervened(segments, {0, 1, 4}));
}

CASE("zero and swap obey their scopes too") {
  const ModelConfig config = config_of(3, 2);
  RouteRule zero = rule_of(Kind::Zero, {0}), swapped = swap_of(1, 2);
  zero.scope.position_start = swapped.scope.position_start = 9;
  const RouteDecision before = decide(config, logs({3, 2, 1}), {zero, swapped}, {8, 0, 0});
  check_weights("before", before.weights, {3 / 6.0, 2 / 6.0});
  check_experts("before", before.run, {0, 1});
  const RouteDecision after = decide(config, logs({3, 2, 1}), {zero, swapped}, {9, 0, 0});
  check_weights("after", after.weights, {0, 2 / 6.0});
  check_experts("after", after.run, {0, 2});
}

CASE("a decision does not remember the row before") {
  const ModelConfig config = config_of(4, 2);
  RouteRule zero = rule_of(Kind::Zero, {0});
  zero.shared = true;
  const RoutePlan plan = plan_of(config, {zero, top_k_of(4)});
  const std::vector<float> z = logs({4, 3, 2, 1});
  RouteDecision reused, fresh;
  decide_route(config, z.data(), &plan.layers[0], {}, reused);
  decide_route(config, z.data(), nullptr, {}, reused);
  decide_route(config, z.data(), nullptr, {}, fresh);
  CHECK(reused.experts == fresh.experts);
  CHECK(reused.weights == fresh.weights);
  CHECK(reused.run == fresh.run);
  CHECK(!reused.zero_shared && !reused.intervened);
}
