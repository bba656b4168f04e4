// Routes of many steps in one block: each step's rows behind those before it, and nothing else changed.
#include "core/trace_block.h"

#include "test/check.h"
#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

namespace {

StepResult record(Session& session, int sequence, const std::vector<int32_t>& tokens, TraceBlock& block, int64_t row) {
  StepRequest request;
  request.segments = {segment_of(sequence, tokens)};
  request.trace = &block;
  request.trace_row = row;
  return session.step(request, nullptr, nullptr);
}

}  // namespace

CASE("steps that record behind one another give the rows of one step, also where a block is written again") {
  const TinyCheckpoint& model = qwen2_moe();
  const std::vector<int32_t> prompt = random_tokens(40, model.config.vocab_size, 51);
  Session session(model.load(2), CacheType::F32, 16);
  const Rows whole = check::whole(session, prompt);
  TraceBlock block(model.config, CaptureLevel::Hidden, 40, model.config.num_experts_per_token);
  for (int round = 0; round < 2; ++round) {
    const int sequence = start(session);
    record(session, sequence, part(prompt, 0, 30), block, 0);
    for (size_t token = 30; token < 40; ++token)
      record(session, sequence, part(prompt, token, token + 1), block, static_cast<int64_t>(token));
    CHECK(same_bits(block.topk_experts, whole.topk_experts));
    CHECK(same_bits(block.topk_weights, whole.topk_weights));
    CHECK(same_bits(block.margin, whole.margin));
    CHECK(same_bits(block.router_logits, whole.router_logits));
    CHECK(same_bits(block.router_input, whole.router_input));
    CHECK(same_bits(block.expert_norms, whole.expert_norms));
    CHECK(same_bits(block.residual, whole.residual));
    CHECK(same_bits(block.intervened, std::vector<uint8_t>(block.intervened.size())));
    // What another text leaves behind, marks of interventions included, is gone when the rows are written again.
    RouteRequest wide{{}, {0, 2}};
    wide.rule.kind = RouteRule::Kind::TopK;
    wide.rule.k = 1;
    record(session, session.create_sequence(make_route_plan(model.config, {wide})), prompt, block, 0);
    CHECK_EQ(int{block.intervened[0]}, 1);
    CHECK_EQ(int{block.topk_experts[1]}, int{kNoExpert});
  }
}

CASE("a block without room, without slots for the rules, or of a layer that is not there is refused") {
  const TinyCheckpoint& model = qwen2_moe();
  const int top_k = model.config.num_experts_per_token;
  Session session(model.load(), CacheType::F32, 16);
  TraceBlock block(model.config, CaptureLevel::Topk, 4, top_k);
  const int sequence = start(session);
  CHECK_FAILS(record(session, sequence, {1, 2, 3, 4, 5}, block, 0), InvalidArgument);
  CHECK_FAILS(record(session, sequence, {1, 2}, block, 3), InvalidArgument);
  CHECK_FAILS(record(session, sequence, {1, 2}, block, -1), InvalidArgument);
  CHECK_EQ(session.sequence_length(sequence), 0);
  RouteRequest wide{{}, {2}};
  wide.rule.kind = RouteRule::Kind::TopK;
  wide.rule.k = top_k + 1;
  const int widened = session.create_sequence(make_route_plan(model.config, {wide}));
  CHECK_FAILS(record(session, widened, {1}, block, 0), InvalidArgument);
  CHECK_FAILS(TraceBlock(model.config, CaptureLevel::Topk, 4, top_k, {{model.config.num_layers}}), InvalidArgument);
}
