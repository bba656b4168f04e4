// x += sum over slots of g_e FFN_e(h), in slot order, + shared_gate * FFN_shared(h): native/cpu/experts.cpp on the device. The routes are
// read there, so the host need not know them.
#pragma once

#include "core/router.h"
#include "cuda/product.h"
#include "cuda/rms_norm.h"

namespace moescope::cuda {

// y = down( silu(gate x) * (up x) )
struct PackedFeedForward {
  PackedMatrix gate, up, down;
};

// Routed experts with their row's input, its output and what lies between. An assignment is (row, slot). An expert runs unless its slot
// is empty or its weight 0: its contribution is removed even where it is not a finite number.
struct ExpertsParams {
  static constexpr KernelInfo kInfo = product_kernel("experts");

  int rows = 0;
  int top_k = 0;
  int hidden = 0;
  Global<const PackedFeedForward> experts = nullptr;  // (num_experts), on the device
  int intermediate = 0;                               // of the routed experts
  bool is_mixed = false;                      // gate and up of some expert, or of the shared one, differ in type
  Global<const uint16_t> run = nullptr;       // (rows, top_k)  kNoExpert: none
  Global<const float> weights = nullptr;      // (rows, top_k)
  PackedFeedForward shared;                   // no rows: there is none
  Global<const float> shared_gate = nullptr;  // (rows)  0: it is removed
  int num_experts = 0;
  Global<int32_t> group_starts = nullptr;  // (num_experts + 1)  where many rows are grouped by expert; room
  Global<int32_t> group_list = nullptr;    // (rows * top_k)     assignments by expert, ascending; room
  LeftSide h;                              // (rows, hidden)
  LeftSide inner;                          // (rows * top_k, intermediate)
  LeftSide shared_inner;                   // (rows, shared.gate.rows)
  Global<float> out = nullptr;             // (rows, top_k, hidden)  of each expert, before its weight
  Global<float> shared_out = nullptr;      // (rows, hidden)         before the gate

  MOESCOPE_ANYWHERE bool has_shared() const { return shared.gate.rows > 0; }
  // Whether experts meet their rows together, so many that tiles pay. The bits are the same either way.
  MOESCOPE_ANYWHERE bool is_grouped() const {
    return group_list != nullptr && !is_mixed && static_cast<int64_t>(rows) * top_k >= 8 * num_experts;
  }
  // Blocks for each part of the routed experts: an assignment each, or tiles of an expert's rows, of which some may be empty.
  MOESCOPE_ANYWHERE int routed_items() const {
    return is_grouped() ? rows * top_k / kTileColumns + num_experts : rows * top_k;
  }
};

// silu(gate h) * (up h) of every assignment and of the shared expert; groups the assignments first where that pays.
void experts_in(Stream& stream, const ExpertsParams& params);
// down of the same.
void experts_out(Stream& stream, const ExpertsParams& params);

struct CombineParams {
  static constexpr KernelInfo kInfo{"combine", RmsNormParams::kThreads, RmsNormParams::kInfo.max_shared_bytes};

  ExpertsParams experts;
  Global<float> x = nullptr;  // (rows, hidden)
  RmsNormParams next = {};    // the norm that follows, of x; no weight: none
};

// x += what the experts gave, and the norm of the sum.
void combine(Stream& stream, const CombineParams& params);

// down(silu(gate h) * (up h)) of a dense layer: `gate_up` fills `inner`, matmul() does the rest.
struct GateUpParams {
  static constexpr KernelInfo kInfo = product_kernel("gate_up");

  int rows = 0;
  PackedMatrix gate, up;
  LeftSide h;      // (rows, hidden)
  LeftSide inner;  // (rows, gate.rows)
};

void gate_up(Stream& stream, const GateUpParams& params);

}  // namespace moescope::cuda
