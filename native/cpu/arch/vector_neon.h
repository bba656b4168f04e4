// F32x16 on arm64 NEON: four registers.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

namespace moescope {
namespace {  // each instruction set has an F32x16 of its own: the linker must not merge them

struct F32x16 {
  float32x4_t q[4];

  static F32x16 zero() { return broadcast(0); }
  static F32x16 broadcast(float value) {
    const float32x4_t lane = vdupq_n_f32(value);
    return {{lane, lane, lane, lane}};
  }
  static F32x16 load(const float* source) {
    return {{vld1q_f32(source), vld1q_f32(source + 4), vld1q_f32(source + 8), vld1q_f32(source + 12)}};
  }
  static F32x16 load_first(const float* source, int64_t count) {
    float lanes[16] = {};
    std::memcpy(lanes, source, static_cast<size_t>(count) * sizeof(float));
    return load(lanes);
  }
  void store(float* target) const {
    for (int part = 0; part < 4; ++part) vst1q_f32(target + 4 * part, q[part]);
  }
  void store_first(float* target, int64_t count) const {
    float lanes[16];
    store(lanes);
    std::memcpy(target, lanes, static_cast<size_t>(count) * sizeof(float));
  }

  float sum() const {
    const float32x4_t quarter = vaddq_f32(vaddq_f32(q[0], q[2]), vaddq_f32(q[1], q[3]));
    const float32x2_t pair = vadd_f32(vget_low_f32(quarter), vget_high_f32(quarter));
    return vget_lane_f32(pair, 0) + vget_lane_f32(pair, 1);
  }
  float max() const { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(q[0], q[1]), vmaxq_f32(q[2], q[3]))); }

#define MOESCOPE_LANEWISE(name, op)                                                            \
  friend F32x16 name(F32x16 a, F32x16 b) {                                                     \
    return {{op(a.q[0], b.q[0]), op(a.q[1], b.q[1]), op(a.q[2], b.q[2]), op(a.q[3], b.q[3])}}; \
  }
  MOESCOPE_LANEWISE(operator+, vaddq_f32)
  MOESCOPE_LANEWISE(operator-, vsubq_f32)
  MOESCOPE_LANEWISE(operator*, vmulq_f32)
  MOESCOPE_LANEWISE(operator/, vdivq_f32)
  MOESCOPE_LANEWISE(max, vmaxq_f32)
  MOESCOPE_LANEWISE(min, vminq_f32)
#undef MOESCOPE_LANEWISE
  friend F32x16 fma(F32x16 a, F32x16 b, F32x16 c) {
    return {{vfmaq_f32(c.q[0], a.q[0], b.q[0]), vfmaq_f32(c.q[1], a.q[1], b.q[1]), vfmaq_f32(c.q[2], a.q[2], b.q[2]),
             vfmaq_f32(c.q[3], a.q[3], b.q[3])}};
  }
  friend F32x16 round(F32x16 a) {
    return {{vrndnq_f32(a.q[0]), vrndnq_f32(a.q[1]), vrndnq_f32(a.q[2]), vrndnq_f32(a.q[3])}};
  }
  friend F32x16 exp2i(F32x16 n) {
    return {{exp2i_part(n.q[0]), exp2i_part(n.q[1]), exp2i_part(n.q[2]), exp2i_part(n.q[3])}};
  }

 private:
  static float32x4_t exp2i_part(float32x4_t n) {
    const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
  }
};

}  // namespace
}  // namespace moescope
