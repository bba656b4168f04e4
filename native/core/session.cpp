#include "core/session.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/forward.h"
#include "core/step_output.h"

namespace moescope {

namespace {

void check_targets(const StepSegment& segment, int vocab_size) {
  const HeadSpec& head = segment.head;
  if (head.rows.size() != head.targets.size()) {
    fail(ErrorCode::InvalidArgument, "Expected a row for each of ", head.targets.size(), " targets, got ",
         head.rows.size(), ".");
  }
  int32_t previous = 0;
  for (int32_t row : head.rows) {
    if (row < previous || static_cast<size_t>(row) >= segment.tokens.size()) {
      fail(ErrorCode::InvalidArgument, "Expected ascending rows below ", segment.tokens.size(), ", got ", row, ".");
    }
    previous = row;
  }
  for (int32_t target : head.targets) {
    if (target < 0 || target >= vocab_size) {
      fail(ErrorCode::InvalidArgument, "Expected targets from 0 to ", vocab_size - 1, ", got ", target, ".");
    }
  }
}

// A row that begins above layer 0 has no routes below it, and a block is as wide as it was made.
void check_recorded(const StepSegment& segment, const SequenceState& state, int64_t length, const TraceBlock* trace) {
  if (trace == nullptr || !segment.is_recorded) return;
  if (state.plan->max_top_k > trace->top_k) {
    fail(ErrorCode::InvalidArgument, "Expected a trace with ", state.plan->max_top_k, " slots in a row, got ",
         trace->top_k, ".");
  }
  if (length >= state.base_end) return;
  for (int layer = 0; layer < state.base.layer(); ++layer) {
    if (!trace->records(layer)) continue;
    fail(ErrorCode::InvalidArgument, "Expected only layers from ", state.base.layer(),
         " to be recorded of a sequence that shares the layers below.");
  }
}

void check_room(const StepRequest& request) {
  if (request.trace == nullptr) return;
  const int64_t end = request.trace_row + recorded_rows(request);
  if (request.trace_row >= 0 && end <= request.trace->rows) return;
  fail(ErrorCode::InvalidArgument, "Expected room for rows ", request.trace_row, " to ", end - 1,
       " in the trace, it has ", request.trace->rows, ".");
}

}  // namespace

Session::Session(std::shared_ptr<Model> model, CacheType cache_type, int chunk_rows)
    : model_(std::move(model)),
      cache_(model_->config, cache_type, model_->backend->page_memory()),
      chunk_rows_(std::max(1, chunk_rows)) {
  counts_.resize(static_cast<size_t>(config().num_moe_layers()) * config().num_experts);
}

int Session::create_sequence(RoutePlan plan) {
  const int sequence = cache_.create();
  if (states_.size() <= static_cast<size_t>(sequence)) states_.resize(sequence + 1);
  states_[sequence] = SequenceState{};
  states_[sequence].plan = std::make_unique<RoutePlan>(std::move(plan));
  return sequence;
}

int Session::fork_sequence(int sequence, int64_t length, RoutePlan plan) {
  const int forked = cache_.fork(sequence, length);
  if (states_.size() <= static_cast<size_t>(forked)) states_.resize(forked + 1);
  const SequenceState& source = states_[sequence];
  SequenceState& state = states_[forked];
  state.plan = std::make_unique<RoutePlan>(std::move(plan));
  state.kept = source.kept;
  state.kept.truncate(length);
  state.base = source.base;
  state.base_end = source.base_end;
  return forked;
}

void Session::truncate_sequence(int sequence, int64_t length) {
  cache_.truncate(sequence, length);
  states_[sequence].kept.truncate(length);
}

void Session::release_sequence(int sequence) {
  cache_.release(sequence);
  states_[sequence] = SequenceState{};
}

bool Session::has_hooks(int sequence) const {
  return sequence >= 0 && static_cast<size_t>(sequence) < states_.size() && states_[sequence].plan != nullptr &&
         !states_[sequence].plan->hooks.empty();
}

void Session::keep_residuals(int sequence, int layer) {
  const int64_t length = cache_.length(sequence);
  SequenceState& state = states_[sequence];
  const int first = length < state.base_end ? state.base.layer() : 0;
  if (layer < first || layer >= config().num_layers) {
    fail(ErrorCode::InvalidArgument, "Expected a layer from ", first, " to ", config().num_layers - 1,
         " to keep the residual stream of, got ", layer, ".");
  }
  state.kept = KeptResiduals(layer, config().hidden_size);
}

void Session::share_lower_layers(int sequence, int base, int layer) {
  const int64_t length = cache_.length(sequence), end = cache_.length(base);
  SequenceState& state = states_[sequence];
  const SequenceState& source = states_[base];
  if (layer < 1 || layer != source.kept.layer() || !source.kept.covers(length, end)) {
    fail(ErrorCode::InvalidArgument, "Expected a base that keeps the residual stream before layer ", layer,
         " for positions ", length, " to ", end, ".");
  }
  if (state.kept.layer() >= 0 && state.kept.layer() < layer) {
    fail(ErrorCode::InvalidArgument, "Expected a layer up to ", state.kept.layer(),
         ", whose residual stream the sequence keeps, got ", layer, ".");
  }
  cache_.share_lower_layers(sequence, base, layer);
  state.base = source.kept;
  state.base_end = end;
}

void Session::check(const StepRequest& request) const {
  const ModelConfig& config = model_->config;
  std::vector<int> seen;
  for (const StepSegment& segment : request.segments) {
    const int64_t length = cache_.length(segment.sequence) + static_cast<int64_t>(segment.tokens.size());
    if (length > config.max_context) {
      fail(ErrorCode::ContextTooLong, "The sequence would have ", length, " tokens, the model's context holds ",
           config.max_context, ".");
    }
    if (std::find(seen.begin(), seen.end(), segment.sequence) != seen.end()) {
      fail(ErrorCode::InvalidArgument, "Expected each sequence once in a step, got ", segment.sequence, " twice.");
    }
    seen.push_back(segment.sequence);
    if (segment.tokens.empty()) fail(ErrorCode::InvalidArgument, "Expected at least one token in every segment.");
    for (int32_t token : segment.tokens) {
      if (token < 0 || token >= config.vocab_size) {
        fail(ErrorCode::InvalidArgument, "Expected token ids from 0 to ", config.vocab_size - 1, ", got ", token, ".");
      }
    }
    check_targets(segment, config.vocab_size);
    const bool wants_top = segment.head.kind == HeadSpec::Kind::Top;
    if (wants_top && (segment.head.top_n < 1 || segment.head.top_n > config.vocab_size)) {
      fail(ErrorCode::InvalidArgument, "Expected top n from 1 to ", config.vocab_size, ", got ", segment.head.top_n,
           ".");
    }
    check_recorded(segment, states_[segment.sequence], cache_.length(segment.sequence), request.trace);
  }
  check_room(request);
}

StepResult Session::step(const StepRequest& request, const std::atomic<bool>* cancel,
                         const std::function<void(int64_t)>& on_progress, HookHost* host) {
  check(request);
  bool calls_back = false;
  std::vector<int64_t> lengths_before;
  for (const StepSegment& segment : request.segments) {
    lengths_before.push_back(cache_.length(segment.sequence));
    calls_back |= has_hooks(segment.sequence);
  }
  if (calls_back && host == nullptr) fail(ErrorCode::Internal, "A step with callbacks has nobody to run them.");
  StepOutput output(config(), request, calls_back);
  std::optional<HookRunner> hooks;
  if (calls_back) output.taps.hooks = &hooks.emplace(*host, config());

  const auto roll_back = [&](size_t index) {
    truncate_sequence(request.segments[index].sequence, lengths_before[index]);
  };
  const std::lock_guard<std::mutex> turn(model_->step_mutex);
  const auto start = std::chrono::steady_clock::now();
  model_->backend->set_cancel(cancel);
  try {
    run(request, output, cancel, on_progress);
  } catch (...) {
    model_->backend->set_cancel(nullptr);
    for (size_t index = 0; index < request.segments.size(); ++index) roll_back(index);
    throw;
  }
  model_->backend->set_cancel(nullptr);
  for (size_t index = 0; calls_back && index < request.segments.size(); ++index) {
    if (hooks->has_failed(request.segments[index].sequence)) roll_back(index);
  }
  output.add_counts(request, counts_);
  if (model_->profile != nullptr) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    int64_t rows = 0;
    for (const StepSegment& segment : request.segments) rows += static_cast<int64_t>(segment.tokens.size());
    model_->profile->add_step(rows, elapsed.count());
  }
  return std::move(output.result);
}

void Session::run(const StepRequest& request, StepOutput& output, const std::atomic<bool>* cancel,
                  const std::function<void(int64_t)>& on_progress) {
  BatchCursor cursor(config(), request, output);
  int64_t rows_done = 0;
  std::vector<HookFailure>& failures = output.result.failures;
  while (!cursor.done() && failures.size() < request.segments.size()) {
    if (cancel != nullptr && cancel->load()) fail(ErrorCode::Aborted, "The operation was cancelled.");
    Batch batch;
    std::vector<HeadRequest> heads;
    cursor.next(chunk_rows_, cache_, states_, batch, heads);
    forward(*model_->backend, config(), batch, heads, output.taps);
    for (const BatchRun& run : batch.runs) cache_.commit(run.sequence, run.num_rows);
    rows_done += static_cast<int64_t>(batch.rows.size());
    if (output.taps.hooks != nullptr) failures = output.taps.hooks->failures();
    if (on_progress) on_progress(rows_done);
  }
  if (output.taps.contributions == nullptr || failures.empty()) return;
  throw failures.front().error.value_or(
      Error(ErrorCode::InvalidArgument, "A callback failed in a step whose contributions are summed over all rows."));
}

}  // namespace moescope
