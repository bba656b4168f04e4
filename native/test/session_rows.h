// Steps of sessions on the tiny models, and what they computed for one sequence, row by row, for comparison bit by bit.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/session.h"
#include "test/tiny_model.h"

namespace moescope::check {

constexpr int kPromptTokens = 139;  // two whole tiles of keys and a part

inline const TinyCheckpoint& llama() {
  static const TinyCheckpoint made = tiny_llama();
  return made;
}
inline const TinyCheckpoint& qwen2() {
  static const TinyCheckpoint made = tiny_qwen2();
  return made;
}
inline const TinyCheckpoint& mixtral() {
  static const TinyCheckpoint made = tiny_mixtral();
  return made;
}
inline const TinyCheckpoint& qwen2_moe() {
  static const TinyCheckpoint made = tiny_qwen2_moe();
  return made;
}

// ThreadSanitizer looks for races, which one way of multiplying and one cache type show as well as all; it is some ten times slower.
// An emulator is a hundred times slower: one model must do, and other tests compare the kernels of all ways there.
#if defined(MOESCOPE_UNDER_QEMU)
constexpr bool kIsSlow = true, kIsEmulated = true;
#elif defined(__SANITIZE_THREAD__)
constexpr bool kIsSlow = true, kIsEmulated = false;
#else
constexpr bool kIsSlow = false, kIsEmulated = false;
#endif

inline const std::vector<const TinyCheckpoint*>& all_models() {
  static const std::vector<const TinyCheckpoint*> all = {&llama(), &qwen2(), &mixtral(), &qwen2_moe()};
  static const std::vector<const TinyCheckpoint*> one = {&qwen2_moe()};
  return kIsEmulated ? one : all;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

inline int start(Session& session) { return session.create_sequence(make_route_plan(session.config(), {})); }

inline StepSegment segment_of(int sequence, std::vector<int32_t> tokens, HeadSpec::Kind kind = HeadSpec::Kind::None) {
  StepSegment segment;
  segment.sequence = sequence;
  segment.tokens = std::move(tokens);
  segment.head.kind = kind;
  segment.head.all_rows = true;
  return segment;
}

// A step with all of its routes; without a level it has none.
struct TracedStep : StepResult, TraceBlock {};

inline TracedStep step(Session& session, std::vector<StepSegment> segments,
                       std::optional<CaptureLevel> level = std::nullopt, HookHost* host = nullptr) {
  StepRequest request;
  request.segments = std::move(segments);
  int top_k = session.config().num_experts_per_token, rows = 0;
  for (const StepSegment& segment : request.segments) {
    if (level) top_k = std::max(top_k, session.max_top_k(segment.sequence));
    rows += static_cast<int>(segment.tokens.size());
  }
  TraceBlock trace(session.config(), level.value_or(CaptureLevel::Topk), level ? rows : 0, top_k);
  if (level) request.trace = &trace;
  StepResult result = session.step(request, nullptr, nullptr, host);
  return {std::move(result), std::move(trace)};
}

inline std::vector<int32_t> part(const std::vector<int32_t>& tokens, size_t first, size_t end) {
  return {tokens.begin() + first, tokens.begin() + end};
}

// Ways of multiplying in precision fast that are worth a test here.
inline int num_ways() { return kIsSlow ? 1 : num_fast_kernels(); }

// What one sequence computed, row by row: (rows, ...) each, in the order of positions.
struct Rows {
  std::vector<float> logits;
  std::vector<uint16_t> topk_experts;
  std::vector<float> topk_weights, shared_gate, margin, router_logits;
  std::vector<float> router_input, expert_norms, shared_norm, residual;

  // Adds rows [first, first + count) of a step; its logits start at `logit_row`.
  void add(const TracedStep& r, const ModelConfig& config, int64_t first, int64_t count, int64_t logit_row) {
    const auto take = [](auto& to, const auto& from, int64_t at, int64_t number, int64_t width) {
      to.insert(to.end(), from.begin() + at * width, from.begin() + (at + number) * width);
    };
    const int64_t layers = r.num_moe_layers;
    take(logits, r.logits, logit_row, count, config.vocab_size);
    take(topk_experts, r.topk_experts, first, count, layers * r.top_k);
    take(topk_weights, r.topk_weights, first, count, layers * r.top_k);
    if (!r.shared_gate.empty()) take(shared_gate, r.shared_gate, first, count, layers);
    take(margin, r.margin, first, count, layers);
    take(router_logits, r.router_logits, first, count, layers * config.num_experts);
    take(router_input, r.router_input, first, count, layers * config.hidden_size);
    take(expert_norms, r.expert_norms, first, count, layers * r.top_k);
    if (!r.shared_norm.empty()) take(shared_norm, r.shared_norm, first, count, layers);
    take(residual, r.residual, first, count, static_cast<int64_t>(config.num_layers) * config.hidden_size);
  }
};

inline void check_same(const char* what, const TinyCheckpoint& model, const Rows& actual, const Rows& expected) {
  const bool same =
      same_bits(actual.logits, expected.logits) && same_bits(actual.topk_experts, expected.topk_experts) &&
      same_bits(actual.topk_weights, expected.topk_weights) && same_bits(actual.shared_gate, expected.shared_gate) &&
      same_bits(actual.margin, expected.margin) && same_bits(actual.router_logits, expected.router_logits) &&
      same_bits(actual.router_input, expected.router_input) && same_bits(actual.expert_norms, expected.expert_norms) &&
      same_bits(actual.shared_norm, expected.shared_norm) && same_bits(actual.residual, expected.residual);
  const char* way = fast_under_test == nullptr ? "ref" : fast_under_test->name;
  if (!same) report(__FILE__, __LINE__, model.config.architecture, ", ", way, ": other bits ", what);
}

// The last `keep` rows, for comparison with work that began after a prefix.
inline Rows last_rows(const Rows& rows, const ModelConfig& config, int keep) {
  Rows kept;
  const auto tail = [&](auto& to, const auto& from, int64_t width) {
    to.assign(from.end() - keep * width, from.end());
  };
  const int64_t layers = config.num_moe_layers(), slots = layers * config.num_experts_per_token;
  tail(kept.logits, rows.logits, config.vocab_size);
  tail(kept.topk_experts, rows.topk_experts, slots);
  tail(kept.topk_weights, rows.topk_weights, slots);
  if (!rows.shared_gate.empty()) tail(kept.shared_gate, rows.shared_gate, layers);
  tail(kept.margin, rows.margin, layers);
  tail(kept.router_logits, rows.router_logits, layers * config.num_experts);
  tail(kept.router_input, rows.router_input, layers * config.hidden_size);
  tail(kept.expert_norms, rows.expert_norms, slots);
  if (!rows.shared_norm.empty()) tail(kept.shared_norm, rows.shared_norm, layers);
  tail(kept.residual, rows.residual, static_cast<int64_t>(config.num_layers) * config.hidden_size);
  return kept;
}

// All of `tokens` in one step on a sequence of its own or on `sequence`.
inline Rows whole(Session& session, const std::vector<int32_t>& tokens, int sequence = -1) {
  if (sequence < 0) sequence = start(session);
  const TracedStep result = step(session, {segment_of(sequence, tokens, HeadSpec::Kind::Logits)}, CaptureLevel::Hidden);
  Rows rows;
  rows.add(result, session.config(), 0, static_cast<int64_t>(tokens.size()), 0);
  return rows;
}

// Runs `compare` with what each model computes for a prompt alone, in chunks of 512 on one thread: in both precisions, in every way of
// this machine to multiply, the first for all cache types.
inline void for_each_model(
    const std::function<void(const TinyCheckpoint&, CacheType, const std::vector<int32_t>& prompt,
                             const Rows& expected)>& compare) {
  for (int way = -1; way < num_ways(); ++way) {
    fast_under_test = way < 0 ? nullptr : &fast_kernels(way);
    for (const TinyCheckpoint* model : all_models()) {
      const std::vector<int32_t> prompt = random_tokens(kPromptTokens, model->config.vocab_size, 11);
      for (CacheType type : {CacheType::F32, CacheType::BF16, CacheType::F16, CacheType::Q8_0}) {
        // Ways differ in products with weights only: one cache type says enough of all but the first.
        if ((way >= 0 || kIsSlow) && type != CacheType::BF16) continue;
        Session session(model->load(), type, 512);
        compare(*model, type, prompt, whole(session, prompt));
      }
    }
  }
  fast_under_test = nullptr;
}

}  // namespace moescope::check
