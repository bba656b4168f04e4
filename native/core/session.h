// A session owns sequences and their KV cache on one model and runs steps: it cuts a request into chunks, keeps the cache in step
// with what was computed, and gathers outputs and traces.
#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "core/backend.h"
#include "core/hooks.h"
#include "core/kept_residuals.h"
#include "core/step.h"
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

// What a session knows of a sequence beside its keys and values.
struct SequenceState {
  std::unique_ptr<RoutePlan> plan;
  KeptResiduals kept;
  KeptResiduals base;    // of the sequence whose lower layers it shares
  int64_t base_end = 0;  // positions below it begin at base.layer(); 0: none do
};

class StepOutput;

class Session {
 public:
  Session(std::shared_ptr<Model> model, CacheType cache_type, int chunk_rows);

  int create_sequence(RoutePlan plan);
  int fork_sequence(int sequence, int64_t length, RoutePlan plan);
  void truncate_sequence(int sequence, int64_t length);
  int64_t sequence_length(int sequence) const { return cache_.length(sequence); }
  void release_sequence(int sequence);
  // Widest selection that the interventions of a sequence can cause.
  int max_top_k(int sequence) const { return states_[sequence].plan->max_top_k; }
  // Whether a step on the sequence may call back.
  bool has_hooks(int sequence) const;

  // From now on the residual stream before `layer` is kept for every position that the sequence computes.
  void keep_residuals(int sequence, int layer);
  // Layers below `layer` of a sequence, for the positions that `base` holds, become those of `base`: tokens equal to the base's that are
  // appended from now on begin at `layer`, from the base's kept residual stream. The caller knows that both have the same interventions
  // below `layer` and the same tokens so far; a token that differs from the base's ends the sharing.
  void share_lower_layers(int sequence, int base, int layer);

  // Either all of the request is computed or, after an Error, every sequence has the length that it had before; so has each sequence
  // whose callback failed. `host` runs callbacks; null where no sequence of the step has any.
  StepResult step(const StepRequest& request, const std::atomic<bool>* cancel,
                  const std::function<void(int64_t rows_done)>& on_progress, HookHost* host = nullptr);

  const ModelConfig& config() const { return model_->config; }
  const std::vector<uint64_t>& expert_counts() const { return counts_; }
  size_t cache_bytes() const { return cache_.bytes(); }

 private:
  void check(const StepRequest& request) const;
  void run(const StepRequest& request, StepOutput& output, const std::atomic<bool>* cancel,
           const std::function<void(int64_t)>& on_progress);

  std::shared_ptr<Model> model_;
  KvCache cache_;
  int chunk_rows_;
  std::vector<SequenceState> states_;  // by sequence
  std::vector<uint64_t> counts_;       // (num_moe_layers, num_experts)
};

}  // namespace moescope
