// How one token is drawn from one row of logits. The order is that of transformers' logits processors and warpers: penalties,
// allowed tokens, temperature, top-k, top-p, min-p. The random number depends on (seed, stream, position) alone.
#pragma once

#include <cstdint>
#include <vector>

namespace moescope {

struct SampleSpec {
  double repetition_penalty = 1;         // > 0; Keskar et al. 2019: positive logits divided, negative multiplied
  double presence_penalty = 0;           // OpenAI: subtracted once from a token that was generated
  double frequency_penalty = 0;          // OpenAI: subtracted for each time that it was
  std::vector<int32_t> penalty_tokens;   // the sequence so far
  int64_t generated_start = 0;           // index in penalty_tokens of the first generated token
  std::vector<uint32_t> allowed_tokens;  // bit t allows token t; empty: all
  double temperature = 0;                // 0: greedy, ties to the lower id
  int32_t top_k = 0;                     // 0: off
  double top_p = 1;                      // 1: off
  double min_p = 0;                      // 0: off
  uint64_t seed = 0;
  uint64_t stream = 0;
};

// Uniform in [0, 1) with 53 bits, a pure function of its arguments (SplitMix64 finalisers, Steele et al. 2014).
double counter_uniform(uint64_t seed, uint64_t stream, uint64_t position);

// log(sum(exp(logits))) in double, the largest taken out first.
double log_sum_exp(const float* logits, int64_t vocab_size);

// Index of the largest logit, ties to the lower id.
int32_t argmax(const float* logits, int64_t vocab_size);

// `logits` is changed by penalties and masks. `position`: of the token that is drawn. Invariant: a NaN logit.
int32_t sample_token(std::vector<float>& logits, const SampleSpec& spec, int64_t position);

}  // namespace moescope
