#include "core/session.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/forward.h"

namespace moescope {

namespace {

// Sizes of a step's outputs, allocated once before anything runs.
StepResult allocate(const ModelConfig& config, const StepRequest& request, int top_k) {
  StepResult result;
  size_t logit_rows = 0, logprobs = 0, greedy = 0, top = 0, sampled = 0;
  for (const StepSegment& segment : request.segments) {
    const size_t tokens = segment.tokens.size();
    const size_t head_rows = segment.head.all_rows ? tokens : std::min<size_t>(tokens, 1);
    result.rows += static_cast<int64_t>(tokens);
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
  if (request.capture == CaptureLevel::Counts) return result;

  result.has_trace = true;
  const size_t row_layers = static_cast<size_t>(result.rows) * config.num_moe_layers();
  result.num_moe_layers = config.num_moe_layers();
  result.top_k = top_k;
  result.topk_experts.assign(row_layers * top_k, kNoExpert);
  result.topk_weights.resize(row_layers * top_k);
  if (config.shared_expert_intermediate_size > 0) result.shared_gate.resize(row_layers);
  result.margin.resize(row_layers);
  result.intervened.resize(row_layers);
  if (request.capture >= CaptureLevel::Logits) result.router_logits.resize(row_layers * config.num_experts);
  if (request.capture >= CaptureLevel::Hidden) {
    result.hidden.resize(static_cast<size_t>(config.num_layers) * result.rows * config.hidden_size);
  }
  return result;
}

float* or_null(std::vector<float>& values) { return values.empty() ? nullptr : values.data(); }

Taps taps_into(StepResult& result, std::vector<uint64_t>& counts) {
  Taps taps;
  taps.num_rows = result.rows;
  taps.num_moe_layers = result.num_moe_layers;
  taps.top_k = result.top_k;
  taps.topk_experts = result.topk_experts.empty() ? nullptr : result.topk_experts.data();
  taps.topk_weights = or_null(result.topk_weights);
  taps.shared_gate = or_null(result.shared_gate);
  taps.margin = or_null(result.margin);
  taps.intervened = result.intervened.empty() ? nullptr : result.intervened.data();
  taps.router_logits = or_null(result.router_logits);
  taps.hidden = or_null(result.hidden);
  taps.counts = counts.data();
  return taps;
}

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

// Hands out the places of a step's outputs, row by row in the order of the request.
class HeadCursor {
 public:
  HeadCursor(const ModelConfig& config, StepResult& result) : config_(config), result_(result) {}

  // Adds what is wanted from token `index` of a segment, which is row `batch_row` and comes before `next_position`.
  void add(const StepSegment& segment, size_t index, int batch_row, int64_t next_position,
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

 private:
  const ModelConfig& config_;
  StepResult& result_;
  size_t target_ = 0;  // next target of the current segment
  size_t logit_rows_ = 0, logprobs_ = 0, greedy_ = 0, top_ = 0, sampled_ = 0;
};

// Cuts a request into batches of at most `chunk_rows` rows, in order.
class ChunkCursor {
 public:
  ChunkCursor(const ModelConfig& config, const StepRequest& request, StepResult& result)
      : request_(request), heads_(config, result) {}

  bool done() const { return segment_ == request_.segments.size(); }

  // Fills the next batch and makes room for it in the cache.
  void next(int chunk_rows, KvCache& cache, const std::vector<std::unique_ptr<RoutePlan>>& plans, Batch& batch,
            std::vector<HeadRequest>& requests) {
    batch.cache = &cache;
    while (!done() && static_cast<int>(batch.rows.size()) < chunk_rows) {
      const StepSegment& segment = request_.segments[segment_];
      const size_t room = static_cast<size_t>(chunk_rows) - batch.rows.size();
      const size_t end = std::min(segment.tokens.size(), token_ + room);
      int64_t position = cache.length(segment.sequence);
      const int count = static_cast<int>(end - token_);
      batch.runs.push_back({segment.sequence, static_cast<int>(batch.rows.size()), count, position});
      cache.extend(segment.sequence, count);
      for (; token_ < end; ++token_, ++position) {
        heads_.add(segment, token_, static_cast<int>(batch.rows.size()), position + 1, requests);
        batch.rows.push_back({segment.tokens[token_],
                              segment.sequence,
                              {position, segment.origin, segment.label},
                              plans[segment.sequence].get()});
      }
      if (token_ == segment.tokens.size()) {
        ++segment_;
        token_ = 0;
      }
    }
  }

 private:
  const StepRequest& request_;
  HeadCursor heads_;
  size_t segment_ = 0, token_ = 0;
};

}  // namespace

Session::Session(std::shared_ptr<Model> model, CacheType cache_type, int chunk_rows)
    : model_(std::move(model)), cache_(model_->config, cache_type), chunk_rows_(std::max(1, chunk_rows)) {
  counts_.resize(static_cast<size_t>(config().num_moe_layers()) * config().num_experts);
}

int Session::create_sequence(RoutePlan plan) {
  const int sequence = cache_.create();
  if (plans_.size() <= static_cast<size_t>(sequence)) plans_.resize(sequence + 1);
  plans_[sequence] = std::make_unique<RoutePlan>(std::move(plan));
  return sequence;
}

int Session::fork_sequence(int sequence, int64_t length, RoutePlan plan) {
  const int forked = cache_.fork(sequence, length);
  if (plans_.size() <= static_cast<size_t>(forked)) plans_.resize(forked + 1);
  plans_[forked] = std::make_unique<RoutePlan>(std::move(plan));
  return forked;
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
  }
}

StepResult Session::step(const StepRequest& request, const std::atomic<bool>* cancel,
                         const std::function<void(int64_t)>& on_progress) {
  check(request);
  int top_k = config().num_experts_per_token;
  std::vector<int64_t> lengths_before;
  for (const StepSegment& segment : request.segments) {
    lengths_before.push_back(cache_.length(segment.sequence));
    top_k = std::max(top_k, plans_[segment.sequence]->max_top_k);
  }
  StepResult result = allocate(config(), request, top_k);
  std::vector<uint64_t> counts = counts_;
  Taps taps = taps_into(result, counts);
  ChunkCursor cursor(config(), request, result);

  const std::lock_guard<std::mutex> turn(model_->step_mutex);
  const auto start = std::chrono::steady_clock::now();
  model_->backend->set_cancel(cancel);
  try {
    while (!cursor.done()) {
      if (cancel != nullptr && cancel->load()) fail(ErrorCode::Aborted, "The operation was cancelled.");
      Batch batch;
      std::vector<HeadRequest> heads;
      cursor.next(chunk_rows_, cache_, plans_, batch, heads);
      forward(*model_->backend, config(), batch, heads, taps);
      for (const BatchRun& run : batch.runs) cache_.commit(run.sequence, run.num_rows);
      taps.first_row += static_cast<int64_t>(batch.rows.size());
      if (on_progress) on_progress(taps.first_row);
    }
  } catch (...) {
    model_->backend->set_cancel(nullptr);
    for (size_t index = 0; index < request.segments.size(); ++index) {
      cache_.truncate(request.segments[index].sequence, lengths_before[index]);
    }
    throw;
  }
  model_->backend->set_cancel(nullptr);
  counts_ = std::move(counts);
  if (model_->profile != nullptr) {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    model_->profile->add_step(result.rows, elapsed.count());
  }
  return result;
}

}  // namespace moescope
