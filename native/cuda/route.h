// The router: logits of the normed input, then the routing contract of core/router.h for every row, interventions included, in one
// warp. Between the two a callback may replace the logits.
#pragma once

#include "cuda/launch.h"
#include "cuda/route_rules.h"

namespace moescope::cuda {

// z = Wr h and the shared expert's gate, fp32.
struct ScoreParams {
  static constexpr int kWarps = 4;     // parts of a sum
  static constexpr int kTileRows = 8;  // rows that share one reading of the weights
  static constexpr KernelInfo kInfo{"score", kWarps * 32, arena_bytes<float>(kWarps* kTileRows)};

  Global<const float> h = nullptr;            // (rows, hidden)  normed
  Global<const float> router = nullptr;       // (experts, hidden)
  Global<const float> gate_weight = nullptr;  // (hidden), or null: no shared expert
  Global<float> logits = nullptr;             // (rows, experts)
  Global<float> shared_gate = nullptr;        // (rows)  after the sigmoid; not touched without a shared expert
  int rows = 0;
  int hidden = 0;
  int num_experts = 0;
};

void score(Stream& stream, const ScoreParams& params);

// Where rows are recorded, in device memory: a captured graph finds a new step's buffers here. Members as in Taps of core/backend.h;
// null pointers are not wanted. Unused slots get kNoExpert and 0.
struct RouteTaps {
  Global<const int32_t> layer_slots = nullptr;  // (layers)  -1: not recorded
  Global<uint16_t> topk_experts = nullptr;      // (trace rows, num_layers, top_k)
  Global<float> topk_weights = nullptr;         // (trace rows, num_layers, top_k)
  Global<float> shared_gate = nullptr;          // (trace rows, num_layers)
  Global<float> margin = nullptr;               // (trace rows, num_layers)
  Global<uint8_t> intervened = nullptr;         // (trace rows, num_layers)  or-ed
  Global<float> router_logits = nullptr;        // (trace rows, num_layers, num_experts)
  int num_layers = 0;
  int top_k = 0;
};

// What keeps a row from being routed; the host makes the sentence with decide_route().
enum class RouteStatus : int32_t {
  Fine,
  NotFinite,
  ReplayConstrained,
  TooFewExperts,
  TooManyForced,
  ForcedMasked,
  OutsideReplay
};

struct DecideParams {
  static constexpr int kSlotBytes = 16;
  static constexpr KernelInfo kInfo{"decide", 32,
                                    arena_bytes<double>(kMaxExperts) + arena_bytes<char>(kMaxExperts* kSlotBytes)};

  Global<const float> raw_logits = nullptr;  // (rows, experts)  z, recorded
  Global<const float> logits = nullptr;      // (rows, experts)  z as callbacks left it; -inf is a masked expert
  Global<const RouteRow> rows = nullptr;     // (rows)
  Global<const RouteTaps> taps = nullptr;    // one, or null
  RouteTables tables;
  Global<uint32_t> counts = nullptr;    // (count slots, MoE layers, experts)
  Global<uint16_t> run = nullptr;       // (rows, width)  experts whose weights run; kNoExpert where unused
  Global<float> weights = nullptr;      // (rows, width)
  Global<float> shared_gate = nullptr;  // (rows), or null; set to 0 where the shared expert is removed
  Global<int32_t> status = nullptr;     // (rows)  of RouteStatus; rows that are not fine run no expert
  int num_experts = 0;
  int k = 0;
  int width = 0;  // slots of a row, at least as many as any rule selects
  int layer = 0, moe_layer = 0, num_moe_layers = 0;
  uint8_t norm_topk_prob = 0;
};

void decide(Stream& stream, int rows, const DecideParams& params);

}  // namespace moescope::cuda
