// What a step is asked and what it answers.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/contributions.h"
#include "core/hooks.h"
#include "core/sampler.h"

namespace moescope {

enum class CaptureLevel : uint8_t { Counts, Topk, Logits, Hidden };

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
  CaptureLevel capture = CaptureLevel::Counts;
  std::optional<std::vector<int32_t>> capture_layers = std::nullopt;  // global numbers; absent: all
  bool contributions = false;
};

// Row r of the heads is the r-th token of the request, of the trace the r-th recorded one; segments one after another. Shapes:
// StepResult and StepTrace in src/native/binding.ts.
struct StepResult {
  std::vector<float> logits;
  std::vector<float> logprobs;
  std::vector<uint8_t> is_greedy;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
  std::vector<int32_t> sampled_ids;

  bool has_trace = false;
  int64_t rows = 0;  // of the trace
  int num_moe_layers = 0;
  int num_residual_layers = 0;
  int top_k = 0;
  std::vector<uint16_t> topk_experts;
  std::vector<float> topk_weights;
  std::vector<float> shared_gate;
  std::vector<float> margin;
  std::vector<uint8_t> intervened;
  std::vector<float> router_logits;
  std::vector<float> router_input;
  std::vector<float> expert_norms;
  std::vector<float> shared_norm;
  std::vector<float> residual;

  std::optional<Contributions> contributions;
  std::vector<HookFailure> failures;  // of sequences of the request; what they asked for has no meaning
};

}  // namespace moescope
