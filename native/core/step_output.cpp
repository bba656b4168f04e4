#include "core/step_output.h"

#include <algorithm>

#include "core/error.h"

namespace moescope {

namespace {

void open_trace(const ModelConfig& config, const StepRequest& request, Taps& taps) {
  if (request.trace != nullptr) return request.trace->open(request.trace_row, recorded_rows(request), taps);
  taps.layer_slots.assign(config.num_layers, -1);
  taps.residual_slots.assign(config.num_layers, -1);
}

}  // namespace

int64_t recorded_rows(const StepRequest& request) {
  int64_t rows = 0;
  for (const StepSegment& segment : request.segments) {
    if (segment.is_recorded) rows += static_cast<int64_t>(segment.tokens.size());
  }
  return rows;
}

StepOutput::StepOutput(const ModelConfig& config, const StepRequest& request, bool count_by_segment) {
  const size_t slots = static_cast<size_t>(config.num_moe_layers()) * config.num_experts;
  counts_.assign(count_by_segment ? request.segments.size() : 1, std::vector<uint64_t>(slots));
  allocate_heads(config, request);
  open_trace(config, request, taps);
  if (request.contributions) {
    result.contributions.emplace(config);
    taps.contributions = &*result.contributions;
  }
}

void StepOutput::add_counts(const StepRequest& request, std::vector<uint64_t>& total) const {
  for (size_t index = 0; index < counts_.size(); ++index) {
    const int sequence = request.segments[index].sequence;
    const bool failed = std::any_of(result.failures.begin(), result.failures.end(),
                                    [&](const HookFailure& failure) { return failure.sequence == sequence; });
    if (failed) continue;
    for (size_t slot = 0; slot < total.size(); ++slot) total[slot] += counts_[index][slot];
  }
}

void StepOutput::allocate_heads(const ModelConfig& config, const StepRequest& request) {
  size_t logit_rows = 0, logprobs = 0, greedy = 0, top = 0, sampled = 0;
  for (const StepSegment& segment : request.segments) {
    const size_t tokens = segment.tokens.size();
    const size_t head_rows = segment.head.all_rows ? tokens : std::min<size_t>(tokens, 1);
    switch (segment.head.kind) {
      case HeadSpec::Kind::None: break;
      case HeadSpec::Kind::Logits: logit_rows += head_rows; break;
      case HeadSpec::Kind::Targets:
        logprobs += segment.head.targets.size();
        greedy += segment.head.targets.size();
        break;
      case HeadSpec::Kind::Top: top += head_rows * segment.head.top_n; break;
      case HeadSpec::Kind::Sample:
        sampled += 1;
        logprobs += 1;
        break;
    }
  }
  result.logits.resize(logit_rows * config.vocab_size);
  result.logprobs.resize(logprobs);
  result.is_greedy.resize(greedy);
  result.top_ids.resize(top);
  result.top_logprobs.resize(top);
  result.sampled_ids.resize(sampled);
}

void HeadCursor::add(const StepSegment& segment, size_t index, int batch_row, int64_t next_position,
                     std::vector<HeadRequest>& requests) {
  const HeadSpec& head = segment.head;
  const bool last = index + 1 == segment.tokens.size();
  HeadRequest request;
  request.row = batch_row;
  request.next_position = next_position;
  if (index == 0) target_ = 0;
  switch (head.kind) {
    case HeadSpec::Kind::None: return;
    case HeadSpec::Kind::Logits:
      if (!head.all_rows && !last) return;
      request.logits = &result_.logits[logit_rows_++ * config_.vocab_size];
      break;
    case HeadSpec::Kind::Targets:
      for (; target_ < head.rows.size() && head.rows[target_] == static_cast<int32_t>(index); ++target_) {
        request.target = head.targets[target_];
        request.target_logprob = &result_.logprobs[logprobs_++];
        request.target_is_greedy = &result_.is_greedy[greedy_++];
        requests.push_back(request);
      }
      return;
    case HeadSpec::Kind::Top:
      if (!head.all_rows && !last) return;
      request.top_n = head.top_n;
      request.top_ids = &result_.top_ids[top_];
      request.top_logprobs = &result_.top_logprobs[top_];
      top_ += head.top_n;
      break;
    case HeadSpec::Kind::Sample:
      if (!last) return;
      request.sample = &head.sample;
      request.sampled_id = &result_.sampled_ids[sampled_++];
      request.sampled_logprob = &result_.logprobs[logprobs_++];
      break;
  }
  requests.push_back(request);
}

int BatchCursor::count_alike(const SequenceState& state, int64_t position, size_t room, bool& is_shared) const {
  const std::vector<int32_t>& tokens = request_.segments[segment_].tokens;
  const size_t limit = std::min(tokens.size() - token_, room);
  const auto shared = [&](size_t offset) {
    const int64_t at = position + static_cast<int64_t>(offset);
    return at < state.base_end && state.base.token(at) == tokens[token_ + offset];
  };
  is_shared = shared(0);
  size_t count = 1;
  while (count < limit && shared(count) == is_shared) ++count;
  return static_cast<int>(is_shared ? count : limit);
}

void BatchCursor::next(int chunk_rows, KvCache& cache, std::vector<SequenceState>& states, Batch& batch,
                       std::vector<HeadRequest>& requests) {
  batch.cache = &cache;
  while (!done() && static_cast<int>(batch.rows.size()) < chunk_rows) {
    const StepSegment& segment = request_.segments[segment_];
    SequenceState& state = states[segment.sequence];
    const int64_t position = cache.length(segment.sequence);
    // A run that this batch holds already is not in the cache's length yet.
    if (!batch.runs.empty() && batch.runs.back().sequence == segment.sequence) return;
    bool is_shared = false;
    const int count = count_alike(state, position, static_cast<size_t>(chunk_rows) - batch.rows.size(), is_shared);
    const int first_layer = is_shared ? state.base.layer() : 0;
    if (!batch.rows.empty() && first_layer != batch.first_layer) return;
    batch.first_layer = first_layer;
    add_run(count, is_shared, state, cache, batch, requests);
    if (token_ == segment.tokens.size()) {
      ++segment_;
      token_ = 0;
    }
  }
}

void BatchCursor::add_run(int count, bool is_shared, SequenceState& state, KvCache& cache, Batch& batch,
                          std::vector<HeadRequest>& requests) {
  const StepSegment& segment = request_.segments[segment_];
  int64_t position = cache.length(segment.sequence);
  const int first_row = static_cast<int>(batch.rows.size());
  if (!is_shared && position < state.base_end) {
    cache.end_sharing(segment.sequence);
    state.base_end = 0;
  }
  batch.runs.push_back({segment.sequence, first_row, count, position});
  cache.extend(segment.sequence, count);
  const int64_t hidden = state.kept.hidden_size();
  float* kept = state.kept.layer() < 0 ? nullptr : state.kept.append(position, &segment.tokens[token_], count);
  uint64_t* counts = output_.counts_of(segment_);
  for (int row = first_row; row < first_row + count; ++row, ++token_, ++position) {
    heads_.add(segment, token_, row, position + 1, requests);
    BatchRow added;
    added.token = segment.tokens[token_];
    added.sequence = segment.sequence;
    added.where = {position, segment.origin, segment.label};
    added.plan = state.plan.get();
    if (request_.trace != nullptr && segment.is_recorded) added.trace_row = trace_row_++;
    added.counts = counts;
    batch.rows.push_back(added);
    if (is_shared) batch.inputs.push_back(state.base.row(position));
    if (kept != nullptr) batch.kept.push_back({row, state.kept.layer(), kept + (row - first_row) * hidden});
  }
}

}  // namespace moescope
