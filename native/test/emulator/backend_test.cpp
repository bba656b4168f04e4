// The CUDA backend whole, under the emulator: sessions on tiny models against the CPU backend, and bit for bit against themselves in
// other company.
#include "cuda/backend.h"

#include <cmath>

#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr int kTokens = 70;  // a whole tile of keys and a part

std::shared_ptr<Model> on_card(const TinyCheckpoint& checkpoint) {
  fast_under_test = nullptr;
  std::shared_ptr<Model> model = checkpoint.load();
  model->backend = std::make_unique<cuda::CudaBackend>(model->config, *model->weights, 0);
  return model;
}

double spread_of(const std::vector<float>& values) {
  double sum = 0, squares = 0;
  for (float value : values) sum += value, squares += static_cast<double>(value) * value;
  const double mean = sum / static_cast<double>(values.size());
  return std::sqrt(squares / static_cast<double>(values.size()) - mean * mean);
}

// Activations are rounded to 8 bits or bf16 before every product: the error of logits is random, with this share of their spread.
constexpr double kError = 0.05;

// Logits of `actual` against those of precision `ref`, row by row while all of a row's experts are the same: their error together, and
// none beyond six times it. A route may differ only where the reference hardly prefers one expert to the next.
void check_near_ref(const TinyCheckpoint& checkpoint, const Rows& actual, const Rows& expected) {
  const ModelConfig& config = checkpoint.config;
  const double spread = spread_of(expected.logits);
  const size_t slots = static_cast<size_t>(config.num_moe_layers()) * config.num_experts_per_token;
  double squares = 0;
  int row = 0;
  // A row that went elsewhere is read by those behind it.
  for (; row < kTokens; ++row) {
    if (!std::equal(actual.topk_experts.begin() + row * slots, actual.topk_experts.begin() + (row + 1) * slots,
                    expected.topk_experts.begin() + row * slots)) {
      break;
    }
    for (int i = row * config.vocab_size; i < (row + 1) * config.vocab_size; ++i) {
      CHECK_NEAR(actual.logits[i], expected.logits[i], 6 * kError * spread);
      squares += std::pow(actual.logits[i] - expected.logits[i], 2);
    }
  }
  CHECK(row > 0);
  CHECK(std::sqrt(squares / (row * config.vocab_size)) < kError * spread);
  if (row == kTokens) return;
  float least = std::numeric_limits<float>::max();
  for (int layer = 0; layer < config.num_moe_layers(); ++layer) {
    least = std::min(least, expected.margin[row * config.num_moe_layers() + layer]);
  }
  CHECK(least < 6 * kError * spread_of(expected.router_logits));
}

}  // namespace

CASE("logits and routes are those of ref, for every architecture and cache type") {
  for (const TinyCheckpoint* checkpoint : {&llama(), &qwen2(), &mixtral(), &qwen2_moe()}) {
    const std::vector<int32_t> prompt = random_tokens(kTokens, checkpoint->config.vocab_size, 11);
    fast_under_test = nullptr;
    for (CacheType type : {CacheType::F32, CacheType::BF16, CacheType::F16, CacheType::Q8_0}) {
      Session on_cpu(checkpoint->load(), type, 512), session(on_card(*checkpoint), type, 512);
      check_near_ref(*checkpoint, whole(session, prompt), whole(on_cpu, prompt));
    }
  }
}

CASE("every type of weights that is packed") {
  for (DType dtype : {DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1,
                      DType::Q8_0, DType::Q4_K, DType::Q5_K, DType::Q6_K}) {
    const TinyCheckpoint checkpoint = tiny_of(dtype);
    const std::vector<int32_t> prompt = random_tokens(20, checkpoint.config.vocab_size, 12);
    fast_under_test = nullptr;
    Session on_cpu(checkpoint.load(), CacheType::F32, 64), session(on_card(checkpoint), CacheType::F32, 64);
    const Rows expected = whole(on_cpu, prompt), actual = whole(session, prompt);
    const double spread = spread_of(expected.logits);
    double squares = 0;
    for (size_t i = 0; i < expected.logits.size(); ++i) {
      squares += std::pow(actual.logits[i] - expected.logits[i], 2);
    }
    const double error = std::sqrt(squares / static_cast<double>(expected.logits.size())) / spread;
    CHECK(error < (dtype == DType::F32 ? 1e-5 : dtype == DType::F16 ? 1e-4 : kError));
  }
}

CASE("a type without a packed form is refused by name") {
  const TinyCheckpoint checkpoint = tiny_of(DType::Q3_K);
  CHECK_FAILS(on_card(checkpoint), Unsupported);
}

CASE("bits do not depend on chunks, company, forks or capture") {
  const TinyCheckpoint& checkpoint = qwen2_moe();
  const std::vector<int32_t> prompt = random_tokens(kTokens, checkpoint.config.vocab_size, 13);
  const std::shared_ptr<Model> model = on_card(checkpoint);
  for (CacheType type : {CacheType::BF16, CacheType::Q8_0}) {
    Session session(model, type, 512), in_chunks(model, type, 7);
    const Rows expected = whole(session, prompt);
    check_same("in chunks of seven", checkpoint, whole(in_chunks, prompt), expected);

    const int sequence = start(session);
    Rows one_by_one;
    for (int i = 0; i < kTokens; ++i) {
      const TracedStep result =
          step(session, {segment_of(sequence, {prompt[i]}, HeadSpec::Kind::Logits)}, CaptureLevel::Hidden);
      one_by_one.add(result, checkpoint.config, 0, 1, 0);
    }
    check_same("one by one", checkpoint, one_by_one, expected);

    const int first = start(session), second = start(session), third = start(session);
    const std::vector<int32_t> other = random_tokens(19, checkpoint.config.vocab_size, 14);
    const TracedStep together =
        step(session,
             {segment_of(first, other, HeadSpec::Kind::Logits), segment_of(second, prompt, HeadSpec::Kind::Logits),
              segment_of(third, other, HeadSpec::Kind::Logits)},
             CaptureLevel::Hidden);
    Rows middle;
    middle.add(together, checkpoint.config, 19, kTokens, 19);
    check_same("between others", checkpoint, middle, expected);

    const int forked = session.fork_sequence(second, 66, make_route_plan(checkpoint.config, {}));
    check_same("behind a fork that shares a page", checkpoint, whole(session, part(prompt, 66, kTokens), forked),
               last_rows(expected, checkpoint.config, kTokens - 66));

    const StepResult unwatched = step(session, {segment_of(start(session), prompt, HeadSpec::Kind::Logits)});
    CHECK(same_bits(unwatched.logits, expected.logits));
  }
}

CASE("counts, answers and rules are those of the CPU") {
  const TinyCheckpoint& checkpoint = qwen2_moe();
  const ModelConfig& config = checkpoint.config;
  RouteRequest mask;
  mask.rule.kind = RouteRule::Kind::Mask;
  mask.rule.experts = {0, 3, 5};
  mask.layers = {0, 2};
  RouteRequest zero;
  zero.rule.kind = RouteRule::Kind::Zero;
  zero.rule.experts = {2};
  zero.rule.shared = true;
  zero.rule.scope.position_start = 9;
  zero.layers = {2};
  const std::vector<int32_t> prompt = random_tokens(24, config.vocab_size, 15);
  Session session(on_card(checkpoint), CacheType::F32, 512);
  const int sequence = session.create_sequence(make_route_plan(config, {mask, zero}));
  StepSegment segment = segment_of(sequence, prompt, HeadSpec::Kind::Logits);
  const TracedStep result = step(session, {segment}, CaptureLevel::Logits);
  // The rules once more, from the logits that were recorded.
  RouteDecision decision;
  const RoutePlan plan = make_route_plan(config, {mask, zero});
  for (size_t row = 0; row < prompt.size(); ++row) {
    for (int slot_layer = 0; slot_layer < 2; ++slot_layer) {
      const size_t place = row * 2 + slot_layer;
      decide_route(config, &result.router_logits[place * config.num_experts], &plan.layers[slot_layer * 2],
                   {static_cast<int64_t>(row), 0, 0}, decision);
      for (int slot = 0; slot < 4; ++slot) {
        CHECK_EQ(result.topk_experts[place * 4 + slot], decision.experts[slot]);
        CHECK_EQ(result.topk_weights[place * 4 + slot], decision.weights[slot]);
      }
      CHECK_EQ(result.shared_gate[place] == 0, decision.zero_shared);
    }
  }
  uint64_t total = 0;
  for (uint64_t count : session.expert_counts()) total += count;
  CHECK_EQ(total, prompt.size() * 2 * 4);

  segment = segment_of(sequence, {7, 8}, HeadSpec::Kind::Targets);
  segment.head.rows = {0, 1};
  segment.head.targets = {3, 4};
  const int twin = session.fork_sequence(sequence, 24, make_route_plan(config, {mask, zero}));
  const StepResult scored = step(session, {segment});
  const StepResult logits = step(session, {segment_of(twin, {7, 8}, HeadSpec::Kind::Logits)});
  for (int row = 0; row < 2; ++row) {
    const float* z = &logits.logits[row * config.vocab_size];
    CHECK_NEAR(scored.logprobs[row], z[3 + row] - log_sum_exp(z, config.vocab_size), 1e-5);
    CHECK_EQ(scored.is_greedy[row] != 0, argmax(z, config.vocab_size) == 3 + row);
  }
}

CASE("a rule that a row cannot meet fails the step and leaves the sequence as it was") {
  const TinyCheckpoint& checkpoint = qwen2_moe();
  RouteRequest mask;
  mask.rule.kind = RouteRule::Kind::Mask;
  mask.rule.experts = {0, 1, 2, 3};
  mask.rule.scope.segments = {0};
  mask.layers = {0};
  RouteRequest more = mask;
  more.rule.experts = {4, 5};
  more.rule.scope.position_start = 4;
  Session session(on_card(checkpoint), CacheType::BF16, 512);
  const int sequence = session.create_sequence(make_route_plan(checkpoint.config, {mask, more}));
  step(session, {segment_of(sequence, {1, 2, 3})});
  CHECK_FAILS(step(session, {segment_of(sequence, {4, 5, 6})}), InvalidArgument);
  CHECK_EQ(session.sequence_length(sequence), 3);
}
