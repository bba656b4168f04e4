// cuda/head.cu against core/sampler.h: the same tokens, and log-probabilities within what their last rounding allows.
#include "cuda/head.h"

#include <climits>
#include <numeric>

#include "core/sampler.h"
#include "device_values.h"
#include "test/check.h"
#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct Answers {
  std::vector<cuda::TokenAnswer> answers;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
};

struct Asked {
  int row = 0, target = -1, top_n = 0;
  const SampleSpec* sample = nullptr;
  int64_t position = 0;
};

Answers ask(cuda::Stream& stream, const std::vector<float>& logits, int vocab, const std::vector<Asked>& asked) {
  std::vector<cuda::TokenRequest> requests;
  std::vector<cuda::PenaltyToken> penalties(1);
  std::vector<uint32_t> allowed(1);
  int max_top_n = 1;
  for (const Asked& one : asked) {
    cuda::TokenRequest request;
    request.row = one.row;
    request.target = one.target;
    request.top_n = one.top_n;
    request.next_position = one.position;
    max_top_n = std::max(max_top_n, one.top_n);
    if (one.sample != nullptr) {
      const SampleSpec& spec = *one.sample;
      request.is_sampled = 1;
      cuda::DeviceSample& sample = request.sample;
      sample.repetition_penalty = spec.repetition_penalty;
      sample.presence_penalty = spec.presence_penalty;
      sample.frequency_penalty = spec.frequency_penalty;
      sample.temperature = spec.temperature;
      sample.top_k = spec.top_k;
      sample.top_p = spec.top_p;
      sample.min_p = spec.min_p;
      sample.seed = spec.seed;
      sample.stream = spec.stream;
      sample.penalty_start = static_cast<int32_t>(penalties.size());
      for (int token = 0; token < vocab; ++token) {
        int times = 0;
        bool is_there = false;
        for (size_t index = 0; index < spec.penalty_tokens.size(); ++index) {
          if (spec.penalty_tokens[index] != token) continue;
          is_there = true;
          times += static_cast<int64_t>(index) >= spec.generated_start;
        }
        if (is_there) penalties.push_back({token, times});
      }
      sample.penalty_count = static_cast<int32_t>(penalties.size()) - sample.penalty_start;
      sample.allowed_start = static_cast<int32_t>(allowed.size());
      sample.allowed_count = static_cast<int32_t>(spec.allowed_tokens.size());
      allowed.insert(allowed.end(), spec.allowed_tokens.begin(), spec.allowed_tokens.end());
    }
    requests.push_back(request);
  }
  const size_t count = requests.size();
  const int rows = static_cast<int>(logits.size()) / vocab;
  const cuda::DeviceBuffer device_logits = on_device(stream, logits), device_requests = on_device(stream, requests),
                           device_penalties = on_device(stream, penalties), device_allowed = on_device(stream, allowed),
                           stats(rows * cuda::num_stats(vocab) * sizeof(cuda::LogitStats)), changed(count * vocab * 4),
                           answers(count * sizeof(cuda::TokenAnswer)), top_ids(count * max_top_n * 4),
                           top_logprobs(count * max_top_n * 4);
  cuda::HeadParams params;
  params.vocab = vocab;
  params.num_requests = static_cast<int>(count);
  params.logits = device_logits.as<const float>();
  params.rows = rows;
  params.stats = stats.as<cuda::LogitStats>();
  params.requests = device_requests.as<const cuda::TokenRequest>();
  params.penalties = device_penalties.as<const cuda::PenaltyToken>();
  params.allowed = device_allowed.as<const uint32_t>();
  params.changed = changed.as<float>();
  params.answers = answers.as<cuda::TokenAnswer>();
  params.max_top_n = max_top_n;
  params.top_ids = top_ids.as<int32_t>();
  params.top_logprobs = top_logprobs.as<float>();
  cuda::answer(stream, params);
  return {on_host<cuda::TokenAnswer>(stream, answers), on_host<int32_t>(stream, top_ids),
          on_host<float>(stream, top_logprobs)};
}

// Many ties, since values are rounded to a grid.
std::vector<float> random_logits(int count, double spread, Random& random) {
  std::vector<float> logits = random_floats(count, random, spread);
  for (float& logit : logits) logit = std::round(logit * 8) / 8;
  return logits;
}

// Two roundings to fp32 that may fall apart by one, of numbers whose doubles differ by far less.
double tolerance(double logprob) { return 2 * kUlp * std::max(1.0, std::abs(logprob)) + 1e-12; }

}  // namespace

CASE("log-probabilities, the argmax with ties, and the most likely tokens") {
  cuda::Stream stream;
  Random random(41);
  for (int vocab : {1, 5, 33, 4096, 4097, 9001}) {
    const int rows = 2;
    const std::vector<float> logits = random_logits(rows * vocab, 3, random);
    std::vector<Asked> asked;
    for (int row = 0; row < rows; ++row) {
      const float* one = &logits[static_cast<size_t>(row) * vocab];
      asked.push_back({.row = row, .target = argmax(one, vocab), .top_n = std::min(vocab, 7)});
      asked.push_back({.row = row, .target = random.below(vocab), .top_n = std::min(vocab, 3000)});
    }
    const Answers answers = ask(stream, logits, vocab, asked);
    const size_t width = static_cast<size_t>(std::min(vocab, 3000));
    for (size_t index = 0; index < asked.size(); ++index) {
      const float* one = &logits[static_cast<size_t>(asked[index].row) * vocab];
      const double total = log_sum_exp(one, vocab);
      const cuda::TokenAnswer& answer = answers.answers[index];
      CHECK_NEAR(answer.target_logprob, one[asked[index].target] - total, tolerance(one[asked[index].target] - total));
      CHECK_EQ(answer.target_is_greedy != 0, argmax(one, vocab) == asked[index].target);
      std::vector<int32_t> order(vocab);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return one[a] > one[b]; });
      for (int rank = 0; rank < asked[index].top_n; ++rank) {
        CHECK_EQ(answers.top_ids[index * width + rank], order[rank]);
        CHECK_NEAR(answers.top_logprobs[index * width + rank], one[order[rank]] - total,
                   tolerance(one[order[rank]] - total));
      }
    }
  }
}

CASE("draws are those of the sampler, whatever the rules") {
  cuda::Stream stream;
  Random random(42);
  for (int round = 0; round < 60; ++round) {
    const int vocab = 1 + random.below(round % 6 == 0 ? 6000 : 300);
    const std::vector<float> logits = random_logits(vocab, round % 3 == 0 ? 0.05 : 4, random);
    SampleSpec spec;
    spec.temperature = std::vector<double>{0, 0.3, 1, 4}[random.below(4)];
    spec.top_k = std::vector<int>{0, 1, 5, 40, 1500}[random.below(5)];
    spec.top_p = std::vector<double>{1, 0.8, 0.1, 0}[random.below(4)];
    spec.min_p = std::vector<double>{0, 0, 0.05, 0.5}[random.below(4)];
    spec.seed = random.bits(), spec.stream = random.bits();
    if (random.below(2) != 0) {
      spec.repetition_penalty = 1.3, spec.presence_penalty = 0.5, spec.frequency_penalty = 0.25;
      for (int i = 0; i < 40; ++i) spec.penalty_tokens.push_back(random.below(vocab));
      spec.generated_start = 15;
    }
    if (random.below(2) != 0) {
      for (int word = 0; word < (vocab + 31) / 32; ++word)
        spec.allowed_tokens.push_back(static_cast<uint32_t>(random.bits()));
      spec.allowed_tokens[0] |= 1;
    }
    std::vector<Asked> asked;
    for (int draw = 0; draw < 4; ++draw) asked.push_back({.sample = &spec, .position = draw * 1000});
    const Answers answers = ask(stream, logits, vocab, asked);
    for (const Asked& one : asked) {
      const cuda::TokenAnswer& answer = answers.answers[&one - asked.data()];
      std::vector<float> changed = logits;
      const int expected = sample_token(changed, spec, one.position);
      CHECK_EQ(answer.sampled_id, expected);
      const double logprob = logits[expected] - log_sum_exp(logits.data(), vocab);
      CHECK_NEAR(answer.sampled_logprob, logprob, tolerance(logprob));
    }
  }
}

CASE(
    "logits that are not finite are named, tokens taken out are left alone, and a mask that allows nothing draws "
    "nothing") {
  cuda::Stream stream;
  const int vocab = 5000;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> logits(4 * vocab, 1.0f);
  logits[4500] = nan, logits[77] = kInfinity;
  for (int token = 0; token < vocab; ++token) {
    if (token != 9) logits[vocab + token] = -kInfinity;
    logits[2 * vocab + token] = -kInfinity;
  }
  SampleSpec spec, masked;
  spec.temperature = 1;
  masked.allowed_tokens = {0};
  const Answers answers = ask(stream, logits, vocab,
                              {{.row = 0, .target = 3},
                               {.row = 1, .target = 9, .top_n = 4, .sample = &spec},
                               {.row = 2},
                               {.row = 3, .sample = &masked}});
  CHECK_EQ(answers.answers[0].first_bad, 77);
  CHECK_EQ(answers.answers[1].first_bad, INT_MAX);
  CHECK_EQ(answers.answers[1].first_taken_out, 0);
  CHECK_EQ(answers.answers[1].target_logprob, 0.0f);
  CHECK_EQ(answers.answers[1].sampled_id, 9);
  CHECK_EQ(answers.answers[2].any_left, 0);
  CHECK_EQ(answers.answers[3].sampled_id, -1);
}
