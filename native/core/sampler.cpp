#include "core/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "core/error.h"

namespace moescope {

namespace {

uint64_t mix(uint64_t value) {
  value += 0x9E3779B97F4A7C15u;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
  return value ^ (value >> 31);
}

void apply_penalties(std::vector<float>& logits, const SampleSpec& spec) {
  if (spec.repetition_penalty == 1 && spec.presence_penalty == 0 && spec.frequency_penalty == 0) return;
  std::unordered_map<int32_t, int> generated;  // every token so far, with the number of times it was generated
  for (size_t index = 0; index < spec.penalty_tokens.size(); ++index) {
    const int32_t token = spec.penalty_tokens[index];
    if (token < 0 || static_cast<size_t>(token) >= logits.size()) continue;
    generated[token] += static_cast<int64_t>(index) >= spec.generated_start ? 1 : 0;
  }
  for (const auto& [token, count] : generated) {
    double logit = logits[token];
    logit = logit > 0 ? logit / spec.repetition_penalty : logit * spec.repetition_penalty;
    if (count > 0) logit -= spec.presence_penalty + spec.frequency_penalty * count;
    logits[token] = static_cast<float>(logit);
  }
}

void apply_mask(std::vector<float>& logits, const std::vector<uint32_t>& allowed) {
  if (allowed.empty()) return;
  for (size_t token = 0; token < logits.size(); ++token) {
    const bool is_allowed = token / 32 < allowed.size() && (allowed[token / 32] >> (token % 32) & 1u) != 0;
    if (!is_allowed) logits[token] = -std::numeric_limits<float>::infinity();
  }
}

struct Candidate {
  int32_t token;
  double probability;
};

// Candidates that top-k, top-p and min-p leave, most likely first, ties to the lower id; probabilities not renormalised.
std::vector<Candidate> candidates(const std::vector<float>& logits, const SampleSpec& spec) {
  std::vector<int32_t> order;
  for (size_t token = 0; token < logits.size(); ++token) {
    if (logits[token] != -std::numeric_limits<float>::infinity()) order.push_back(static_cast<int32_t>(token));
  }
  const auto more_likely = [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  const size_t keep = spec.top_k > 0 ? std::min<size_t>(spec.top_k, order.size()) : order.size();
  if (keep < order.size()) {
    std::nth_element(order.begin(), order.begin() + keep, order.end(), more_likely);
    order.resize(keep);
  }
  std::sort(order.begin(), order.end(), more_likely);

  std::vector<Candidate> left;
  double sum = 0;
  for (int32_t token : order) {
    const double probability =
        std::exp((static_cast<double>(logits[token]) - logits[order.front()]) / spec.temperature);
    left.push_back({token, probability});
    sum += probability;
  }
  // Nucleus (Holtzman et al. 2019): the shortest prefix whose mass reaches top_p; the first candidate always stays.
  double before = 0;
  size_t kept = 0;
  while (kept < left.size() && (kept == 0 || before < spec.top_p * sum)) before += left[kept++].probability;
  left.resize(kept);
  while (left.size() > 1 && left.back().probability < spec.min_p * left.front().probability) left.pop_back();
  return left;
}

}  // namespace

double counter_uniform(uint64_t seed, uint64_t stream, uint64_t position) {
  const uint64_t bits = mix(mix(mix(seed) ^ stream) ^ position);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

double log_sum_exp(const float* logits, int64_t vocab_size) {
  const double largest = *std::max_element(logits, logits + vocab_size);
  double sum = 0;
  for (int64_t token = 0; token < vocab_size; ++token) sum += std::exp(logits[token] - largest);
  return largest + std::log(sum);
}

int32_t argmax(const float* logits, int64_t vocab_size) {
  return static_cast<int32_t>(std::max_element(logits, logits + vocab_size) - logits);
}

int32_t sample_token(std::vector<float>& logits, const SampleSpec& spec, int64_t position) {
  for (float logit : logits) {
    if (std::isnan(logit)) fail(ErrorCode::Invariant, "The model gave a logit that is not a number.");
  }
  apply_penalties(logits, spec);
  apply_mask(logits, spec.allowed_tokens);
  const int32_t best = argmax(logits.data(), static_cast<int64_t>(logits.size()));
  if (logits[best] == -std::numeric_limits<float>::infinity()) {
    fail(ErrorCode::InvalidArgument, "The allowed-token mask leaves no token to draw.");
  }
  if (spec.temperature == 0) return best;
  const std::vector<Candidate> left = candidates(logits, spec);
  double sum = 0;
  for (const Candidate& candidate : left) sum += candidate.probability;
  double remaining = counter_uniform(spec.seed, spec.stream, static_cast<uint64_t>(position)) * sum;
  for (const Candidate& candidate : left) {
    if (remaining < candidate.probability) return candidate.token;
    remaining -= candidate.probability;
  }
  return left.back().token;
}

}  // namespace moescope
