// A warp for each row decides; then its lanes write the slots, the counts and what is recorded.
#include "cuda/decide.cuh"
#include "cuda/route.h"

namespace moescope::cuda {

namespace {

// Null where the row is not recorded.
struct Recorded {
  bool is_wanted = false;
  int64_t place = 0;
};

__device__ Recorded place_of(const DecideParams& p, const RouteRow& row) {
  if (p.taps == nullptr || row.trace_row < 0) return {};
  const int slot = p.taps->layer_slots[p.layer];
  return {slot >= 0, static_cast<int64_t>(row.trace_row) * p.taps->num_layers + slot};
}

__device__ void record(const DecideParams& p, int64_t row, int64_t place, const Shared<Slot>& slots, int num_slots,
                       float margin, bool is_intervened, float shared_gate) {
  const RouteTaps& taps = *p.taps;
  const int lane = static_cast<int>(threadIdx.x);
  for (int slot = lane; slot < taps.top_k; slot += kWarpSize) {
    const bool is_used = slot < num_slots;
    taps.topk_experts[place * taps.top_k + slot] = is_used ? static_cast<uint16_t>(slots[slot].expert) : kNoExpert;
    taps.topk_weights[place * taps.top_k + slot] = is_used ? slots[slot].weight : 0.0f;
  }
  if (taps.router_logits != nullptr) {
    for (int expert = lane; expert < p.num_experts; expert += kWarpSize) {
      taps.router_logits[place * p.num_experts + expert] = p.raw_logits[row * p.num_experts + expert];
    }
  }
  if (lane != 0) return;
  taps.margin[place] = margin;
  if (is_intervened) taps.intervened[place] = 1;
  if (taps.shared_gate != nullptr) taps.shared_gate[place] = shared_gate;
}

template <int kPerLane>
__global__ void __launch_bounds__(DecideParams::kInfo.max_threads) decide_kernel(const DecideParams p) {
  SharedArena arena;
  const Shared<double> exps = arena.take<double>(p.num_experts);
  const Shared<Slot> slots = arena.take<Slot>(p.width);
  const int lane = static_cast<int>(threadIdx.x);
  const int64_t index = blockIdx.x;
  const RouteRow row = p.rows[index];

  bool is_finite_row = true;
  for (int expert = lane; expert < p.num_experts; expert += kWarpSize) {
    is_finite_row = is_finite_row && is_finite(p.raw_logits[index * p.num_experts + expert]);
  }
  RowRouter<kPerLane> router(p, row, exps, slots);
  const RouteStatus status = __all_sync(kAllLanes, is_finite_row) ? router.run(index) : RouteStatus::NotFinite;
  const int num_slots = status == RouteStatus::Fine ? router.num_slots() : 0;
  __syncwarp();

  for (int slot = lane; slot < p.width; slot += kWarpSize) {
    const bool is_used = slot < num_slots;
    p.run[index * p.width + slot] = is_used ? static_cast<uint16_t>(slots[slot].run) : kNoExpert;
    p.weights[index * p.width + slot] = is_used ? slots[slot].weight : 0.0f;
    if (!is_used || row.count_slot < 0) continue;
    const int64_t counts = (static_cast<int64_t>(row.count_slot) * p.num_moe_layers + p.moe_layer) * p.num_experts;
    atomicAdd(p.counts + (counts + slots[slot].expert), 1u);
  }
  float shared_gate = 0;
  if (p.shared_gate != nullptr) {
    shared_gate = router.zeroes_shared() ? 0.0f : p.shared_gate[index];
    __syncwarp();
    if (lane == 0) p.shared_gate[index] = shared_gate;
  }
  if (lane == 0) p.status[index] = static_cast<int32_t>(status);
  const Recorded recorded = place_of(p, row);
  if (status != RouteStatus::Fine || !recorded.is_wanted) return;
  record(p, index, recorded.place, slots, num_slots, router.margin(), router.is_intervened(), shared_gate);
}

template <int kPerLane>
void decide_with(Stream& stream, int rows, const DecideParams& params) {
  const size_t shared_bytes = arena_bytes<double>(params.num_experts) + arena_bytes<Slot>(params.width);
  launch(stream, decide_kernel<kPerLane>, Grid{static_cast<unsigned>(rows)}, kWarpSize, shared_bytes, params);
}

static_assert(sizeof(Slot) <= DecideParams::kSlotBytes);

}  // namespace

void decide(Stream& stream, int rows, const DecideParams& params) {
  const int per_lane = (params.num_experts + kWarpSize - 1) / kWarpSize;
  if (per_lane <= 1) return decide_with<1>(stream, rows, params);
  if (per_lane <= 2) return decide_with<2>(stream, rows, params);
  if (per_lane <= 4) return decide_with<4>(stream, rows, params);
  if (per_lane <= kExpertWords) return decide_with<kExpertWords>(stream, rows, params);
  fail(ErrorCode::Unsupported, "Device cuda routes among at most ", kMaxExperts, " experts, the model has ",
       params.num_experts, ".");
}

}  // namespace moescope::cuda
