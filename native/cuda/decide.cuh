// One row of the routing contract in one warp: the steps of decide_route() in core/router.cpp, with its bits. Lane l has the experts
// l, l + 32, ...; every lane takes the same turns.
#pragma once

#include <climits>

#include "cuda/device.h"
#include "cuda/route.h"

namespace moescope::cuda {

constexpr int kNobody = INT_MAX;

struct Best {
  float z;
  int expert;  // kNobody: nobody
};

// Larger z', then the lower index.
__device__ inline bool is_before(const Best& a, const Best& b) {
  if (a.expert == kNobody || b.expert == kNobody) return b.expert == kNobody && a.expert != kNobody;
  return a.z > b.z || (a.z == b.z && a.expert < b.expert);
}

__device__ inline Best best_of_warp(Best best) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    const Best other{__shfl_xor_sync(kAllLanes, best.z, distance), __shfl_xor_sync(kAllLanes, best.expert, distance)};
    if (is_before(other, best)) best = other;
  }
  return best;
}

__device__ inline bool is_minus_infinity(float z) { return __float_as_uint(z) == 0xff800000u; }
__device__ inline bool is_finite(float z) { return (__float_as_uint(z) & 0x7f800000u) != 0x7f800000u; }

__device__ inline bool acts_at(const DeviceRule& rule, const RouteRow& row, Global<const int32_t> segments) {
  if (row.position < rule.position_start || row.position >= rule.position_end) return false;
  if (rule.origin >= 0 && rule.origin != row.origin) return false;
  for (int i = 0; i < rule.num_segments; ++i) {
    if (segments[rule.first_segment + i] == row.segment) return true;
  }
  return rule.num_segments == 0;
}

// A selected expert.
struct Slot {
  int expert;
  int run;  // whose weights run
  float weight;
};

// What the rules that act on a row ask of its selection; the same in every lane, but for `forced`.
struct Selection {
  int k = 0;
  int replayed = -1;    // index of a rule
  uint32_t forced = 0;  // bit j: this lane's expert l + 32 j
  bool is_constrained = false;
  bool is_intervened = false;
};

template <int kPerLane>
class RowRouter {
 public:
  __device__ RowRouter(const DecideParams& p, const RouteRow& row, Shared<double> exps, Shared<Slot> slots)
      : p_(p), row_(row), exps_(exps), slots_(slots), lane_(static_cast<int>(threadIdx.x)) {
    if (row.plan < 0) return;
    const int64_t starts = static_cast<int64_t>(row.plan) * (p.tables.num_layers + 1) + p.layer;
    first_rule_ = p.tables.starts[starts];
    end_rule_ = p.tables.starts[starts + 1];
  }

  // Fills the slots; num_slots() of them.
  __device__ RouteStatus run(int64_t row) {
    for (int j = 0; j < kPerLane; ++j) z_[j] = has(j) ? p_.logits[row * p_.num_experts + expert(j)] : 0.0f;
    apply_to_logits();
    const RouteStatus status = check();
    if (status != RouteStatus::Fine) return status;
    select();
    const double sum = softmax();
    if (selection_.replayed >= 0 && !replay()) return RouteStatus::OutsideReplay;
    gates(sum);
    finish();
    return RouteStatus::Fine;
  }

  __device__ int num_slots() const { return num_slots_; }
  __device__ float margin() const { return margin_; }
  __device__ bool zeroes_shared() const { return zeroes_shared_; }
  __device__ bool is_intervened() const { return selection_.is_intervened; }

 private:
  using Kind = RouteRule::Kind;

  __device__ int expert(int j) const { return lane_ + kWarpSize * j; }
  __device__ bool has(int j) const { return expert(j) < p_.num_experts; }

  // Step 2.
  __device__ void apply_to_logits() {
    selection_.k = p_.k;
    for (int index = first_rule_; index < end_rule_; ++index) {
      const DeviceRule& rule = p_.tables.rules[index];
      if (!acts_at(rule, row_, p_.tables.segments)) continue;
      selection_.is_intervened = true;
      selection_.is_constrained |= rule.kind == Kind::Mask || rule.kind == Kind::Force || rule.kind == Kind::TopK;
      if (rule.kind == Kind::TopK) selection_.k = rule.k;
      if (rule.kind == Kind::Replay) selection_.replayed = index;
      for (int j = 0; j < kPerLane; ++j) {
        const bool is_named = (rule.experts[j] >> lane_ & 1) != 0;
        if (rule.kind == Kind::Bias && has(j)) z_[j] += p_.tables.floats[rule.first_bias + expert(j)];
        if (rule.kind == Kind::Mask && is_named) z_[j] = __uint_as_float(0xff800000u);
        if (rule.kind == Kind::Force && is_named) selection_.forced |= 1u << j;
      }
    }
  }

  __device__ RouteStatus check() {
    int left = 0, forced = 0;
    bool is_masked_and_forced = false;
    for (int j = 0; j < kPerLane; ++j) {
      const bool is_forced = (selection_.forced >> j & 1) != 0, is_masked = is_minus_infinity(z_[j]);
      left += has(j) && !is_masked;
      forced += is_forced;
      is_masked_and_forced |= is_forced && is_masked;
    }
    num_forced_ = warp_sum(forced);
    if (selection_.replayed >= 0 && selection_.is_constrained) return RouteStatus::ReplayConstrained;
    if (warp_sum(left) < selection_.k) return RouteStatus::TooFewExperts;
    if (num_forced_ > selection_.k) return RouteStatus::TooManyForced;
    return __any_sync(kAllLanes, is_masked_and_forced) ? RouteStatus::ForcedMasked : RouteStatus::Fine;
  }

  // The best expert that nobody took, of all or of the forced ones alone; it is taken.
  __device__ Best take(bool forced_alone) {
    Best best{0, kNobody};
    for (int j = 0; j < kPerLane; ++j) {
      const bool can_be = has(j) && (taken_ >> j & 1) == 0 && (!forced_alone || (selection_.forced >> j & 1) != 0);
      const Best own{z_[j], can_be ? expert(j) : kNobody};
      if (is_before(own, best)) best = own;
    }
    best = best_of_warp(best);
    if (best.expert != kNobody && best.expert % kWarpSize == lane_) taken_ |= 1u << best.expert / kWarpSize;
    return best;
  }

  // Step 3: the order of z' decides the margin; slots are filled on the same walk, on a second one where some are forced.
  __device__ void select() {
    const int k = selection_.k;
    Best last{0, kNobody};
    for (int slot = 0; slot < k; ++slot) {
      last = take(false);
      if (slot == 0) largest_ = last.z;
      if (lane_ == 0) slots_[slot] = {last.expert, last.expert, 0};
    }
    margin_ = k < p_.num_experts ? last.z - take(false).z : __uint_as_float(0x7f800000u);
    if (num_forced_ > 0) {
      taken_ = 0;
      int free_slots = k - num_forced_;
      for (int slot = 0; slot < k; ++slot) {
        const Best best = take(free_slots == 0);
        const unsigned forced = __shfl_sync(kAllLanes, selection_.forced, best.expert % kWarpSize);
        if ((forced >> best.expert / kWarpSize & 1) == 0) --free_slots;
        if (lane_ == 0) slots_[slot] = {best.expert, best.expert, 0};
      }
    }
    num_slots_ = k;
  }

  // Step 4: exp(z' - max) by expert, and their sum in ascending order. Its barrier shows the slots to all lanes, too.
  __device__ double softmax() {
    for (int j = 0; j < kPerLane; ++j) {
      if (has(j)) exps_[expert(j)] = exp(static_cast<double>(z_[j]) - static_cast<double>(largest_));
    }
    __syncwarp();
    double sum = 0;
    for (int e = 0; e < p_.num_experts; ++e) sum += exps_[e];
    return sum;
  }

  // Step 6: the recorded ids; false where the recording does not reach.
  __device__ bool replay() {
    const DeviceRule& rule = p_.tables.rules[selection_.replayed];
    const int64_t at = row_.position - rule.route_start;
    if (at < 0 || at >= rule.route_rows) return false;
    const int64_t first = rule.first_recorded + at * rule.route_k;
    num_slots_ = 0;
    for (int slot = 0; slot < rule.route_k; ++slot) {
      const int recorded = p_.tables.experts[first + slot];
      if (recorded == kNoExpert) continue;
      if (lane_ == 0) {
        const bool has_weight = rule.first_recorded_weight >= 0;
        slots_[num_slots_] = {recorded, recorded,
                              has_weight ? p_.tables.floats[rule.first_recorded_weight + at * rule.route_k + slot] : 0};
      }
      ++num_slots_;
    }
    has_recorded_weights_ = rule.first_recorded_weight >= 0;
    __syncwarp();
    return true;
  }

  // Step 5.
  __device__ void gates(double sum) {
    if (has_recorded_weights_) return;
    double selected = 1;
    if (p_.norm_topk_prob) {
      selected = 0;
      for (int slot = 0; slot < num_slots_; ++slot) selected += exps_[slots_[slot].expert] / sum;
    }
    for (int slot = lane_; slot < num_slots_; slot += kWarpSize) {
      slots_[slot].weight = static_cast<float>(exps_[slots_[slot].expert] / sum / selected);
    }
  }

  // Step 7: a lane has the slots l, l + 32, ...
  __device__ void finish() {
    for (int index = first_rule_; index < end_rule_; ++index) {
      const DeviceRule& rule = p_.tables.rules[index];
      if ((rule.kind != Kind::Zero && rule.kind != Kind::Swap) || !acts_at(rule, row_, p_.tables.segments)) continue;
      zeroes_shared_ |= rule.kind == Kind::Zero && rule.zeroes_shared;
      for (int slot = lane_; slot < num_slots_; slot += kWarpSize) {
        const int selected = slots_[slot].expert;
        if (rule.kind == Kind::Swap && selected == rule.from) slots_[slot].run = rule.to;
        if (rule.kind == Kind::Zero && (rule.experts[selected / 32] >> selected % 32 & 1)) slots_[slot].weight = 0;
      }
    }
  }

  const DecideParams& p_;
  const RouteRow& row_;
  const Shared<double> exps_;
  const Shared<Slot> slots_;
  const int lane_;
  int first_rule_ = 0, end_rule_ = 0;
  float z_[kPerLane];
  uint32_t taken_ = 0;
  Selection selection_;
  int num_forced_ = 0;
  int num_slots_ = 0;
  float largest_ = 0, margin_ = 0;
  bool has_recorded_weights_ = false, zeroes_shared_ = false;
};

}  // namespace moescope::cuda
