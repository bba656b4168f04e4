// logits = Wlm norm(x) for the rows that somebody asked for, and what they asked for: logits, log-probabilities, a drawn token.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/hooks.h"
#include "cpu/backend.h"

namespace moescope {

namespace {

constexpr int kHeadRows = 32;  // rows whose logits are held at once

void most_likely(const float* logits, int64_t vocab_size, double log_total, const HeadRequest& request) {
  std::vector<int32_t> order(vocab_size);
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + request.top_n, order.end(),
                    [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (int32_t rank = 0; rank < request.top_n; ++rank) {
    request.top_ids[rank] = order[rank];
    request.top_logprobs[rank] = static_cast<float>(logits[order[rank]] - log_total);
  }
}

// -inf takes a token out; only a callback gives it.
void check_logits(const float* logits, int64_t vocab_size, bool is_watched) {
  bool any_left = false;
  for (int64_t token = 0; token < vocab_size; ++token) {
    const bool taken_out = is_watched && logits[token] == -std::numeric_limits<float>::infinity();
    any_left |= !taken_out;
    if (taken_out || std::isfinite(logits[token])) continue;
    fail(ErrorCode::Invariant, "The model gave a logit that is not a finite number, for token ", token, ".");
  }
  if (!any_left) fail(ErrorCode::InvalidArgument, "The callback at output.logits left no token to choose.");
}

void answer(const HeadRequest& request, const float* logits, int64_t vocab_size) {
  if (request.logits != nullptr) std::copy_n(logits, vocab_size, request.logits);
  if (request.target < 0 && request.top_n == 0 && request.sample == nullptr) return;
  const double log_total = log_sum_exp(logits, vocab_size);
  if (request.target >= 0) {
    *request.target_logprob = static_cast<float>(logits[request.target] - log_total);
    *request.target_is_greedy = argmax(logits, vocab_size) == request.target;
  }
  if (request.top_n > 0) most_likely(logits, vocab_size, log_total, request);
  if (request.sample != nullptr) {
    std::vector<float> changed(logits, logits + vocab_size);
    *request.sampled_id = sample_token(changed, *request.sample, request.next_position);
    *request.sampled_logprob = static_cast<float>(logits[*request.sampled_id] - log_total);
  }
}

}  // namespace

void CpuBackend::head(const Batch& batch, const float* x, const std::vector<HeadRequest>& requests, const Taps& taps) {
  const int64_t hidden = config_.hidden_size, vocab = config_.vocab_size;
  head_rows_.resize(kHeadRows * hidden);
  ProfileSpan span = profile_span(kOutsideLayers);
  size_t next = 0;
  while (next < requests.size()) {
    // Requests come ascending by row; those of one row share its logits.
    std::vector<int64_t> places;      // by request from `next` on: row of `rows`
    std::vector<int64_t> batch_rows;  // by row of `rows`
    int count = 0;
    for (size_t index = next; index < requests.size(); ++index) {
      const bool is_new = index == next || requests[index].row != requests[index - 1].row;
      if (is_new && count == kHeadRows) break;
      if (is_new) {
        std::copy_n(x + requests[index].row * hidden, hidden, &head_rows_[count++ * hidden]);
        batch_rows.push_back(requests[index].row);
      }
      places.push_back(count - 1);
    }
    span.begin(ProfileOp::Head, [&] { return work_of(count, {&weights_.head}); });
    const auto norm = [&](int64_t row) {
      rms_norm(&head_rows_[row * hidden], weights_.final_norm, &head_rows_[row * hidden]);
    };
    const auto call_back = [&](HookPoint point, int width, float* values) {
      if (taps.hooks != nullptr) taps.hooks->run(point, -1, -1, batch_rows.data(), count, width, values, taps);
    };
    const bool calls_back = taps.hooks != nullptr && taps.hooks->wants(HookPoint::FinalNorm, -1);
    if (calls_back) {
      for (int row = 0; row < count; ++row) norm(row);
      call_back(HookPoint::FinalNorm, config_.hidden_size, head_rows_.data());
    }
    logits_.resize(std::max<size_t>(logits_.size(), count * vocab));
    rows_side_.prepare(matmul_kernels_, forms_of({&weights_.head}), head_rows_.data(), count, hidden);
    fill(rows_side_, [&](int64_t row) {
      if (!calls_back) norm(row);
    });
    multiply({{rows_side_.group(0, count), &weights_.head, logits_.data()}});
    call_back(HookPoint::OutputLogits, config_.vocab_size, logits_.data());
    span.begin(ProfileOp::Answer);
    pool_.parallel_for(static_cast<int64_t>(places.size()), [&](int64_t index, int) {
      const float* row = &logits_[places[index] * vocab];
      const int batch_row = static_cast<int>(batch_rows[places[index]]);
      if (taps.hooks == nullptr || !taps.hooks->is_watched(batch_row)) {
        check_logits(row, vocab, false);
        return answer(requests[next + index], row, vocab);
      }
      const int sequence = batch.rows[batch_row].sequence;
      if (taps.hooks->has_failed(sequence)) return;
      try {
        check_logits(row, vocab, true);
        answer(requests[next + index], row, vocab);
      } catch (const Error& error) {
        taps.hooks->fail_sequence(sequence, error);
      }
    });
    next += places.size();
  }
}

}  // namespace moescope
