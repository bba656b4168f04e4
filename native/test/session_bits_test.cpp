// The same bits however the work of a session is cut into batches, chunks, prefixes, threads and instruction sets.
#include <thread>

#include "test/session_rows.h"

using namespace moescope;
using namespace moescope::check;

CASE("the bits do not depend on how a prompt is cut into chunks") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    for (int chunk_rows : {1, 3, 16, 64}) {
      Session session(model.load(), type, chunk_rows);
      check_same("in other chunks", model, whole(session, prompt), expected);
    }
  });
}

CASE("the bits do not depend on the number of threads") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    Session session(model.load(4), type, 64);
    check_same("on 4 threads", model, whole(session, prompt), expected);
  });
}

CASE("the bits do not depend on the instruction set of what is fp32") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    for (int variant = 0; variant < num_kernel_variants(); ++variant) {
      Session session(model.load(2, kernel_variant(variant)), type, 512);
      check_same(kernel_variant(variant).name, model, whole(session, prompt), expected);
    }
  });
}

CASE("the ways to multiply integers give the same bits") {
  for (const TinyCheckpoint* model : all_models()) {
    const std::vector<int32_t> prompt = random_tokens(kPromptTokens, model->config.vocab_size, 11);
    std::vector<Rows> found;
    for (int way = 0; way < num_fast_kernels(); ++way) {
      if (fast_kernels(way).integers == nullptr || fast_kernels(way).bf16 != nullptr) continue;
      Session session(model->load(2, best_kernels(), &fast_kernels(way)), CacheType::BF16, 512);
      found.push_back(whole(session, prompt));
      check_same(fast_kernels(way).name, *model, found.back(), found.front());
    }
  }
}

// Every block format in a model of its own, where the values of its random blocks allow one.
CASE("the bits of every weight type do not depend on chunks and threads, in every way to multiply") {
  for (DType dtype : all_types()) {
    const TinyCheckpoint model = tiny_of(dtype);
    const std::vector<int32_t> prompt = random_tokens(37, model.config.vocab_size, 12);
    for (int way = 0; way < num_ways(); ++way) {
      const auto run = [&](int threads, int chunk_rows) {
        Session session(model.load(threads, best_kernels(), &fast_kernels(way)), CacheType::BF16, chunk_rows);
        return whole(session, prompt);
      };
      const Rows expected = run(1, 512);
      const std::string what = std::string(dtype_name(dtype)) + " by " + fast_kernels(way).name;
      check_same((what + " in other chunks").c_str(), model, run(1, 5), expected);
      check_same((what + " row by row").c_str(), model, run(1, 1), expected);
      check_same((what + " on 3 threads").c_str(), model, run(3, 20), expected);
    }
  }
}

CASE("the bits do not depend on 64 other sequences in the batch") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    const ModelConfig& config = model.config;
    constexpr int kDecoded = 6;
    for (int chunk_rows : {50, 512}) {
      Session session(model.load(2), type, chunk_rows);
      Random random(13);
      std::vector<int> others;
      std::vector<StepSegment> prefill;
      for (int other = 0; other < 64; ++other) {
        others.push_back(start(session));
        prefill.push_back(
            segment_of(others.back(), random_tokens(1 + random.below(12), config.vocab_size, 100 + other)));
      }
      step(session, prefill);

      // The prompt as one segment among decode steps of the others, then token by token among them.
      const int probe = start(session);
      const size_t prompt_end = prompt.size() - kDecoded;
      Rows rows;
      for (size_t token = prompt_end; token <= prompt.size(); ++token) {
        std::vector<StepSegment> segments;
        const int place = random.below(65);
        int64_t rows_before = 0;
        for (int other = 0; other <= 64; ++other) {
          if (other == place) {
            const size_t first = token == prompt_end ? 0 : token - 1;
            segments.push_back(segment_of(probe, part(prompt, first, token), HeadSpec::Kind::Logits));
          }
          if (other == 64) continue;
          segments.push_back(segment_of(others[other], {random.below(config.vocab_size)}));
          if (other < place) ++rows_before;
        }
        const TracedStep result = step(session, segments, CaptureLevel::Hidden);
        rows.add(result, config, rows_before, token == prompt_end ? static_cast<int64_t>(prompt_end) : 1, 0);
      }
      // The parts were added step by step, so the layers' rows are in order.
      check_same("among 64 others", model, rows, expected);
    }
  });
}

CASE("a forked prefix, and a prefix kept by truncation, give the bits of the whole") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    const ModelConfig& config = model.config;
    Session session(model.load(), type, 512);
    const int source = start(session);
    step(session, {segment_of(source, prompt)});
    for (int prefix : {1, 63, 64, 65, 100, 128, 138}) {
      const int keep = kPromptTokens - prefix;
      const Rows tail = last_rows(expected, config, keep);
      const std::vector<int32_t> rest = part(prompt, prefix, prompt.size());
      const int forked = session.fork_sequence(source, prefix, make_route_plan(config, {}));
      const int other = session.fork_sequence(source, prefix, make_route_plan(config, {}));
      step(session,
           {segment_of(other, random_tokens(9, config.vocab_size, prefix))});  // must not write into the shared page
      check_same("after a fork", model, whole(session, rest, forked), tail);

      session.truncate_sequence(forked, prefix);
      step(session, {segment_of(forked, random_tokens(70, config.vocab_size, 1000 + prefix))});
      session.truncate_sequence(forked, prefix);
      check_same("after truncation", model, whole(session, rest, forked), tail);
      session.release_sequence(forked);
      session.release_sequence(other);
    }
    // The source is as it was.
    session.truncate_sequence(source, kPromptTokens - 1);
    check_same("of the source of forks", model, whole(session, part(prompt, kPromptTokens - 1, prompt.size()), source),
               last_rows(expected, config, 1));
  });
}

CASE("capture does not change bits, and every level fills what it says") {
  for_each_model([](const TinyCheckpoint& model, CacheType type, const auto& prompt, const Rows& expected) {
    Session session(model.load(), type, 100);
    const size_t row_layers = prompt.size() * model.config.num_moe_layers();
    const std::optional<CaptureLevel> none;
    for (auto level : {none, {CaptureLevel::Topk}, {CaptureLevel::Logits}, {CaptureLevel::Hidden}}) {
      const TracedStep result = step(session, {segment_of(start(session), prompt, HeadSpec::Kind::Logits)}, level);
      CHECK(same_bits(result.logits, expected.logits));
      const size_t recorded = level ? row_layers : 0;
      CHECK_EQ(result.topk_experts.size(), recorded * model.config.num_experts_per_token);
      CHECK_EQ(result.margin.size(), recorded);
      CHECK_EQ(result.shared_gate.size(), model.config.shared_expert_intermediate_size > 0 ? recorded : 0);
      CHECK_EQ(result.router_logits.size(), level >= CaptureLevel::Logits ? row_layers * model.config.num_experts : 0);
      const size_t hidden = level == CaptureLevel::Hidden ? model.config.hidden_size : 0;
      CHECK_EQ(result.residual.size(), prompt.size() * model.config.num_layers * hidden);
      CHECK_EQ(result.router_input.size(), row_layers * hidden);
      CHECK_EQ(result.expert_norms.size(), hidden > 0 ? row_layers * model.config.num_experts_per_token : 0);
      CHECK_EQ(result.shared_norm.size(), hidden > 0 ? result.shared_gate.size() : 0);
    }
    const std::vector<uint64_t>& counts = session.expert_counts();
    const uint64_t per_layer = 4 * prompt.size() * model.config.num_experts_per_token;
    for (int layer = 0; layer < model.config.num_moe_layers(); ++layer) {
      uint64_t sum = 0;
      for (int expert = 0; expert < model.config.num_experts; ++expert)
        sum += counts[layer * model.config.num_experts + expert];
      CHECK_EQ(sum, per_layer);
    }
  });
}

CASE("two sessions step on one model from two threads with the bits of each alone") {
  const TinyCheckpoint& model = qwen2_moe();
  const std::shared_ptr<Model> shared = model.load(2);
  std::vector<Rows> together(2), alone(2);
  std::vector<std::thread> threads;
  const auto decode = [&](Session& session, int index) {
    const std::vector<int32_t> tokens = random_tokens(40, model.config.vocab_size, 20 + index);
    const int sequence = start(session);
    Rows rows;
    for (int32_t token : tokens) {
      const TracedStep result =
          step(session, {segment_of(sequence, {token}, HeadSpec::Kind::Logits)}, CaptureLevel::Hidden);
      rows.add(result, model.config, 0, 1, 0);
    }
    return rows;
  };
  for (int index = 0; index < 2; ++index) {
    Session session(model.load(), CacheType::BF16, 512);
    alone[index] = decode(session, index);
    threads.emplace_back([&, index] {
      Session mine(shared, CacheType::BF16, 512);
      together[index] = decode(mine, index);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int index = 0; index < 2; ++index) check_same("beside another session", model, together[index], alone[index]);
}

// Pages that several sequences share are read once for all of them, and the tiles of a long context are divided among threads.
CASE("the bits do not depend on sequences that share pages, nor on threads that share a long context") {
  for (const auto make : {tiny_qwen2_moe, tiny_llama}) {
    TinyCheckpoint model = make();
    model.config.max_context = 1024;
    const ModelConfig& config = model.config;
    constexpr int kPrefix = 600, kForks = 15;
    const std::vector<int32_t> prompt = random_tokens(kPrefix, config.vocab_size, 31);
    for (CacheType type : {CacheType::F32, CacheType::Q8_0}) {
      // Forks at many lengths, some before the prefix ends; the last rows of each alone on one thread, then all in one step on three.
      const auto prefix_of = [](int fork) { return fork % 3 == 0 ? kPrefix : kPrefix - 37 * fork; };
      const auto tokens_of = [&](int fork) { return random_tokens(1 + fork % 4, config.vocab_size, 40 + fork); };
      const auto run = [&](int threads, bool together) {
        Session session(model.load(threads), type, 512);
        const int source = start(session);
        step(session, {segment_of(source, prompt)});
        std::vector<StepSegment> segments;
        for (int fork = 0; fork < kForks; ++fork) {
          const int sequence = session.fork_sequence(source, prefix_of(fork), make_route_plan(config, {}));
          segments.push_back(segment_of(sequence, tokens_of(fork), HeadSpec::Kind::Logits));
        }
        std::vector<float> logits;
        const auto take = [&](const StepResult& result) {
          logits.insert(logits.end(), result.logits.begin(), result.logits.end());
        };
        if (together) take(step(session, segments));
        for (const StepSegment& segment : segments) {
          if (!together) take(step(session, {segment}));
        }
        return logits;
      };
      const std::vector<float> expected = run(1, false);
      CHECK(same_bits(run(1, true), expected));
      CHECK(same_bits(run(3, true), expected));
      CHECK(same_bits(run(3, false), expected));
    }
    if (kIsSlow) break;
  }
}
