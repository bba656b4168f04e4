// What a step is asked and what it answers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/contributions.h"
#include "core/hooks.h"
#include "core/sampler.h"
#include "core/trace_block.h"

namespace moescope {

struct HeadSpec {
  enum class Kind : uint8_t { None, Logits, Targets, Top, Sample };
  Kind kind = Kind::None;
  bool all_rows = false;         // logits, top: every row, else the last
  int32_t top_n = 0;             // top
  std::vector<int32_t> rows;     // targets: tokens of the segment, ascending; one may come several times
  std::vector<int32_t> targets;  // targets: one per entry of rows
  SampleSpec sample;
};

struct StepSegment {
  int sequence = 0;
  bool is_recorded = true;      // whether its rows are in the trace
  std::vector<int32_t> tokens;  // appended to the sequence
  int origin = 0;               // 0 prompt, 1 generated
  int32_t label = 0;            // segment
  HeadSpec head;
};

struct StepRequest {
  std::vector<StepSegment> segments;
  TraceBlock* trace = nullptr;  // where recorded rows go, from `trace_row` on; null: nowhere
  int64_t trace_row = 0;
  bool contributions = false;
};

// Row r of the heads is the r-th token of the request, segments one after another; the trace has the recorded ones in the same order.
// Shapes: StepResult in src/native/binding.ts.
struct StepResult {
  std::vector<float> logits;
  std::vector<float> logprobs;
  std::vector<uint8_t> is_greedy;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
  std::vector<int32_t> sampled_ids;

  std::optional<Contributions> contributions;
  std::vector<HookFailure> failures;  // of sequences of the request; what they asked for has no meaning
};

}  // namespace moescope
