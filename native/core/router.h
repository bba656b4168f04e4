// The routing contract, version 1: shared by every backend, the tests and the emulator. One token, one MoE layer:
//
//   1  z  = Wr h                          raw router logits, fp32; a trace always records these
//   2  z' = z + bias, masked to -inf      effective logits; a callback may have replaced z before; the order of RouteRule::Kind
//   3  S  = forced experts, then the largest z'; k in all; slots in descending z', ties to the lower index
//   4  p  = softmax(z') over ALL experts
//   5  g  = p at S; divided by their sum only where norm_topk_prob says so
//   6  replay puts recorded ids (and, if asked, recorded gates) in place of 3 and 5
//   7  zero sets g of the named experts to 0 by selected id; swap runs another expert's weights under the selected id's gate
//   8  y  = sum over slots in slot order of g * expert(h), then sigmoid(ws . h) * shared(h), then the residual
//
// With no rule active the bits are those of steps 1, 3, 4, 5, 8 alone.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "core/config.h"

namespace moescope {

constexpr uint16_t kNoExpert = 65535;  // an empty slot

// Where a token stands, for the scopes of rules.
struct RoutePosition {
  int64_t position = 0;
  int origin = 0;
  int32_t segment = 0;
};

struct RouteScope {
  int64_t position_start = 0;
  int64_t position_end = std::numeric_limits<int64_t>::max();  // exclusive
  int origin = -1;                                             // 0 prompt, 1 generated, -1 any
  std::vector<int32_t> segments;                               // empty: any
};

struct RouteRule {
  enum class Kind : uint8_t { Bias, Mask, TopK, Force, Replay, Zero, Swap };

  Kind kind = Kind::Zero;
  RouteScope scope;
  std::vector<uint16_t> experts;        // mask, force, zero
  bool shared = false;                  // zero: the shared expert too
  std::vector<float> bias;              // (experts)
  int k = 0;                            // top-k
  uint16_t from = 0, to = 0;            // swap
  int64_t route_start = 0;              // replay: absolute position of the first recorded row
  int route_k = 0;                      // replay
  int route_layers = 0;                 // replay: recorded layers; 1 within a plan, which keeps each layer its own part
  std::vector<uint16_t> route_experts;  // (positions, route_layers, route_k)
  std::vector<float> route_weights;     // same shape; empty: gates of this pass
};

// Where callbacks may read and replace values, in the order of the forward pass; names and widths: core/hooks.h.
enum class HookPoint : uint8_t {
  ResidualBefore,
  RouterInput,
  RouterLogits,
  SharedGate,
  ExpertOutput,
  SharedOutput,
  MoeOutput,
  ResidualAfter,
  FinalNorm,
  OutputLogits,
};

// A callback at a hook point of some layers. `callback` names it to the HookHost.
struct HookRule {
  HookPoint point = HookPoint::ResidualBefore;
  RouteScope scope;
  std::vector<int32_t> layers;  // empty at the points behind the last layer
  int callback = 0;
};

// The interventions of one sequence, by layer; immutable once made.
struct RoutePlan {
  std::vector<std::vector<RouteRule>> layers;  // (num_layers); rules of a layer sorted by Kind
  std::vector<HookRule> hooks;                 // in the order in which they are called
  int max_top_k = 0;                           // widest selection that any rule can cause
};

// One rule for several layers, as it comes from the caller; or a callback.
struct RouteRequest {
  RouteRule rule;
  std::vector<int32_t> layers;
  std::optional<HookRule> hook = std::nullopt;
};

// Whether a scope holds a place.
bool acts_at(const RouteScope& scope, const RoutePosition& where);

// Sorts and checks; InvalidArgument for unknown layers and experts, selections that cannot be met, contradicting rules.
RoutePlan make_route_plan(const ModelConfig& config, const std::vector<RouteRequest>& requests);

// What the router decided for one row; reused from row to row, so that its vectors are allocated once.
struct RouteDecision {
  std::vector<uint16_t> experts;  // selected ids, slot order
  std::vector<uint16_t> run;      // ids whose weights run: differs by swap
  std::vector<float> weights;     // as applied
  float margin = 0;               // z'_(k) - z'_(k+1); +inf where every expert is selected
  bool zero_shared = false;
  bool intervened = false;

  std::vector<float> logits;  // z'
  std::vector<double> probs;
  std::vector<uint16_t> order;
};

// Steps 2 to 7 for one row. `z`: (num_experts), raw or as a callback left it; -inf is a masked expert. `rules`: this layer's, or null. InvalidArgument where the rules that meet on this row
// leave fewer experts than k, force more than k or a masked one, or constrain a replay.
void decide_route(const ModelConfig& config, const float* z, const std::vector<RouteRule>* rules,
                  const RoutePosition& where, RouteDecision& decision);

}  // namespace moescope
