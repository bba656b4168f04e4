// Steps of sessions on tiny models of all four architectures: equal to a plain decoder in double, refused or ended without a trace.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>

#include "test/reference_decoder.h"
#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

CASE("logits, routes and gates are those of a plain decoder in double") {
  for (const TinyCheckpoint* model : all_models()) {
    const ModelConfig& config = model->config;
    const std::vector<int32_t> prompt = random_tokens(kPromptTokens, config.vocab_size, 11);
    Session session(model->load(), CacheType::F32, 512);
    const TracedStep result =
        step(session, {segment_of(start(session), prompt, HeadSpec::Kind::Logits)}, CaptureLevel::Logits);
    const ReferenceDecoder::Result expected = ReferenceDecoder(*model).run(prompt);

    // Sums of at most 256 products in fp32 err by some 20 roundings of 2^-24; 3 layers of 7 such sums, amplified by norms and
    // softmaxes of this depth by less than 10: 20 * 21 * 10 * 2^-24 = 2.5e-4 of the largest value is never reached, 1e-4 holds.
    double largest = 0;
    for (const auto& row : expected.logits) {
      for (double logit : row) largest = std::max(largest, std::abs(logit));
    }
    CHECK(largest > 1);
    for (size_t row = 0; row < prompt.size(); ++row) {
      for (int token = 0; token < config.vocab_size; ++token) {
        CHECK_NEAR(result.logits[row * config.vocab_size + token], expected.logits[row][token], 1e-4 * largest);
      }
    }
    for (int layer = 0; layer < result.num_moe_layers; ++layer) {
      for (size_t row = 0; row < prompt.size(); ++row) {
        const size_t place = row * result.num_moe_layers + layer;
        for (int expert = 0; expert < config.num_experts; ++expert) {
          CHECK_NEAR(result.router_logits[place * config.num_experts + expert], expected.router[layer][row][expert],
                     5e-4);
        }
        for (int slot = 0; slot < config.num_experts_per_token; ++slot) {
          CHECK_EQ(int{result.topk_experts[place * result.top_k + slot]}, expected.experts[layer][row][slot]);
          CHECK_NEAR(result.topk_weights[place * result.top_k + slot], expected.weights[layer][row][slot], 2e-4);
        }
        if (!result.shared_gate.empty()) CHECK_NEAR(result.shared_gate[place], expected.shared_gate[layer][row], 2e-4);
        CHECK_EQ(int{result.intervened[place]}, 0);
      }
    }
  }
}

CASE("a bfloat16 cache rounds keys and values and nothing else") {
  for (const TinyCheckpoint* model : all_models()) {
    const std::vector<int32_t> prompt = random_tokens(20, model->config.vocab_size, 12);
    Session full(model->load(), CacheType::F32, 512), rounded(model->load(), CacheType::BF16, 512);
    const std::vector<float> a = whole(full, prompt).logits, b = whole(rounded, prompt).logits;
    double difference = 0;
    for (size_t i = 0; i < a.size(); ++i) difference = std::max(difference, std::abs(static_cast<double>(a[i]) - b[i]));
    CHECK(difference > 0);
    if (model->config.num_experts == 0) CHECK(difference < 0.5);  // 2^-9 of keys up to 4; routers may flip
  }
}

CASE("targets, top tokens and drawn tokens follow from the logits, whatever they share a batch with") {
  for (const TinyCheckpoint* model : all_models()) {
    const ModelConfig& config = model->config;
    const std::vector<int32_t> prompt = random_tokens(40, config.vocab_size, 14);
    Session session(model->load(2), CacheType::F32, 16);
    const std::vector<float> logits = whole(session, prompt).logits;
    const auto row_of = [&](size_t row) { return &logits[row * config.vocab_size]; };
    const auto logprob = [&](size_t row, int32_t token) {
      return static_cast<float>(row_of(row)[token] - log_sum_exp(row_of(row), config.vocab_size));
    };

    StepSegment targets = segment_of(start(session), prompt, HeadSpec::Kind::Targets);
    targets.head.rows = {0, 3, 3, 3, 17, 38, 39, 39};
    targets.head.targets = {5, 1, 2, argmax(row_of(3), config.vocab_size), 0, prompt[39], 4, 4};
    StepSegment top = segment_of(start(session), prompt, HeadSpec::Kind::Top);
    top.head.top_n = 5;
    StepSegment last_top = top;
    last_top.sequence = start(session);
    last_top.head.all_rows = false;
    StepSegment drawn = segment_of(start(session), prompt, HeadSpec::Kind::Sample);
    drawn.head.sample.temperature = 0.8;
    drawn.head.sample.seed = 7;
    const StepSegment silent = segment_of(start(session), prompt);
    const TracedStep result = step(session, {targets, drawn, silent, top, last_top});

    CHECK_EQ(result.logprobs.size(), 9u);
    for (size_t i = 0; i < 8; ++i) {
      CHECK_EQ(result.logprobs[i], logprob(targets.head.rows[i], targets.head.targets[i]));
      CHECK_EQ(int{result.is_greedy[i]},
               argmax(row_of(targets.head.rows[i]), config.vocab_size) == targets.head.targets[i] ? 1 : 0);
    }
    CHECK_EQ(int{result.is_greedy[3]}, 1);
    CHECK_EQ(result.top_ids.size(), 5 * (prompt.size() + 1));
    for (size_t row = 0; row < prompt.size(); ++row) {
      for (size_t rank = 0; rank < 5; ++rank) {
        const int32_t token = result.top_ids[row * 5 + rank];
        CHECK_EQ(result.top_logprobs[row * 5 + rank], logprob(row, token));
        int larger = 0;
        for (int other = 0; other < config.vocab_size; ++other) larger += row_of(row)[other] > row_of(row)[token];
        CHECK_EQ(larger, static_cast<int>(rank));
      }
    }
    CHECK(std::equal(result.top_ids.end() - 5, result.top_ids.end(), result.top_ids.end() - 10));
    std::vector<float> last(row_of(39), row_of(39) + config.vocab_size);
    const int32_t expected = sample_token(last, drawn.head.sample, 40);
    CHECK_EQ(result.sampled_ids.at(0), expected);
    CHECK_EQ(result.logprobs[8], logprob(39, expected));
  }
}

CASE("interventions act on their sequence alone, and counts follow the selection") {
  const TinyCheckpoint& model = qwen2_moe();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(30, config.vocab_size, 15);
  Session session(model.load(2), CacheType::F32, 512);
  const Rows plain = whole(session, prompt);
  RouteRequest wide{{}, {2}};
  wide.rule.kind = RouteRule::Kind::TopK;
  wide.rule.k = 6;
  wide.rule.scope.position_start = 10;
  const int changed = session.create_sequence(make_route_plan(config, {wide}));
  const TracedStep result = step(
      session,
      {segment_of(changed, prompt, HeadSpec::Kind::Logits), segment_of(start(session), prompt, HeadSpec::Kind::Logits)},
      CaptureLevel::Topk);
  const auto row_bytes = sizeof(float) * config.vocab_size;
  CHECK(std::memcmp(&result.logits[30 * config.vocab_size], plain.logits.data(), 30 * row_bytes) == 0);
  CHECK(std::memcmp(result.logits.data(), plain.logits.data(), 10 * row_bytes) == 0);
  CHECK(std::memcmp(&result.logits[10 * config.vocab_size], &plain.logits[10 * config.vocab_size], row_bytes) != 0);
  CHECK_EQ(result.top_k, 6);
  for (int row = 0; row < 60; ++row) {
    for (int layer = 0; layer < 2; ++layer) {
      const bool acts = row >= 10 && row < 30 && layer == 1;
      const uint16_t* slots = &result.topk_experts[(row * 2 + layer) * 6];
      CHECK_EQ(int{result.intervened[row * 2 + layer]}, acts ? 1 : 0);
      CHECK_EQ(slots[3] == kNoExpert, false);
      CHECK_EQ(slots[4] == kNoExpert, !acts);
    }
  }

  // Counts go by the selected expert, not by the one that a swap puts in.
  const std::vector<uint64_t> before = session.expert_counts();
  RouteRequest swapped{{}, {0}};
  swapped.rule.kind = RouteRule::Kind::Swap;
  swapped.rule.from = result.topk_experts[0];
  swapped.rule.to = static_cast<uint16_t>((swapped.rule.from + 1) % config.num_experts);
  const TracedStep one =
      step(session, {segment_of(session.create_sequence(make_route_plan(config, {swapped})), {prompt[0]})},
           CaptureLevel::Topk);
  for (int expert = 0; expert < config.num_experts; ++expert) {
    const bool is_selected = std::find(&one.topk_experts[0], &one.topk_experts[4], expert) != &one.topk_experts[4];
    CHECK_EQ(session.expert_counts()[expert] - before[expert], is_selected ? 1u : 0u);
  }
  CHECK_EQ(one.topk_experts[0], swapped.rule.from);
  CHECK_EQ(int{one.intervened[0]}, 1);
}

CASE("a zeroed shared expert adds nothing") {
  TinyCheckpoint model = tiny_qwen2_moe();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(12, config.vocab_size, 16);
  std::vector<RouteRequest> zero(1);
  zero[0].rule.kind = RouteRule::Kind::Zero;
  zero[0].rule.shared = true;
  zero[0].layers = {0, 2};
  Session session(model.load(), CacheType::F32, 512);
  const std::vector<float> plain = whole(session, prompt).logits;
  const std::vector<float> without =
      whole(session, prompt, session.create_sequence(make_route_plan(config, zero))).logits;
  CHECK(!same_bits(plain, without));
  for (auto& [role, values] : model.values) {
    if (role.find("shared.down") != std::string::npos) std::fill(values.begin(), values.end(), 0.0f);
  }
  const ReferenceDecoder::Result expected = ReferenceDecoder(model).run(prompt);
  for (size_t i = 0; i < without.size(); ++i) {
    CHECK_NEAR(without[i], expected.logits[i / config.vocab_size][i % config.vocab_size], 1e-3);
  }
}

CASE("a request that cannot be met is refused, and lengths stay") {
  const ModelConfig& config = qwen2_moe().config;
  Session session(qwen2_moe().load(), CacheType::BF16, 16);
  const int a = start(session), b = start(session);
  step(session, {segment_of(a, random_tokens(70, config.vocab_size, 17))});
  const auto head = [&](HeadSpec::Kind kind, std::vector<int32_t> rows, std::vector<int32_t> targets, int top_n = 0) {
    StepSegment segment = segment_of(b, {1, 2, 3}, kind);
    segment.head.rows = std::move(rows);
    segment.head.targets = std::move(targets);
    segment.head.top_n = top_n;
    return segment;
  };
  using Kind = HeadSpec::Kind;
  CHECK_FAILS(step(session, {segment_of(a, {0, config.vocab_size})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(a, {-1})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(a, {})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(a, {1}), segment_of(b, {1}), segment_of(a, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(2, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(-1, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {segment_of(a, std::vector<int32_t>(443, 1))}), ContextTooLong);
  CHECK_FAILS(step(session, {head(Kind::Targets, {0, 1}, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Targets, {1, 0}, {1, 1})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Targets, {3}, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Targets, {-1}, {1})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Targets, {1}, {config.vocab_size})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Targets, {1}, {-1})}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Top, {}, {}, 0)}), InvalidArgument);
  CHECK_FAILS(step(session, {head(Kind::Top, {}, {}, config.vocab_size + 1)}), InvalidArgument);
  CHECK_FAILS(session.fork_sequence(a, 71, make_route_plan(config, {})), InvalidArgument);
  CHECK_FAILS(session.truncate_sequence(a, 71), InvalidArgument);
  CHECK_FAILS(session.release_sequence(2), InvalidArgument);
  CHECK_EQ(session.sequence_length(a), 70);
  CHECK_EQ(session.sequence_length(b), 0);
  step(session, {segment_of(a, std::vector<int32_t>(442, 1))});
  CHECK_EQ(session.sequence_length(a), 512);
  CHECK_FAILS(step(session, {segment_of(a, {1})}), ContextTooLong);
  session.release_sequence(a);
  session.release_sequence(b);
  CHECK_EQ(session.cache_bytes(), 0u);
}

CASE("a step that fails midway leaves lengths, counts and the bits of the next step as they were") {
  const TinyCheckpoint& model = mixtral();
  const ModelConfig& config = model.config;
  const std::vector<int32_t> prompt = random_tokens(kPromptTokens, config.vocab_size, 11);
  Session session(model.load(2), CacheType::F32, 16);
  const int probe = start(session), other = start(session);
  step(session, {segment_of(probe, part(prompt, 0, 60))});
  const std::vector<uint64_t> counts = session.expert_counts();
  const size_t bytes = session.cache_bytes();
  // The replayed route ends at position 40 of the second sequence: the first is done by then, with several chunks.
  RouteRequest replay{{}, {1}};
  replay.rule.kind = RouteRule::Kind::Replay;
  replay.rule.route_k = 3;
  replay.rule.route_layers = 1;
  for (int slot = 0; slot < 40 * 3; ++slot) replay.rule.route_experts.push_back(slot % 3);
  const int replayed = session.create_sequence(make_route_plan(config, {replay}));
  CHECK_FAILS(step(session, {segment_of(probe, part(prompt, 60, 100)), segment_of(other, {1}),
                             segment_of(replayed, part(prompt, 0, 41))}),
              InvalidArgument);
  CHECK_EQ(session.sequence_length(probe), 60);
  CHECK_EQ(session.sequence_length(other), 0);
  CHECK_EQ(session.sequence_length(replayed), 0);
  CHECK_EQ(session.cache_bytes(), bytes);
  CHECK(session.expert_counts() == counts);
  Session alone(model.load(), CacheType::F32, 512);
  const Rows expected = last_rows(whole(alone, prompt), config, kPromptTokens - 60);
  check_same("after a failed step", model, whole(session, part(prompt, 60, prompt.size()), probe), expected);
}

CASE("weights that are not finite are refused where the router or the head meets them") {
  for (const char* role : {"layers.0.router", "layers.1.down", "layers.2.experts.3.up", "head"}) {
    const TinyCheckpoint model = tiny_qwen2_moe();
    std::vector<std::byte> bytes = model.bytes();
    const auto entry =
        std::find_if(model.tensors.begin(), model.tensors.end(), [&](const auto& t) { return t.role == role; });
    const uint16_t nan = 0x7fc0;
    for (int64_t row = 0; row < entry->rows; ++row) std::memcpy(&bytes[entry->offset + row * entry->cols * 2], &nan, 2);
    const TemporaryFile file(bytes);
    auto broken = std::make_shared<Model>();
    broken->config = model.config;
    broken->weights = std::make_unique<Weights>(model.config, std::vector<std::string>{file.path()}, model.tensors);
    broken->backend = std::make_unique<CpuBackend>(broken->config, *broken->weights, 2, best_kernels());
    Session session(broken, CacheType::F32, 64);
    const int sequence = start(session);
    const std::vector<int32_t> prompt = random_tokens(30, model.config.vocab_size, 18);
    StepSegment targets = segment_of(sequence, prompt, HeadSpec::Kind::Targets);
    for (int row = 0; row < 30; ++row) targets.head.rows.push_back(row);
    targets.head.targets.assign(30, 0);
    CHECK_FAILS(step(session, {targets}), Invariant);
    CHECK_FAILS(step(session, {segment_of(sequence, prompt, HeadSpec::Kind::Logits)}), Invariant);
    CHECK_EQ(session.sequence_length(sequence), 0);
    if (std::string(role) == "layers.0.router") {
      // Named where it arises, not where it ends up.
      std::string message;
      try {
        step(session, {targets});
      } catch (const Error& error) {
        message = error.what();
      }
      CHECK(message.find("router logit of layer 0 is not finite at position") != std::string::npos);
    }
    if (std::string(role) == "head") {
      CHECK_FAILS(step(session, {segment_of(sequence, prompt, HeadSpec::Kind::Sample)}), Invariant);
    }
  }
}

CASE("an expert that is not finite can be zeroed and routed around") {
  const TinyCheckpoint model = tiny_qwen2_moe();
  std::vector<std::byte> bytes = model.bytes();
  for (const TensorEntry& entry : model.tensors) {
    if (entry.role != "layers.2.experts.3.up" && entry.role != "layers.2.shared.up") continue;
    const uint16_t nan = 0x7fc0;
    std::memcpy(&bytes[entry.offset], &nan, 2);
  }
  const TemporaryFile file(bytes);
  auto broken = std::make_shared<Model>();
  broken->config = model.config;
  broken->weights = std::make_unique<Weights>(model.config, std::vector<std::string>{file.path()}, model.tensors);
  broken->backend = std::make_unique<CpuBackend>(broken->config, *broken->weights, 1, best_kernels());
  RouteRequest zero{{}, {2}};
  zero.rule.kind = RouteRule::Kind::Zero;
  zero.rule.experts = {3};
  zero.rule.shared = true;
  const std::vector<int32_t> prompt = random_tokens(30, model.config.vocab_size, 18);
  Session session(broken, CacheType::F32, 64), sound(model.load(), CacheType::F32, 64);
  Rows a = whole(session, prompt, session.create_sequence(make_route_plan(model.config, {zero})));
  Rows b = whole(sound, prompt, sound.create_sequence(make_route_plan(model.config, {zero})));
  for (Rows* rows : {&a, &b}) rows->expert_norms = rows->shared_norm = {};  // what experts put out, taken or not: NaN
  check_same("without the broken expert", model, a, b);
}

CASE("a flag set from another thread ends a step midway, and the session goes on") {
  const TinyCheckpoint& model = mixtral();
  const std::vector<int32_t> prompt = random_tokens(400, model.config.vocab_size, 19);
  Session session(model.load(2), CacheType::F32, 8);
  const int sequence = start(session);
  const std::vector<int32_t> first = part(prompt, 0, 5);
  step(session, {segment_of(sequence, first)});

  std::atomic<bool> cancel = false, running = false;
  std::thread canceller([&] {
    while (!running.load()) std::this_thread::yield();
    cancel.store(true);
  });
  int64_t rows_done = 0;
  CHECK_FAILS(session.step({{segment_of(sequence, part(prompt, 5, 400))}}, &cancel,
                           [&](int64_t rows) {
                             rows_done = rows;
                             running.store(true);
                             // At most one more chunk may start before the flag is seen, so wait for it once.
                             while (!cancel.load()) std::this_thread::yield();
                           }),
              Aborted);
  canceller.join();
  CHECK_EQ(rows_done, 8);
  CHECK_EQ(session.sequence_length(sequence), 5);
  // The flag was of that step alone.
  std::vector<int64_t> progress;
  session.step({{segment_of(sequence, part(prompt, 5, 25))}}, nullptr, [&](int64_t rows) { progress.push_back(rows); });
  CHECK(progress == std::vector<int64_t>({8, 16, 20}));

  std::atomic<bool> set_before = true;
  CHECK_FAILS(session.step({{segment_of(sequence, {1})}}, &set_before, nullptr), Aborted);
  CHECK_EQ(session.sequence_length(sequence), 25);
}
