// Callbacks at hook points: what they get, who runs them, and what happens when one fails.
//
// A call holds rows of one sequence at one point of one layer, in ascending positions (at expert.output: the rows that one expert
// serves). Values are copies; what a callback gives back takes their place in the residual stream, the router or the head. A callback
// that fails, or gives a value that cannot be computed with, fails its own sequence: the others of the step go on, with the same bits.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/error.h"

namespace moescope {

// Names as users write them.
const char* hook_name(HookPoint point);
std::optional<HookPoint> parse_hook_name(const std::string& name);

struct HookCall {
  int callback = 0;
  HookPoint point = HookPoint::ResidualBefore;
  int layer = -1;   // -1 behind the last layer
  int expert = -1;  // at expert.output: the expert whose weights ran
  int sequence = 0;
  int width = 0;
  std::vector<int32_t> positions, tokens, origins, segments;  // (rows)
  std::vector<float> values;                                  // (rows, width); the host writes what takes their place
};

// Runs callbacks for the core, which waits meanwhile.
class HookHost {
 public:
  enum class Outcome : uint8_t { Unchanged, Replaced, Failed };
  virtual ~HookHost() = default;
  // Throws Aborted where the step is cancelled while the callback runs. After Failed the host knows why.
  virtual Outcome call(HookCall& call) = 0;
};

// A sequence that cannot go on; `error` is absent where the host knows why.
struct HookFailure {
  int sequence = 0;
  std::optional<Error> error;
};

// The callbacks of one step.
class HookRunner {
 public:
  HookRunner(HookHost& host, const ModelConfig& config) : host_(host), config_(config) {}

  void begin(const Batch& batch) { batch_ = &batch; }
  // Whether a callback of any row of the batch names this point.
  bool wants(HookPoint point, int layer) const;
  // Calls back for rows [0, num_rows) of `values`, (num_rows, width); row i is row `rows[i]` of the batch, or row i where `rows` is null.
  void run(HookPoint point, int layer, int expert, const int64_t* rows, int64_t num_rows, int width, float* values,
           const Taps& taps);
  void run(HookPoint point, int layer, int width, float* values, const Taps& taps) {
    run(point, layer, -1, nullptr, static_cast<int64_t>(batch_->rows.size()), width, values, taps);
  }

  // Whether the row's sequence has callbacks, so that what goes wrong with its values is its own fault.
  bool is_watched(int row) const { return batch_->rows[row].plan != nullptr && !batch_->rows[row].plan->hooks.empty(); }
  bool has_failed(int sequence) const;
  // From any thread; the first failure of a sequence counts.
  void fail_sequence(int sequence, std::optional<Error> error);
  const std::vector<HookFailure>& failures() const { return failures_; }

 private:
  // One callback over those of the rows that are its sequence's and in its scope.
  void call(const HookRule& rule, int layer, int expert, int sequence, const std::vector<int64_t>& value_rows,
            const int64_t* rows, int width, float* values, const Taps& taps);

  HookHost& host_;
  const ModelConfig& config_;
  const Batch* batch_ = nullptr;
  mutable std::mutex mutex_;
  std::vector<HookFailure> failures_;
};

}  // namespace moescope
