// What is asked of the logits of a row: log-probabilities, the most likely tokens, a drawn token; native/cpu/head.cpp on the device. The logits
// themselves are a matmul() of final-normed rows and stay there. The rules of a draw are those of core/sampler.h.
#pragma once

#include <cstdint>

#include "cuda/launch.h"

namespace moescope::cuda {

// A token of the sequence so far, each once, and how many times it was generated.
struct PenaltyToken {
  int32_t token;
  int32_t times_generated;
};

// SampleSpec as the device reads it; lists lie in arrays that all requests share.
struct DeviceSample {
  double repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;
  int32_t penalty_start = 0, penalty_count = 0;  // of HeadParams::penalties
  int32_t allowed_start = 0, allowed_count = 0;  // words of HeadParams::allowed; none: all tokens
  double temperature = 0, top_p = 1, min_p = 0;
  int32_t top_k = 0;
  uint64_t seed = 0, stream = 0;
};

struct TokenRequest {
  int32_t row = 0;      // of the logits
  int32_t target = -1;  // log p(target), and whether it is the argmax
  int32_t top_n = 0;
  int32_t is_sampled = 0;
  int64_t next_position = 0;  // of the token that is drawn
  DeviceSample sample;
};

struct TokenAnswer {
  float target_logprob;
  int32_t target_is_greedy;
  int32_t sampled_id;  // -1: the allowed tokens leave none
  float sampled_logprob;
  int32_t first_bad;        // lowest token whose logit is NaN or +inf, or INT32_MAX
  int32_t first_taken_out;  // lowest token whose logit is -inf, or INT32_MAX
  int32_t any_left;         // some logit is not -inf
};

// Of 4096 logits: the largest with the lowest of its tokens, and sum(exp(logit - largest)).
struct LogitStats {
  double sum;
  float largest;
  int32_t argmax;
  int32_t first_bad, first_taken_out;
};

constexpr int kStatsLogits = 4096;
MOESCOPE_ANYWHERE constexpr int num_stats(int vocab) { return (vocab + kStatsLogits - 1) / kStatsLogits; }

struct HeadParams {
  static constexpr int kThreads = 1024;
  static constexpr int kCandidates = 2048;  // that are sorted at once
  static constexpr KernelInfo kInfo{"head", kThreads,
                                    arena_bytes<uint64_t>(2 * kCandidates) + arena_bytes<uint64_t>(64)};

  int vocab = 0;
  int num_requests = 0;
  Global<const float> logits;  // (rows, vocab)
  int rows = 0;
  Global<LogitStats> stats;  // (rows, num_stats(vocab))
  Global<const TokenRequest> requests;
  Global<const PenaltyToken> penalties;
  Global<const uint32_t> allowed;  // bit t of a request's words allows token t
  Global<float> changed;  // (requests, vocab)  room for the logits after penalties; only requests that draw use it
  Global<TokenAnswer> answers;  // (requests)
  int max_top_n = 0;
  Global<int32_t> top_ids;     // (requests, max_top_n)
  Global<float> top_logprobs;  // (requests, max_top_n)
};

void answer(Stream& stream, const HeadParams& params);

}  // namespace moescope::cuda
