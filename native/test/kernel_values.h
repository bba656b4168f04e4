// Random inputs of kernels and comparison of their bits.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/arch/kernels.h"
#include "test/check.h"

namespace moescope::check {

constexpr double kUlp = 0x1p-24;  // relative error of one rounding
constexpr float kInfinity = std::numeric_limits<float>::infinity();

inline std::vector<const Kernels*> variants() {
  std::vector<const Kernels*> all;
  for (int index = 0; index < num_kernel_variants(); ++index) all.push_back(&kernel_variant(index));
  return all;
}

inline std::vector<float> random_floats(size_t count, Random& random, double spread = 1) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<float>(spread * random.normal()));
  return values;
}

// Equal bits, or both NaN.
inline bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

inline bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return same(x, y); });
}

inline bool all_nan(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

}  // namespace moescope::check
