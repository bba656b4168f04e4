// A session owns sequences and their KV cache on one model and runs steps: it cuts a request into chunks, keeps the cache in step
// with what was computed, and gathers outputs and traces.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "core/weights.h"

namespace moescope {

// A checkpoint bound to a device. Steps of all its sessions take turns on the backend.
struct Model {
  ModelConfig config;
  int num_threads = 1;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Profile> profile;  // of steps from now on, or null
  std::mutex step_mutex;
};

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
  std::vector<int32_t> tokens;  // appended to the sequence
  int origin = 0;               // 0 prompt, 1 generated
  int32_t label = 0;            // segment
  HeadSpec head;
};

struct StepRequest {
  std::vector<StepSegment> segments;
  CaptureLevel capture = CaptureLevel::Counts;
};

// Row r is the r-th token of the request, segments one after another. Shapes: StepResult and StepTrace in src/native/binding.ts.
struct StepResult {
  std::vector<float> logits;
  std::vector<float> logprobs;
  std::vector<uint8_t> is_greedy;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logprobs;
  std::vector<int32_t> sampled_ids;

  bool has_trace = false;
  int64_t rows = 0;
  int num_moe_layers = 0;
  int top_k = 0;
  std::vector<uint16_t> topk_experts;
  std::vector<float> topk_weights;
  std::vector<float> shared_gate;
  std::vector<float> margin;
  std::vector<uint8_t> intervened;
  std::vector<float> router_logits;
  std::vector<float> hidden;
};

class Session {
 public:
  Session(std::shared_ptr<Model> model, CacheType cache_type, int chunk_rows);

  int create_sequence(RoutePlan plan);
  int fork_sequence(int sequence, int64_t length, RoutePlan plan);
  void truncate_sequence(int sequence, int64_t length) { cache_.truncate(sequence, length); }
  int64_t sequence_length(int sequence) const { return cache_.length(sequence); }
  void release_sequence(int sequence) { cache_.release(sequence); }

  // Either all of the request is computed or, after an Error, every sequence has the length that it had before.
  StepResult step(const StepRequest& request, const std::atomic<bool>* cancel,
                  const std::function<void(int64_t rows_done)>& on_progress);

  const ModelConfig& config() const { return model_->config; }
  const std::vector<uint64_t>& expert_counts() const { return counts_; }
  size_t cache_bytes() const { return cache_.bytes(); }

 private:
  void check(const StepRequest& request) const;

  std::shared_ptr<Model> model_;
  KvCache cache_;
  int chunk_rows_;
  std::vector<std::unique_ptr<RoutePlan>> plans_;  // by sequence
  std::vector<uint64_t> counts_;                   // (num_moe_layers, num_experts)
};

}  // namespace moescope
