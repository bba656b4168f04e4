// cuda/route.cu and cuda/score.cu: the decision has the bits of decide_route() in core/router.h for every kind of rule; the logits
// meet a float64 sum.
#include "cuda/route.h"

#include <cmath>
#include <cstring>

#include "block.h"
#include "device_values.h"
#include "test/route_cases.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct Routed {
  std::vector<uint16_t> run;
  std::vector<float> weights, shared_gate, topk_weights, margin, traced_gate, traced_logits;
  std::vector<uint16_t> topk_experts;
  std::vector<uint8_t> intervened;
  std::vector<uint32_t> counts;
  std::vector<int32_t> status;
};

constexpr int kLayer = 2;  // of config_of(): the second MoE layer
constexpr int kMoeLayer = 1, kNumMoeLayers = 2;

// Rows with positions 0, 1, ..., the plans by row (null: none); each row is recorded at its own place, in reverse.
Routed route(const ModelConfig& config, const std::vector<float>& z, const std::vector<const RoutePlan*>& plans,
             const std::vector<RoutePosition>& where, int width, const std::vector<float>& effective) {
  const int rows = static_cast<int>(plans.size());
  cuda::Stream stream;
  std::vector<const RoutePlan*> used;
  std::vector<cuda::RouteRow> device_rows(rows);
  for (int row = 0; row < rows; ++row) {
    device_rows[row] = {.position = where[row].position, .origin = where[row].origin, .segment = where[row].segment};
    device_rows[row].trace_row = rows - 1 - row;
    device_rows[row].count_slot = row % 3 - 1;
    if (plans[row] == nullptr) continue;
    device_rows[row].plan = static_cast<int>(used.size());
    used.push_back(plans[row]);
  }
  const cuda::RoutePlans on_card(stream, config, used);
  const auto room = [&](size_t bytes) { return cuda::DeviceBuffer(bytes); };
  const int experts = config.num_experts;
  const cuda::DeviceBuffer raw = on_device(stream, z), changed = on_device(stream, effective);
  const cuda::DeviceBuffer row_buffer = on_device(stream, device_rows);
  const cuda::DeviceBuffer gates = on_device(stream, std::vector<float>(rows, 0.25f));
  const cuda::DeviceBuffer counts = on_device(stream, std::vector<uint32_t>(2 * kNumMoeLayers * experts, 0));
  const cuda::DeviceBuffer run = room(rows * width * 2), weights = room(rows * width * 4), status = room(rows * 4);
  const cuda::DeviceBuffer layer_slots = on_device(stream, std::vector<int32_t>{-1, -1, 0});
  const cuda::DeviceBuffer ids = room(rows * width * 2), topk_weights = room(rows * width * 4);
  const cuda::DeviceBuffer traced_gate = room(rows * 4), margin = room(rows * 4), logits = room(rows * experts * 4);
  const cuda::DeviceBuffer intervened = on_device(stream, std::vector<uint8_t>(rows, 0));
  const cuda::DeviceBuffer taps =
      on_device(stream, std::vector<cuda::RouteTaps>{{.layer_slots = layer_slots.as<const int32_t>(),
                                                      .topk_experts = ids.as<uint16_t>(),
                                                      .topk_weights = topk_weights.as<float>(),
                                                      .shared_gate = traced_gate.as<float>(),
                                                      .margin = margin.as<float>(),
                                                      .intervened = intervened.as<uint8_t>(),
                                                      .router_logits = logits.as<float>(),
                                                      .num_layers = 1,
                                                      .top_k = width}});
  cuda::decide(stream, rows,
               {.raw_logits = raw.as<const float>(),
                .logits = changed.as<const float>(),
                .rows = row_buffer.as<const cuda::RouteRow>(),
                .taps = taps.as<const cuda::RouteTaps>(),
                .tables = on_card.tables(),
                .counts = counts.as<uint32_t>(),
                .run = run.as<uint16_t>(),
                .weights = weights.as<float>(),
                .shared_gate = gates.as<float>(),
                .status = status.as<int32_t>(),
                .num_experts = experts,
                .k = config.num_experts_per_token,
                .width = width,
                .layer = kLayer,
                .moe_layer = kMoeLayer,
                .num_moe_layers = kNumMoeLayers,
                .norm_topk_prob = config.norm_topk_prob});
  return {.run = on_host<uint16_t>(stream, run),
          .weights = on_host<float>(stream, weights),
          .shared_gate = on_host<float>(stream, gates),
          .topk_weights = on_host<float>(stream, topk_weights),
          .margin = on_host<float>(stream, margin),
          .traced_gate = on_host<float>(stream, traced_gate),
          .traced_logits = on_host<float>(stream, logits),
          .topk_experts = on_host<uint16_t>(stream, ids),
          .intervened = on_host<uint8_t>(stream, intervened),
          .counts = on_host<uint32_t>(stream, counts),
          .status = on_host<int32_t>(stream, status)};
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

// Every row against decide_route() of the CPU.
void check_rows(const char* what, const ModelConfig& config, const std::vector<float>& z,
                const std::vector<const RoutePlan*>& plans, const std::vector<RoutePosition>& where, int width,
                const std::vector<float>& effective) {
  const int rows = static_cast<int>(plans.size()), experts = config.num_experts;
  const Routed got = route(config, z, plans, where, width, effective);
  std::vector<uint32_t> counts(2 * kNumMoeLayers * experts, 0);
  for (int row = 0; row < rows; ++row) {
    RouteDecision expected;
    decide_route(config, &effective[row * experts], plans[row] ? &plans[row]->layers[kLayer] : nullptr, where[row],
                 expected);
    bool same = got.status[row] == 0;
    const int traced = rows - 1 - row;
    for (int slot = 0; slot < width; ++slot) {
      const bool is_used = slot < static_cast<int>(expected.experts.size());
      same &= got.run[row * width + slot] == (is_used ? expected.run[slot] : kNoExpert);
      same &= same_bits(got.weights[row * width + slot], is_used ? expected.weights[slot] : 0);
      same &= got.topk_experts[traced * width + slot] == (is_used ? expected.experts[slot] : kNoExpert);
      same &= same_bits(got.topk_weights[traced * width + slot], is_used ? expected.weights[slot] : 0);
      if (is_used && row % 3 > 0) {
        ++counts[((row % 3 - 1) * kNumMoeLayers + kMoeLayer) * experts + expected.experts[slot]];
      }
    }
    const float gate = expected.zero_shared ? 0 : 0.25f;
    same &= got.shared_gate[row] == gate && got.traced_gate[traced] == gate;
    same &= same_bits(got.margin[traced], expected.margin);
    same &= (got.intervened[traced] != 0) == expected.intervened;
    same &= std::memcmp(&got.traced_logits[traced * experts], &z[row * experts], experts * sizeof(float)) == 0;
    if (!same) report(__FILE__, __LINE__, what, ": row ", row, " of E = ", experts, " is not decide_route()'s");
  }
  CHECK(got.counts == counts);
}

std::vector<float> random_logits(Random& random, int count, bool has_ties) {
  std::vector<float> z(count);
  for (float& value : z) {
    value = has_ties ? static_cast<float>(random.below(9)) / 4 - 1 : static_cast<float>(random.normal() * 2);
    if (has_ties && random.below(16) == 0) value = -0.0f;
  }
  return z;
}

std::vector<uint16_t> some_experts(Random& random, int experts, int count) {
  std::vector<uint16_t> all(experts);
  for (int i = 0; i < experts; ++i) all[i] = static_cast<uint16_t>(i);
  for (int i = 0; i < count; ++i) std::swap(all[i], all[i + random.below(experts - i)]);
  return {all.begin(), all.begin() + count};
}

RouteScope random_scope(Random& random) {
  RouteScope scope;
  if (random.below(3) == 0) scope.position_start = random.below(3);
  if (random.below(3) == 0) scope.position_end = 2 + random.below(4);
  if (random.below(4) == 0) scope.origin = random.below(2);
  if (random.below(4) == 0) scope.segments = {1, random.below(3)};
  return scope;
}

// Rules that can be met wherever they meet; replay, or what constrains the selection.
std::vector<RouteRule> random_rules(Random& random, const ModelConfig& config) {
  const int experts = config.num_experts, k = config.num_experts_per_token;
  std::vector<RouteRule> rules;
  if (random.below(2) == 0) rules.push_back(bias_of(random_logits(random, experts, false)));
  if (random.below(3) == 0) {
    const int rows = 8, width = std::min(experts, k + 1);
    std::vector<uint16_t> ids;
    std::vector<float> weights;
    for (int row = 0; row < rows; ++row) {
      const std::vector<uint16_t> selected = some_experts(random, experts, width);
      ids.insert(ids.end(), selected.begin(), selected.end());
      if (row % 3 == 1) ids.back() = kNoExpert;
      for (int slot = 0; slot < width; ++slot) weights.push_back(static_cast<float>(random.uniform()));
    }
    rules.push_back(replay_of(ids, width, random.below(2) == 0 ? weights : std::vector<float>()));
  } else {
    const std::vector<uint16_t> shuffled = some_experts(random, experts, experts);
    const int num_masked = random.below(experts - k + 1),
              num_forced = random.below(std::min(k, experts - num_masked) + 1);
    if (num_masked > 0) rules.push_back(rule_of(Kind::Mask, {shuffled.begin(), shuffled.begin() + num_masked}));
    if (num_forced > 0) rules.push_back(rule_of(Kind::Force, {shuffled.end() - num_forced, shuffled.end()}));
    if (random.below(2) == 0) rules.push_back(top_k_of(std::max(num_forced, 1 + random.below(experts - num_masked))));
  }
  if (random.below(2) == 0) rules.push_back(rule_of(Kind::Zero, some_experts(random, experts, 2)));
  if (random.below(3) == 0) rules.back().shared = rules.back().kind == Kind::Zero;
  if (random.below(2) == 0) {
    const std::vector<uint16_t> pair = some_experts(random, experts, 2);
    rules.push_back(swap_of(pair[0], pair[1]));
    if (random.below(2) == 0) rules.push_back(swap_of(pair[1], pair[0]));
  }
  for (RouteRule& rule : rules) {
    if (random.below(3) == 0) rule.scope = random_scope(random);
  }
  return rules;
}

}  // namespace

CASE("without rules: E = 5, 8, 60, 64, 129 and k = 1, 2, 4, 8, all experts, ties, normalised or not") {
  Random random(11);
  for (int experts : {5, 8, 60, 64, 129}) {
    for (int k : {1, 2, 4, 8, experts}) {
      if (k > experts) continue;
      const ModelConfig config = config_of(experts, k, k % 4 == 0);
      const int rows = 7;
      const std::vector<float> z = random_logits(random, rows * experts, k != 2);
      emulator::set_seed(experts + k);
      check_rows("no rules", config, z, std::vector<const RoutePlan*>(rows, nullptr), std::vector<RoutePosition>(rows),
                 k + experts % 2, z);
    }
  }
}

CASE("every kind of rule, alone and together, with scopes") {
  Random random(12);
  for (int trial = 0; trial < 120; ++trial) {
    const int experts = std::vector<int>{5, 8, 60, 64}[trial % 4];
    const int k = std::min(experts, std::vector<int>{1, 2, 4, 8}[trial / 4 % 4]);
    const ModelConfig config = config_of(experts, k, random.below(2) == 0);
    const int rows = 6;
    std::vector<RoutePlan> plans(rows);
    std::vector<const RoutePlan*> by_row(rows, nullptr);
    std::vector<RoutePosition> where(rows);
    int width = k;
    for (int row = 0; row < rows; ++row) {
      where[row] = {row, random.below(2), random.below(3)};
      if (row == 3) continue;
      plans[row] = plan_of(config, random_rules(random, config), kLayer);
      by_row[row] = &plans[row];
      width = std::max(width, plans[row].max_top_k);
    }
    const std::vector<float> z = random_logits(random, rows * experts, trial % 3 == 0);
    emulator::set_seed(trial);
    check_rows("rules", config, z, by_row, where, width, z);
  }
}

CASE("logits that a callback replaced, masked ones too, decide; the raw ones are recorded") {
  Random random(13);
  const ModelConfig config = config_of(60, 4);
  const std::vector<float> z = random_logits(random, 3 * 60, false);
  std::vector<float> changed = z;
  for (int i = 0; i < 3 * 60; i += 2) changed[i] = i % 4 == 0 ? -kInfinity : changed[i] + 1;
  check_rows("callback", config, z, std::vector<const RoutePlan*>(3, nullptr), std::vector<RoutePosition>(3), 4,
             changed);
}

CASE("rows that cannot be routed say why and run nothing; their neighbours are routed") {
  const ModelConfig config = config_of(8, 2);
  const auto status_of = [&](std::vector<RouteRule> rules, std::vector<float> z, std::vector<float> effective) {
    RoutePlan plan = plan_of(config, {});
    plan.layers[kLayer] = std::move(rules);
    const Routed got = route(config, z, {nullptr, &plan}, {{0, 0, 0}, {5, 0, 0}}, 2, effective);
    CHECK_EQ(got.status[0], 0);
    CHECK_EQ(got.run[2], kNoExpert);
    CHECK_EQ(got.weights[3], 0.0f);
    return static_cast<cuda::RouteStatus>(got.status[1]);
  };
  const std::vector<float> z(16, 1);
  std::vector<float> bad = z;
  bad[13] = NAN;
  using cuda::RouteStatus;
  CHECK(status_of({}, bad, z) == RouteStatus::NotFinite);
  bad[13] = kInfinity;
  CHECK(status_of({}, bad, z) == RouteStatus::NotFinite);
  CHECK(status_of({rule_of(Kind::Mask, {0, 1, 2, 3, 4, 5, 6})}, z, z) == RouteStatus::TooFewExperts);
  CHECK(status_of({rule_of(Kind::Force, {1, 2, 3})}, z, z) == RouteStatus::TooManyForced);
  CHECK(status_of({rule_of(Kind::Mask, {1}), rule_of(Kind::Force, {1})}, z, z) == RouteStatus::ForcedMasked);
  CHECK(status_of({replay_of({1, 2, 3, 4}, 2)}, z, z) == RouteStatus::OutsideReplay);
  CHECK(status_of({top_k_of(1), replay_of({1, 2}, 2)}, z, z) == RouteStatus::ReplayConstrained);
}

CASE("scores meet a float64 sum, and a row's bits do not depend on its neighbours") {
  Random random(14);
  for (int hidden : {1, 33, 256, 1000}) {
    for (int rows : {1, 8, 13}) {
      const int experts = 5 + hidden % 60;
      std::vector<float> h(rows * hidden), router(experts * hidden), gate(hidden);
      for (float& value : h) value = static_cast<float>(random.normal());
      for (float& value : router) value = static_cast<float>(random.normal());
      for (float& value : gate) value = static_cast<float>(random.normal());
      cuda::Stream stream;
      const cuda::DeviceBuffer device_h = on_device(stream, h), device_router = on_device(stream, router);
      const cuda::DeviceBuffer device_gate = on_device(stream, gate);
      const auto scored = [&](int first, int count) {
        const cuda::DeviceBuffer logits(count * experts * 4), gates(count * 4);
        cuda::score(stream, {.h = device_h.as<const float>() + first * hidden,
                             .router = device_router.as<const float>(),
                             .gate_weight = device_gate.as<const float>(),
                             .logits = logits.as<float>(),
                             .shared_gate = gates.as<float>(),
                             .rows = count,
                             .hidden = hidden,
                             .num_experts = experts});
        std::vector<float> all = on_host<float>(stream, logits), last = on_host<float>(stream, gates);
        all.insert(all.end(), last.begin(), last.end());
        return all;
      };
      const std::vector<float> all = scored(0, rows), alone = scored(rows - 1, 1);
      for (int row = 0; row < rows; ++row) {
        for (int expert = 0; expert <= experts; ++expert) {
          const float* weights = expert == experts ? gate.data() : &router[expert * hidden];
          double sum = 0, magnitude = 0;
          for (int i = 0; i < hidden; ++i) {
            sum += static_cast<double>(weights[i]) * h[row * hidden + i];
            magnitude += std::abs(static_cast<double>(weights[i]) * h[row * hidden + i]);
          }
          // hidden / 128 chunks of four fused steps in a thread, five levels of the tree, four warps.
          const double tolerance = ((hidden / 512 + 1) * 4 + 5 + 4) * 0x1p-24 * magnitude;
          if (expert < experts) {
            CHECK_NEAR(all[row * experts + expert], sum, tolerance);
          } else {
            CHECK_NEAR(all[rows * experts + row], 1 / (1 + std::exp(-sum)), tolerance / 4 + 0x1p-24);
          }
        }
      }
      for (int expert = 0; expert < experts; ++expert) CHECK_EQ(alone[expert], all[(rows - 1) * experts + expert]);
      CHECK_EQ(alone[experts], all[rows * experts + rows - 1]);
    }
  }
}
