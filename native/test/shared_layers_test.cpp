// A sequence that shares the lower layers of another: the same bits as computing all of it, for any chunk, cache and place to fork.
#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

namespace {

RouteRequest zero_of(int32_t layer, std::vector<uint16_t> experts) {
  RouteRequest request;
  request.rule.kind = RouteRule::Kind::Zero;
  request.rule.experts = std::move(experts);
  request.layers = {layer};
  return request;
}

TracedStep logits(Session& session, int sequence, const std::vector<int32_t>& tokens) {
  return step(session, {segment_of(sequence, tokens, HeadSpec::Kind::Logits)});
}

uint64_t total(const Session& session) {
  uint64_t sum = 0;
  for (uint64_t count : session.expert_counts()) sum += count;
  return sum;
}

}  // namespace

CASE("a changed upper layer over shared lower ones gives the bits of the whole, from any position on") {
  const TinyCheckpoint& model = qwen2_moe();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(150, config.vocab_size, 21),
                             more = random_tokens(20, config.vocab_size, 22);
  for (CacheType type : {CacheType::F32, CacheType::BF16}) {
    for (int chunk : {13, 64, 512}) {
      if (kIsEmulated && chunk != 13) continue;
      for (int64_t fork : {0, 1, 63, 64, 100}) {
        Session session(model.load(), type, chunk);
        const RoutePlan plain = make_route_plan(config, {}), changed = make_route_plan(config, {zero_of(2, {1, 4})});
        // Alone: the first positions without the change, the rest with it.
        const int begun = session.create_sequence(plain);
        if (fork > 0) logits(session, begun, part(prompt, 0, fork));
        const int alone = session.fork_sequence(begun, fork, changed);
        const std::vector<float> expected = logits(session, alone, part(prompt, fork, 150)).logits;
        const std::vector<float> expected_more = logits(session, alone, more).logits;

        const int base = session.create_sequence(plain);
        session.keep_residuals(base, 2);
        logits(session, base, prompt);
        const int shared = session.fork_sequence(base, fork, changed);
        session.share_lower_layers(shared, base, 2);
        const uint64_t before = total(session);
        CHECK(same_bits(logits(session, shared, part(prompt, fork, 150)).logits, expected));
        CHECK_EQ(total(session) - before, static_cast<uint64_t>(150 - fork) * 4);  // layer 2 alone ran
        CHECK(same_bits(logits(session, shared, more).logits, expected_more));
        CHECK_EQ(session.sequence_length(shared), 170);
        // The base is untouched.
        const std::vector<float> base_more = logits(session, base, more).logits;
        const int fresh = session.create_sequence(plain);
        logits(session, fresh, prompt);
        CHECK(same_bits(base_more, logits(session, fresh, more).logits));
      }
    }
  }
}

CASE("a tree of shared layers: a child of a changed parent takes its own base") {
  const TinyCheckpoint& model = qwen2_moe();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(70, config.vocab_size, 23),
                             left = random_tokens(9, config.vocab_size, 24);
  Session session(model.load(), CacheType::F32, 32);
  const RoutePlan plain = make_route_plan(config, {}), changed = make_route_plan(config, {zero_of(2, {0})});
  const int alone = session.create_sequence(changed);
  logits(session, alone, prompt);
  const std::vector<float> expected = logits(session, alone, left).logits;

  const int base = session.create_sequence(plain);
  session.keep_residuals(base, 2);
  logits(session, base, prompt);
  const int base_child = session.fork_sequence(base, 70, plain);
  logits(session, base_child, left);
  const int parent = session.create_sequence(changed);
  session.share_lower_layers(parent, base, 2);
  logits(session, parent, prompt);
  const int child = session.fork_sequence(parent, 70, changed);
  session.share_lower_layers(child, base_child, 2);
  CHECK(same_bits(logits(session, child, left).logits, expected));
}

CASE("other tokens end the sharing, truncation and failed steps keep it, and nothing leaks") {
  const TinyCheckpoint& model = qwen2_moe();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(150, config.vocab_size, 25);
  std::vector<int32_t> other = prompt;
  other[80] = (other[80] + 1) % config.vocab_size;
  Session session(model.load(), CacheType::F32, 32);
  const RoutePlan plain = make_route_plan(config, {}), changed = make_route_plan(config, {zero_of(2, {0})});
  const int alone = session.create_sequence(changed);
  const std::vector<float> expected = logits(session, alone, prompt).logits;
  const int alone_other = session.create_sequence(changed);
  const std::vector<float> expected_other = logits(session, alone_other, other).logits;
  session.release_sequence(alone);
  session.release_sequence(alone_other);

  const int base = session.create_sequence(plain);
  session.keep_residuals(base, 2);
  logits(session, base, prompt);
  const int shared = session.create_sequence(changed);
  session.share_lower_layers(shared, base, 2);
  CHECK(same_bits(logits(session, shared, prompt).logits, expected));
  session.truncate_sequence(shared, 0);
  std::atomic<bool> cancelled{true};
  StepRequest request;
  request.segments = {segment_of(shared, prompt)};
  CHECK_FAILS(session.step(request, &cancelled, nullptr), Aborted);
  CHECK(same_bits(logits(session, shared, prompt).logits, expected));
  session.truncate_sequence(shared, 0);
  CHECK(same_bits(logits(session, shared, other).logits, expected_other));
  for (int sequence : {base, shared}) session.release_sequence(sequence);
  CHECK_EQ(session.cache_bytes(), 0u);
}

CASE("what cannot be shared is refused") {
  const TinyCheckpoint& model = qwen2_moe();
  Session session(model.load(), CacheType::F32, 32);
  const std::vector<int32_t> prompt = random_tokens(20, model.config.vocab_size, 26);
  const int base = start(session), sequence = start(session);
  logits(session, base, prompt);
  CHECK_FAILS(session.share_lower_layers(sequence, base, 2), InvalidArgument);  // nothing is kept
  session.keep_residuals(base, 2);
  CHECK_FAILS(session.share_lower_layers(sequence, base, 2), InvalidArgument);  // positions before are not kept
  CHECK_FAILS(session.keep_residuals(base, 3), InvalidArgument);
  const int kept = start(session);
  session.keep_residuals(kept, 2);
  logits(session, kept, prompt);
  CHECK_FAILS(session.share_lower_layers(sequence, kept, 1), InvalidArgument);
  session.share_lower_layers(sequence, kept, 2);
  StepRequest request;
  request.segments = {segment_of(sequence, prompt)};
  TraceBlock all(model.config, CaptureLevel::Topk, 20, model.config.num_experts_per_token);
  request.trace = &all;
  CHECK_FAILS(session.step(request, nullptr, nullptr), InvalidArgument);  // no routes below
  TraceBlock upper(model.config, CaptureLevel::Topk, 20, model.config.num_experts_per_token, {{2}});
  request.trace = &upper;
  session.step(request, nullptr, nullptr);
  CHECK_EQ(upper.num_moe_layers, 1);
}
