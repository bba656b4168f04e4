// Callbacks at hook points: what they see, what they change, whom a failure concerns.
#include <functional>
#include <map>

#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr HookPoint kAllPoints[] = {HookPoint::ResidualBefore, HookPoint::RouterInput,   HookPoint::RouterLogits,
                                    HookPoint::SharedGate,     HookPoint::ExpertOutput,  HookPoint::SharedOutput,
                                    HookPoint::MoeOutput,      HookPoint::ResidualAfter, HookPoint::FinalNorm,
                                    HookPoint::OutputLogits};

class FunctionHost final : public HookHost {
 public:
  using Function = std::function<Outcome(HookCall&)>;
  explicit FunctionHost(Function function) : function_(std::move(function)) {}
  Outcome call(HookCall& call) override { return function_(call); }

 private:
  Function function_;
};

RouteRequest hook_at(HookPoint point, std::vector<int32_t> layers, RouteScope scope = {}) {
  HookRule hook;
  hook.point = point;
  hook.scope = scope;
  if (point < HookPoint::FinalNorm) hook.layers = std::move(layers);
  RouteRequest request;
  request.hook = std::move(hook);
  return request;
}

int watched(Session& session, const std::vector<RouteRequest>& requests) {
  return session.create_sequence(make_route_plan(session.config(), requests));
}

TracedStep run(Session& session, std::vector<StepSegment> segments, HookHost& host) {
  return step(session, std::move(segments), CaptureLevel::Hidden, &host);
}

Rows rows_of(const TracedStep& result, const ModelConfig& config, int64_t first, int64_t count) {
  Rows rows;
  rows.add(result, config, first, count, first);
  return rows;
}

const std::vector<int32_t>& prompt() {
  static const std::vector<int32_t> made = random_tokens(90, qwen2_moe().config.vocab_size, 5);
  return made;
}

}  // namespace

CASE("a callback that changes nothing changes no bit, at every point, for any chunk and number of threads") {
  const TinyCheckpoint& model = qwen2_moe();
  Session plain(model.load(), CacheType::F32, 512);
  const Rows expected = whole(plain, prompt());
  for (const auto& [threads, chunk] : {std::pair{1, 512}, std::pair{3, 17}}) {
    for (HookPoint point : kAllPoints) {
      for (HookHost::Outcome outcome : {HookHost::Outcome::Unchanged, HookHost::Outcome::Replaced}) {
        Session session(model.load(threads), CacheType::F32, chunk);
        int64_t rows_seen = 0;
        FunctionHost host([&](HookCall& call) {
          rows_seen += static_cast<int64_t>(call.positions.size());
          return outcome;
        });
        const int sequence = watched(session, {hook_at(point, {2})});
        TracedStep result = run(session, {segment_of(sequence, prompt(), HeadSpec::Kind::Logits)}, host);
        check_same(hook_name(point), model, rows_of(result, session.config(), 0, 90), expected);
        CHECK_EQ(rows_seen, point == HookPoint::ExpertOutput ? 90 * 4 : 90);
        CHECK(result.failures.empty());
      }
    }
  }
}

CASE("a callback sees what the trace records, and who the rows are") {
  const TinyCheckpoint& model = qwen2_moe();
  Session session(model.load(), CacheType::F32, 25);
  const ModelConfig& config = session.config();
  std::map<HookPoint, std::vector<float>> seen;
  std::vector<int32_t> positions, tokens;
  FunctionHost host([&](HookCall& call) {
    std::vector<float>& values = seen[call.point];
    values.insert(values.end(), call.values.begin(), call.values.end());
    CHECK_EQ(call.layer, 2);
    for (size_t row = 0; row < call.positions.size(); ++row) {
      CHECK_EQ(call.origins[row], 1);
      CHECK_EQ(call.segments[row], 7);
      CHECK_EQ(call.tokens[row], prompt()[call.positions[row]]);
    }
    if (call.point == HookPoint::ResidualBefore) {
      positions.insert(positions.end(), call.positions.begin(), call.positions.end());
    }
    return HookHost::Outcome::Unchanged;
  });
  std::vector<RouteRequest> hooks;
  for (HookPoint point : kAllPoints) {
    if (point < HookPoint::FinalNorm && point != HookPoint::ExpertOutput) hooks.push_back(hook_at(point, {2}));
  }
  StepSegment segment = segment_of(watched(session, hooks), prompt());
  segment.origin = 1;
  segment.label = 7;
  const TracedStep result = run(session, {segment}, host);
  CHECK_EQ(positions.size(), prompt().size());
  for (size_t row = 0; row < positions.size(); ++row) CHECK_EQ(positions[row], static_cast<int>(row));

  // Layer 2 is the second of two MoE layers and the last of three.
  const auto column = [&](const std::vector<float>& values, size_t width, size_t layers, size_t slot) {
    std::vector<float> picked;
    for (size_t row = 0; row < prompt().size(); ++row) {
      const auto start = values.begin() + (row * layers + slot) * width;
      picked.insert(picked.end(), start, start + width);
    }
    return picked;
  };
  const size_t hidden = config.hidden_size;
  CHECK(same_bits(seen[HookPoint::ResidualBefore], column(result.residual, hidden, 3, 1)));
  CHECK(same_bits(seen[HookPoint::ResidualAfter], column(result.residual, hidden, 3, 2)));
  CHECK(same_bits(seen[HookPoint::RouterInput], column(result.router_input, hidden, 2, 1)));
  CHECK(same_bits(seen[HookPoint::RouterLogits], column(result.router_logits, config.num_experts, 2, 1)));
  CHECK(same_bits(seen[HookPoint::SharedGate], column(result.shared_gate, 1, 2, 1)));
}

CASE("what a callback gives back is used: logits choose experts, the trace keeps the raw ones and marks the row") {
  const TinyCheckpoint& model = qwen2_moe();
  Session session(model.load(), CacheType::F32, 25);
  const int num_experts = session.config().num_experts;
  FunctionHost host([&](HookCall& call) {
    for (size_t row = 0; row < call.positions.size(); ++row) {
      std::fill_n(&call.values[row * num_experts], 5, -std::numeric_limits<float>::infinity());
    }
    return HookHost::Outcome::Replaced;
  });
  RouteScope scope;
  scope.position_start = 10;
  const int sequence = watched(session, {hook_at(HookPoint::RouterLogits, {0}, scope)});
  const TracedStep result = run(session, {segment_of(sequence, prompt())}, host);
  Session plain(model.load(), CacheType::F32, 512);
  const TracedStep before = step(plain, {segment_of(start(plain), prompt())}, CaptureLevel::Hidden);
  for (int row = 0; row < 90; ++row) {
    CHECK_EQ(result.intervened[row * 2], row >= 10 ? 1 : 0);
    for (int expert = 0; expert < num_experts; ++expert) {
      CHECK_EQ(result.router_logits[row * 2 * num_experts + expert],
               before.router_logits[row * 2 * num_experts + expert]);
    }
    for (int slot = 0; row >= 10 && slot < 4; ++slot) CHECK(result.topk_experts[row * 8 + slot] >= 5);
  }
}

CASE(
    "a callback that fails, or gives what cannot be computed with, fails its sequence and leaves the others their "
    "bits") {
  const TinyCheckpoint& model = qwen2_moe();
  Session plain(model.load(), CacheType::F32, 512);
  const Rows expected = whole(plain, prompt());
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const auto fill = [](float value) {
    return [value](HookCall& call) {
      std::fill(call.values.begin(), call.values.end(), value);
      return HookHost::Outcome::Replaced;
    };
  };
  struct Fault {
    HookPoint point;
    FunctionHost::Function function;
    bool host_knows;
  };
  const std::vector<Fault> faults = {
      {HookPoint::ResidualBefore, [](HookCall&) { return HookHost::Outcome::Failed; }, true},
      {HookPoint::ExpertOutput, [](HookCall&) { return HookHost::Outcome::Failed; }, true},
      {HookPoint::RouterInput, fill(nan), false},
      {HookPoint::RouterInput, fill(-inf), false},
      {HookPoint::RouterLogits, fill(-inf), false},  // no expert is left
      {HookPoint::RouterLogits, fill(inf), false},
      {HookPoint::OutputLogits, fill(-inf), false},
      {HookPoint::FinalNorm, fill(3e38f), false},
  };
  for (const Fault& fault : faults) {
    Session session(model.load(2), CacheType::F32, 40);
    FunctionHost host(fault.function);
    const int failing = watched(session, {hook_at(fault.point, {0})}), other = start(session);
    std::vector<int32_t> rest = part(prompt(), 30, 90);
    FunctionHost calm([](HookCall&) { return HookHost::Outcome::Unchanged; });
    run(session, {segment_of(failing, part(prompt(), 0, 30))}, calm);
    const std::vector<uint64_t> counts = session.expert_counts();
    const TracedStep result = run(
        session,
        {segment_of(failing, rest, HeadSpec::Kind::Logits), segment_of(other, prompt(), HeadSpec::Kind::Logits)}, host);
    CHECK_EQ(result.failures.size(), 1u);
    CHECK_EQ(result.failures[0].sequence, failing);
    CHECK_EQ(result.failures[0].error.has_value(), !fault.host_knows);
    Rows rows;
    rows.add(result, session.config(), 60, 90, 60);
    check_same("beside a failure", model, rows, expected);
    CHECK_EQ(session.sequence_length(failing), 30);
    CHECK_EQ(session.sequence_length(other), 90);
    uint64_t counted = 0;
    for (size_t slot = 0; slot < counts.size(); ++slot) counted += session.expert_counts()[slot] - counts[slot];
    CHECK_EQ(counted, 90u * 2 * 4);
    // The sequence goes on as if nothing had been tried.
    const TracedStep again = run(session, {segment_of(failing, rest, HeadSpec::Kind::Logits)}, calm);
    check_same("after a failure", model, rows_of(again, session.config(), 0, 60),
               last_rows(expected, session.config(), 60));
  }
}

CASE("callbacks at points that a layer does not have are refused") {
  const ModelConfig& config = qwen2_moe().config;
  CHECK_FAILS(make_route_plan(config, {hook_at(HookPoint::RouterLogits, {1})}), InvalidArgument);
  CHECK_FAILS(make_route_plan(config, {hook_at(HookPoint::ResidualAfter, {3})}), InvalidArgument);
  CHECK_FAILS(make_route_plan(config, {hook_at(HookPoint::MoeOutput, {})}), InvalidArgument);
  make_route_plan(config, {hook_at(HookPoint::ResidualBefore, {1})});
}
