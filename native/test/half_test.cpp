// The 16-bit floats against their definition, written in double: every one of their bit patterns, and every point
// halfway between two of them.
#include "core/half.h"

#include <cmath>
#include <limits>
#include <vector>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include "core/blocks.h"
#include "test/check.h"

using namespace moescope;

namespace {

// A 16-bit float with `mantissa_bits` below an exponent of the given bias (IEEE 754: 10 and 15; bfloat16: 7 and 127).
double define(int bits, int mantissa_bits, int bias) {
  const int magnitude = bits & 0x7fff;
  const int exponent = magnitude >> mantissa_bits;
  const int mantissa = magnitude & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << (15 - mantissa_bits)) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

double half_value(int bits) { return define(bits, 10, 15); }
double bf16_value(int bits) { return define(bits, 7, 127); }

// Value and sign, so that the zeros differ; NaN equals NaN.
bool same(double a, double b) {
  return (std::isnan(a) && std::isnan(b)) || (a == b && std::signbit(a) == std::signbit(b));
}

// Each pattern comes back through fp32; NaN stays NaN, and becomes quiet.
void check_round_trip(float (*widen)(uint16_t), uint16_t (*narrow)(float), double (*value)(int), int quiet_bit) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float wide = widen(static_cast<uint16_t>(bits));
    CHECK(same(wide, value(bits)));
    CHECK_EQ(static_cast<int>(narrow(wide)), std::isnan(wide) ? bits | quiet_bit : bits);
  }
}

// Between neighbours of the positive numbers: the midpoint goes to the even pattern, its own fp32 neighbours to the
// nearer number. `infinite` is the pattern of infinity, which takes the place of 2^(largest exponent + 1).
void check_rounding(uint16_t (*narrow)(float), double (*value)(int), int infinite) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (int low = 0; low < infinite; ++low) {
    const double step = low + 1 < infinite ? value(low + 1) - value(low) : value(low) - value(low - 1);
    const double midpoint = value(low) + step / 2;
    const auto exact = static_cast<float>(midpoint);
    CHECK_EQ(static_cast<double>(exact), midpoint);
    CHECK_EQ(static_cast<int>(narrow(exact)), low + low % 2);
    CHECK_EQ(static_cast<int>(narrow(-exact)), (low + low % 2) | 0x8000);
    CHECK_EQ(static_cast<int>(narrow(std::nextafter(exact, 0.0f))), low);
    CHECK_EQ(static_cast<int>(narrow(std::nextafter(exact, infinity))), low + 1);
    CHECK_EQ(static_cast<int>(narrow(-std::nextafter(exact, infinity))), (low + 1) | 0x8000);
  }
  CHECK_EQ(static_cast<int>(narrow(std::numeric_limits<float>::max())), infinite);
  CHECK_EQ(static_cast<int>(narrow(std::numeric_limits<float>::denorm_min())), 0);
}

}  // namespace

static_assert(half_to_float(0x3555) == 0x1.554p-2f && float_to_half(65504.0f) == 0x7bff);
static_assert(bf16_to_float(0x3f80) == 1.0f && float_to_bf16(3.14159265f) == 0x4049);

CASE("fp16 comes back through fp32, all 65536") { check_round_trip(half_to_float, float_to_half, half_value, 0x0200); }

CASE("bf16 comes back through fp32, all 65536") { check_round_trip(bf16_to_float, float_to_bf16, bf16_value, 0x0040); }

CASE("fp32 to fp16 rounds to nearest, ties to even") { check_rounding(float_to_half, half_value, 0x7c00); }

CASE("fp32 to bf16 rounds to nearest, ties to even") { check_rounding(float_to_bf16, bf16_value, 0x7f80); }

CASE("NaN with a payload in the low bits alone stays NaN") {
  for (const uint32_t bits : {0x7f800001u, 0xff801fffu, 0x7fffffffu}) {
    const auto nan = std::bit_cast<float>(bits);
    CHECK(std::isnan(half_to_float(float_to_half(nan))));
    CHECK(std::isnan(bf16_to_float(float_to_bf16(nan))));
  }
}

#if defined(__SSE__)
CASE("fp16 subnormals survive a processor that is set to flush them") {
  std::vector<uint16_t> halves;
  for (int bits = 0; bits < 0x0400; ++bits) halves.push_back(static_cast<uint16_t>(bits));
  std::vector<float> values(halves.size());
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | 0x8040u);  // flush to zero, denormals are zero
  dequantize_row(DType::F16, halves.data(), values.data(), static_cast<int64_t>(halves.size()));
  _mm_setcsr(saved);
  for (size_t i = 0; i < halves.size(); ++i) CHECK(same(values[i], half_value(halves[i])));
}
#endif
