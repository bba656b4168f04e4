// Backend ops, version 1: few and coarse, the same names on every backend. x is the residual stream, fp32, (rows, hidden), in the
// backend's memory. A batch is rows of several sequences, decode tokens and prefill chunks together; nothing is padded.
//
// Order of arithmetic (why the batch never changes bits): a backend keeps one accumulation primitive per weight type and uses it
// for one row and for many; block results are added in ascending order or a fixed tree over it; attention reads keys and values
// after rounding to the cache's type, the own chunk's included, in tiles cut at absolute positions and merged in ascending order;
// experts are added in slot order, then the shared expert, then the residual. Threads divide rows and columns, never a sum.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/kv_cache.h"
#include "core/profile.h"
#include "core/router.h"
#include "core/sampler.h"

namespace moescope {

struct BatchRow {
  int32_t token = 0;
  int sequence = 0;
  RoutePosition where;              // absolute position, origin, segment
  const RoutePlan* plan = nullptr;  // interventions of the row's sequence, or null
  int64_t trace_row = -1;           // where the row is recorded, or -1
  uint64_t* counts = nullptr;       // (MoE layers, num_experts)  assignments, added to; always there
};

// Consecutive rows of one sequence, at consecutive positions.
struct BatchRun {
  int sequence = 0;
  int first_row = 0;
  int num_rows = 0;
  int64_t first_position = 0;
};

// A row whose residual stream before a layer is kept.
struct KeptRow {
  int row = 0;
  int layer = 0;
  float* values = nullptr;  // (hidden), host memory
};

struct Batch {
  std::vector<BatchRow> rows;
  std::vector<BatchRun> runs;
  KvCache* cache = nullptr;
  int first_layer = 0;               // layers below it were computed before, by another sequence with the same tokens
  std::vector<const float*> inputs;  // where first_layer > 0: each row's residual stream before it, host memory
  std::vector<KeptRow> kept;
};

class HookRunner;
struct Contributions;

// What is watched in a step; null: not wanted, and the bits are the same either way. A row is recorded at its `trace_row`; a layer at
// `layer_slots[layer]` of the recorded MoE layers and `residual_slots[layer]` of the layers whose residual stream is recorded, -1: not.
struct Taps {
  int num_layers = 0;  // recorded MoE layers
  int num_residuals = 0;
  std::vector<int> layer_slots;      // (layers of the model)
  std::vector<int> residual_slots;   // (layers of the model)
  int top_k = 0;                     // width of the slots below
  uint16_t* topk_experts = nullptr;  // (trace rows, num_layers, top_k)   kNoExpert where empty
  float* topk_weights = nullptr;     // (trace rows, num_layers, top_k)   as applied
  float* shared_gate = nullptr;      // (trace rows, num_layers)          after the sigmoid
  float* margin = nullptr;           // (trace rows, num_layers)
  uint8_t* intervened = nullptr;     // (trace rows, num_layers)
  float* router_logits = nullptr;    // (trace rows, num_layers, num_experts)  raw z
  float* router_input = nullptr;     // (trace rows, num_layers, hidden)  the normed input of the MoE block
  float* expert_norms = nullptr;     // (trace rows, num_layers, top_k)   |f_e(h)| before the gate; NaN where none ran
  float* shared_norm = nullptr;      // (trace rows, num_layers)          |f_shared(h)| before its gate
  float* residual = nullptr;         // (trace rows, num_residuals, hidden)  residual stream after the layer
  HookRunner* hooks = nullptr;       // callbacks
  Contributions* contributions = nullptr;
};

// Output of the router for the rows of a batch.
struct Routes {
  int top_k = 0;                   // slots per row; unused ones hold kNoExpert and weight 0
  std::vector<uint16_t> run;       // (rows, top_k)  experts whose weights run
  std::vector<float> weights;      // (rows, top_k)
  std::vector<float> shared_gate;  // (rows)         0 where the shared expert is removed
};

// What is wanted from the final hidden state of one row, and where it goes; null pointers are not wanted.
struct HeadRequest {
  int row = 0;                // of the batch
  int64_t next_position = 0;  // of the token that the row predicts
  float* logits = nullptr;    // (vocab)
  int32_t target = -1;        // log p(target), and whether it is the argmax
  float* target_logprob = nullptr;
  uint8_t* target_is_greedy = nullptr;
  int32_t top_n = 0;                   // most likely tokens, ties to the lower id
  int32_t* top_ids = nullptr;          // (top_n)
  float* top_logprobs = nullptr;       // (top_n)
  const SampleSpec* sample = nullptr;  // one drawn token, with its log-probability before penalties and temperature
  int32_t* sampled_id = nullptr;
  float* sampled_logprob = nullptr;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // Room for the residual stream and the normed input of an FFN block, (rows, hidden) each; valid until the next call.
  struct Activations {
    float* x = nullptr;
    float* h = nullptr;
  };
  virtual Activations activations(int rows) = 0;

  virtual void embed(const Batch& batch, float* x) = 0;
  // In place of embed() where the batch begins above layer 0: `batch.inputs` from host memory.
  virtual void load_inputs(const Batch& batch, float* x) = 0;
  // Norm, q k v (+ bias), rope, cache write, attention, output projection, add.
  virtual void attend(int layer, const Batch& batch, float* x) = 0;
  // h: the normed input of the MoE block. Callbacks may replace h, the logits and the shared gate.
  virtual void route(int layer, const Batch& batch, const float* x, float* h, Routes& routes, const Taps& taps) = 0;
  // Routed experts in slot order, shared expert, add.
  virtual void experts(int layer, const Batch& batch, float* x, const float* h, const Routes& routes,
                       const Taps& taps) = 0;
  // Norm, gate up down, add.
  virtual void feed_forward(int layer, int rows, float* x) = 0;
  // Final norm and output matrix for the rows that a request names.
  virtual void head(const Batch& batch, const float* x, const std::vector<HeadRequest>& requests, const Taps& taps) = 0;
  // Copies rows [first, first + count) of the residual stream to host memory, or from it.
  virtual void read_rows(const float* x, int first, int count, float* host) = 0;
  virtual void write_rows(const float* host, int first, int count, float* x) = 0;

  // Polled inside long ops; when it turns true they end with Aborted. Null: never.
  virtual void set_cancel(const std::atomic<bool>* cancel) = 0;

  // Where keys and values live.
  virtual std::shared_ptr<PageMemory> page_memory() { return host_page_memory(); }

  // Where ops add their time from now on; null: nowhere.
  virtual void set_profile(Profile* profile) = 0;
};

}  // namespace moescope
