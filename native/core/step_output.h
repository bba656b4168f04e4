// The arrays of a step's result, allocated once before anything runs, and the places that rows and heads write to.
#pragma once

#include <memory>
#include <vector>

#include "core/session.h"

namespace moescope {

// Rows that a step puts into its trace.
int64_t recorded_rows(const StepRequest& request);

class StepOutput {
 public:
  // `count_by_segment`: a segment that fails must not count.
  StepOutput(const ModelConfig& config, const StepRequest& request, bool count_by_segment);

  // Where the assignments of a segment are counted. (MoE layers, experts)
  uint64_t* counts_of(size_t segment) { return counts_[counts_.size() > 1 ? segment : 0].data(); }
  // Adds what was counted for the segments that did not fail.
  void add_counts(const StepRequest& request, std::vector<uint64_t>& total) const;

  Taps taps;
  StepResult result;

 private:
  void allocate_heads(const ModelConfig& config, const StepRequest& request);

  std::vector<std::vector<uint64_t>> counts_;  // one for each segment, or one for all
};

// Hands out the places of a step's heads, row by row in the order of the request.
class HeadCursor {
 public:
  HeadCursor(const ModelConfig& config, StepResult& result) : config_(config), result_(result) {}

  // Adds what is wanted from token `index` of a segment, which is row `batch_row` and comes before `next_position`.
  void add(const StepSegment& segment, size_t index, int batch_row, int64_t next_position,
           std::vector<HeadRequest>& requests);

 private:
  const ModelConfig& config_;
  StepResult& result_;
  size_t target_ = 0;  // next target of the current segment
  size_t logit_rows_ = 0, logprobs_ = 0, greedy_ = 0, top_ = 0, sampled_ = 0;
};

// Cuts a request into batches of at most `chunk_rows` rows that begin at one layer, in order.
class BatchCursor {
 public:
  BatchCursor(const ModelConfig& config, const StepRequest& request, StepOutput& output)
      : request_(request), output_(output), heads_(config, output.result), trace_row_(request.trace_row) {}

  bool done() const { return segment_ == request_.segments.size(); }

  // Fills the next batch and makes room for it in the cache.
  void next(int chunk_rows, KvCache& cache, std::vector<SequenceState>& states, Batch& batch,
            std::vector<HeadRequest>& requests);

 private:
  // Tokens of the current segment, at most `room`, that begin at the same layer.
  int count_alike(const SequenceState& state, int64_t position, size_t room, bool& is_shared) const;
  void add_run(int count, bool is_shared, SequenceState& state, KvCache& cache, Batch& batch,
               std::vector<HeadRequest>& requests);

  const StepRequest& request_;
  StepOutput& output_;
  HeadCursor heads_;
  size_t segment_ = 0, token_ = 0;
  int64_t trace_row_;
};

}  // namespace moescope
