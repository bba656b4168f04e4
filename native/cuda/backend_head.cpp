// head(): final norm and output matrix for the rows that somebody asked for, the answers, and the way back of a whole step.
#include <algorithm>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/hooks.h"
#include "cuda/backend.h"
#include "cuda/matmul.h"

namespace moescope::cuda {

namespace {

constexpr int kHeadRows = 32;  // rows whose logits are held at once

// Requests of some rows as the device reads them.
struct RequestTables {
  std::vector<TokenRequest> requests;
  std::vector<PenaltyToken> penalties;
  std::vector<uint32_t> allowed;
  int max_top_n = 0;

  void add(const HeadRequest& request, int row);

 private:
  void add_sample(const SampleSpec& spec, DeviceSample& sample);
};

void RequestTables::add(const HeadRequest& request, int row) {
  TokenRequest entry;
  entry.row = row;
  entry.target = request.target;
  entry.top_n = request.top_n;
  entry.next_position = request.next_position;
  max_top_n = std::max(max_top_n, request.top_n);
  if (request.sample != nullptr) {
    entry.is_sampled = 1;
    add_sample(*request.sample, entry.sample);
  }
  requests.push_back(entry);
}

void RequestTables::add_sample(const SampleSpec& spec, DeviceSample& sample) {
  sample.repetition_penalty = spec.repetition_penalty;
  sample.presence_penalty = spec.presence_penalty;
  sample.frequency_penalty = spec.frequency_penalty;
  std::map<int32_t, int32_t> times;  // each token once
  for (size_t index = 0; index < spec.penalty_tokens.size(); ++index) {
    times[spec.penalty_tokens[index]] += static_cast<int64_t>(index) >= spec.generated_start;
  }
  sample.penalty_start = static_cast<int32_t>(penalties.size());
  sample.penalty_count = static_cast<int32_t>(times.size());
  for (const auto& [token, count] : times) penalties.push_back({token, count});
  sample.allowed_start = static_cast<int32_t>(allowed.size());
  sample.allowed_count = static_cast<int32_t>(spec.allowed_tokens.size());
  allowed.insert(allowed.end(), spec.allowed_tokens.begin(), spec.allowed_tokens.end());
  sample.temperature = spec.temperature;
  sample.top_p = spec.top_p;
  sample.min_p = spec.min_p;
  sample.top_k = spec.top_k;
  sample.seed = spec.seed;
  sample.stream = spec.stream;
}

template <typename T>
DeviceBuffer on_device(Stream& stream, const std::vector<T>& values) {
  DeviceBuffer buffer(std::max<size_t>(1, values.size()) * sizeof(T));
  if (!values.empty()) copy_to_device(stream, buffer.data(), values.data(), values.size() * sizeof(T));
  return buffer;
}

// Throws what native/cpu/head.cpp does for logits that cannot be answered from.
void check_answer(const HeadRequest& request, const TokenAnswer& answer, bool is_watched) {
  const int32_t bad = is_watched ? answer.first_bad : std::min(answer.first_bad, answer.first_taken_out);
  if (bad != std::numeric_limits<int32_t>::max()) {
    fail(ErrorCode::Invariant, "The model gave a logit that is not a finite number, for token ", bad, ".");
  }
  if (!answer.any_left) fail(ErrorCode::InvalidArgument, "The callback at output.logits left no token to choose.");
  if (request.sample != nullptr && answer.sampled_id < 0) {
    fail(ErrorCode::InvalidArgument, "The allowed tokens leave none that could be drawn.");
  }
}

void deliver(const HeadRequest& request, const TokenAnswer& answer, const int32_t* top_ids, const float* top_logprobs) {
  if (request.target >= 0) {
    *request.target_logprob = answer.target_logprob;
    *request.target_is_greedy = static_cast<uint8_t>(answer.target_is_greedy);
  }
  std::copy_n(top_ids, request.top_n, request.top_ids);
  std::copy_n(top_logprobs, request.top_n, request.top_logprobs);
  if (request.sample == nullptr) return;
  *request.sampled_id = answer.sampled_id;
  *request.sampled_logprob = answer.sampled_logprob;
}

}  // namespace

void CudaBackend::answer_rows(const Batch& batch, const float* x, const std::vector<int>& rows,
                              const HeadRequest* requests, int num_requests, const Taps& taps) {
  const int count = static_cast<int>(rows.size()), vocab = config_.vocab_size;
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  const Global<float> gathered = head_x_.reserve<float>(count * hidden);
  for (int row = 0; row < count; ++row) {
    copy_on_device(stream_, static_cast<float*>(head_x_.data()) + row * hidden, x + rows[row] * hidden,
                   hidden * sizeof(float));
  }
  RmsNormParams norm = norm_params(nullptr, weights_.final_norm);
  norm.x = gathered;
  norm.side = head_side_.reserve(forms_.head, count, config_.hidden_size);
  rms_norm(stream_, count, norm);
  MatmulParams product;
  product.rows = count;
  product.count = 1;
  product.products[0].weights = weights_.head;
  product.products[0].x = norm.side;
  product.products[0].out = vocab_logits_.reserve<float>(static_cast<size_t>(count) * vocab);
  matmul(stream_, product);

  RequestTables tables;
  int row = -1;
  for (int index = 0; index < num_requests; ++index) {
    row += index == 0 || requests[index].row != requests[index - 1].row;
    tables.add(requests[index], row);
    if (requests[index].logits == nullptr) continue;
    copy_to_host(stream_, requests[index].logits, static_cast<float*>(vocab_logits_.data()) + int64_t{row} * vocab,
                 vocab * sizeof(float));
  }
  const DeviceBuffer device_requests = on_device(stream_, tables.requests),
                     penalties = on_device(stream_, tables.penalties), allowed = on_device(stream_, tables.allowed);
  const size_t places = static_cast<size_t>(num_requests) * std::max(1, tables.max_top_n);
  const DeviceBuffer stats(static_cast<size_t>(count) * num_stats(vocab) * sizeof(LogitStats)),
      changed(static_cast<size_t>(num_requests) * vocab * sizeof(float)), answers(num_requests * sizeof(TokenAnswer)),
      top_ids(places * sizeof(int32_t)), top_logprobs(places * sizeof(float));
  HeadParams params;
  params.vocab = vocab;
  params.num_requests = num_requests;
  params.logits = product.products[0].out;
  params.rows = count;
  params.stats = stats.as<LogitStats>();
  params.requests = device_requests.as<const TokenRequest>();
  params.penalties = penalties.as<const PenaltyToken>();
  params.allowed = allowed.as<const uint32_t>();
  params.changed = changed.as<float>();
  params.answers = answers.as<TokenAnswer>();
  params.max_top_n = tables.max_top_n;
  params.top_ids = top_ids.as<int32_t>();
  params.top_logprobs = top_logprobs.as<float>();
  answer(stream_, params);

  std::vector<TokenAnswer> host_answers(num_requests);
  std::vector<int32_t> host_ids(places);
  std::vector<float> host_logprobs(places);
  copy_to_host(stream_, host_answers.data(), answers.data(), answers.bytes());
  if (tables.max_top_n > 0) {
    copy_to_host(stream_, host_ids.data(), top_ids.data(), top_ids.bytes());
    copy_to_host(stream_, host_logprobs.data(), top_logprobs.data(), top_logprobs.bytes());
  }
  stream_.synchronize();
  for (int index = 0; index < num_requests; ++index) {
    const size_t first_top = static_cast<size_t>(index) * tables.max_top_n;
    const BatchRow& where = batch.rows[requests[index].row];
    const bool is_watched = taps.hooks != nullptr && taps.hooks->is_watched(requests[index].row);
    if (is_watched && taps.hooks->has_failed(where.sequence)) continue;
    try {
      check_answer(requests[index], host_answers[index], is_watched);
      deliver(requests[index], host_answers[index], host_ids.data() + first_top, host_logprobs.data() + first_top);
    } catch (const Error& error) {
      if (!is_watched) throw;
      taps.hooks->fail_sequence(where.sequence, error);
    }
  }
}

void CudaBackend::head(const Batch& batch, const float* x, const std::vector<HeadRequest>& requests, const Taps& taps) {
  for (HookPoint point : {HookPoint::FinalNorm, HookPoint::OutputLogits}) {
    if (taps.hooks == nullptr || !taps.hooks->wants(point, -1)) continue;
    fail(ErrorCode::Unsupported, "Callbacks at ", hook_name(point), " do not run on device cuda: use device cpu.");
  }
  batch_.read_counts(stream_);
  trace_.read(stream_);
  if (!host_status_.empty()) {
    copy_to_host(stream_, host_status_.data(), status_.data(), host_status_.size() * sizeof(int32_t));
  }
  stream_.synchronize();
  check_routes(batch, taps);
  batch_.add_counts();
  if (trace_is_ready_) trace_.deliver(batch, taps);

  for (size_t next = 0; next < requests.size();) {
    // Requests come ascending by row; those of one row share its logits.
    std::vector<int> rows;
    size_t end = next;
    for (; end < requests.size(); ++end) {
      const bool is_new = end == next || requests[end].row != requests[end - 1].row;
      if (is_new && rows.size() == kHeadRows) break;
      if (is_new) rows.push_back(requests[end].row);
    }
    answer_rows(batch, x, rows, &requests[next], static_cast<int>(end - next), taps);
    next = end;
  }
}

}  // namespace moescope::cuda
