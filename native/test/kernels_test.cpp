// Dot products, exp, silu and scaled sums of every instruction set that this machine runs: the same bits in all of them, near a
// reference in double, the same for one row and for many, and with NaN passed on.
#include "cpu/arch/kernels.h"

#include <cmath>
#include <string>

#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

// The order of kernels.h, one operation at a time.
float dot_by_definition(const float* x, const float* w, int64_t length) {
  float lane[16] = {};
  for (int64_t i = 0; i < length; ++i) lane[i % 16] = std::fma(x[i], w[i], lane[i % 16]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

// exp(x) for x <= 0, as merge_tile uses it: the weight of an old result of sum 1.
float exp_of(const Kernels& kernels, float x) {
  float max_score = x, sum = 1;
  kernels.merge_tile(0, 0, nullptr, 0, &max_score, &sum, nullptr);
  return sum;
}

}  // namespace

CASE("the portable kernels and the best ones are among those that are tested") {
  bool has_portable = false;
  for (const Kernels* kernels : variants()) has_portable = has_portable || kernels == &kPortableKernels;
  CHECK(has_portable);
  CHECK(variants().front() == &best_kernels());
  std::string names;
  for (const Kernels* kernels : variants()) names += std::string(" ") + kernels->name;
  std::printf("  instruction sets:%s\n", names.c_str());
}

CASE("dot products have the documented order, at any length, stride and offset") {
  Random random(51);
  for (int64_t length = 1; length <= 130; ++length) {
    const int num_x = 1 + random.below(10), num_w = 1 + random.below(10);
    const int64_t x_stride = length + random.below(4), w_stride = length + random.below(4),
                  y_stride = num_w + random.below(4);
    const int offset = random.below(4);  // in elements: vectors are not aligned
    const std::vector<float> x = random_floats(offset + (num_x - 1) * x_stride + length, random);
    const std::vector<float> w = random_floats(offset + (num_w - 1) * w_stride + length, random);
    for (const Kernels* kernels : variants()) {
      std::vector<float> y((num_x - 1) * y_stride + num_w, -7);
      kernels->dot(&x[offset], x_stride, num_x, &w[offset], w_stride, num_w, length, y.data(), y_stride);
      for (int64_t place = 0; place < static_cast<int64_t>(y.size()); ++place) {
        const int64_t m = place / y_stride, n = place % y_stride;
        const float expected =
            n >= num_w ? -7 : dot_by_definition(&x[offset + m * x_stride], &w[offset + n * w_stride], length);
        if (!same(y[place], expected)) {
          report(__FILE__, __LINE__, kernels->name, ": length ", length, " [", m, ", ", n, "]: ", y[place], " for ",
                 expected);
        }
      }
    }
  }
}

CASE("dot products of long rows are near those in double") {
  Random random(52);
  for (int64_t length : {64, 1408, 3584, 20480}) {
    const std::vector<float> x = random_floats(length, random), w = random_floats(length, random);
    double expected = 0, magnitude = 0;
    for (int64_t i = 0; i < length; ++i) {
      expected += static_cast<double>(x[i]) * w[i];
      magnitude += std::abs(static_cast<double>(x[i]) * w[i]);
    }
    for (const Kernels* kernels : variants()) {
      float y;
      kernels->dot(x.data(), 0, 1, w.data(), 0, 1, length, &y, 0);
      CHECK_NEAR(y, expected,
                 (static_cast<double>(length) / 16 + 5) * kUlp * magnitude);  // a lane's additions, then the tree's
    }
  }
}

CASE("one row alone gives the bits that it gives among many") {
  Random random(53);
  constexpr int64_t kLength = 77;
  constexpr int kRows = 21;
  const std::vector<float> x = random_floats(kRows * kLength, random), w = random_floats(kRows * kLength, random);
  for (const Kernels* kernels : variants()) {
    std::vector<float> together(kRows * kRows);
    kernels->dot(x.data(), kLength, kRows, w.data(), kLength, kRows, kLength, together.data(), kRows);
    bool is_same = true;
    for (int m = 0; m < kRows; ++m) {
      for (int n = 0; n < kRows; ++n) {
        float alone;
        kernels->dot(&x[m * kLength], 0, 1, &w[n * kLength], 0, 1, kLength, &alone, 0);
        is_same = is_same && same(alone, together[m * kRows + n]);
      }
    }
    CHECK(is_same);
  }
}

CASE("a NaN or an infinity reaches its dot products and no others") {
  Random random(54);
  for (float broken : {std::nanf(""), kInfinity}) {
    for (int64_t at : {0, 15, 16, 31, 32, 36}) {
      std::vector<float> x = random_floats(5 * 37, random);
      const std::vector<float> w = random_floats(5 * 37, random);
      x[2 * 37 + at] = broken;
      for (const Kernels* kernels : variants()) {
        std::vector<float> y(25);
        kernels->dot(x.data(), 37, 5, w.data(), 37, 5, 37, y.data(), 5);
        for (int place = 0; place < 25; ++place) CHECK_EQ(std::isfinite(y[place]), place / 5 != 2);
      }
    }
  }
}

CASE("exp errs by less than 2 ulp, is 1 at 0, and does not grow") {
  for (const Kernels* kernels : variants()) {
    double worst = 0;
    float previous = 2;
    for (float x = -0.0f; x >= -87.3f; x -= 0.00037f) {
      const float value = exp_of(*kernels, x);
      const double exact = std::exp(static_cast<double>(x));
      const double ulp = std::ldexp(1, std::ilogb(exact) - 23);
      worst = std::max(worst, std::abs(value - exact) / ulp);
      CHECK(value <= previous * (1 + 4 * kUlp));
      previous = value;
    }
    CHECK(worst < 2);
    CHECK_EQ(exp_of(*kernels, 0), 1.0f);
    CHECK_EQ(exp_of(*kernels, -1e30f), exp_of(*kernels, -87.3f));
    CHECK_EQ(exp_of(*kernels, -kInfinity), exp_of(*kernels, -87.3f));
    CHECK(exp_of(*kernels, -kInfinity) < 2e-38f);
    CHECK(std::isnan(exp_of(*kernels, std::nanf(""))));
  }
}

CASE("silu(gate) * up has the same bits everywhere, near a reference in double, and may be in place") {
  Random random(59);
  for (int64_t length = 1; length <= 130; ++length) {
    const std::vector<float> gate = random_floats(length, random, length % 5 == 0 ? 40 : 3),
                             up = random_floats(length, random);
    std::vector<float> expected(length + 1, -7);
    kPortableKernels.silu_mul(gate.data(), up.data(), length, expected.data());
    CHECK_EQ(expected[length], -7.0f);
    for (int64_t i = 0; i < length; ++i) {
      const double exact = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
      // exp errs by 2 ulp, then an addition, a division and a product; below -88 it is cut off, where the result is below 1e-35.
      CHECK_NEAR(expected[i], exact, 7 * kUlp * std::abs(exact) + 1e-35);
    }
    for (const Kernels* kernels : variants()) {
      std::vector<float> out(length + 1, -7), in_place = gate;
      kernels->silu_mul(gate.data(), up.data(), length, out.data());
      kernels->silu_mul(in_place.data(), up.data(), length, in_place.data());
      CHECK(same(out, expected));
      out.pop_back();
      CHECK(same(out, in_place));
    }
  }
}

CASE("silu is 0 at 0, z for large z, 0 for very negative z, NaN for NaN") {
  for (const Kernels* kernels : variants()) {
    const std::vector<float> gate = {0, 30, -104, 1e30f, -1e4f, std::nanf(""), 1, kInfinity};
    const std::vector<float> up(8, 1.0f);
    std::vector<float> out(8);
    kernels->silu_mul(gate.data(), up.data(), 8, out.data());
    CHECK_EQ(out[0], 0.0f);
    CHECK_EQ(out[1], 30.0f);
    CHECK_NEAR(out[2], 0, 1e-35);
    CHECK_EQ(out[3], 1e30f);
    CHECK_NEAR(out[4], 0, 1e-33);
    CHECK(std::isnan(out[5]));
    CHECK_NEAR(out[6], 1 / (1 + std::exp(-1.0)), 4 * kUlp);
    CHECK_EQ(out[7], kInfinity);
  }
}

CASE("add_scaled rounds once, at any length, and touches nothing else") {
  Random random(60);
  for (int64_t length = 1; length <= 130; ++length) {
    const std::vector<float> x = random_floats(length, random), start = random_floats(length + 1, random);
    const float weight = static_cast<float>(random.normal());
    for (const Kernels* kernels : variants()) {
      std::vector<float> out = start;
      kernels->add_scaled(weight, x.data(), length, out.data());
      bool is_same = same(out[length], start[length]);
      for (int64_t i = 0; i < length; ++i) is_same = is_same && same(out[i], std::fma(weight, x[i], start[i]));
      if (!is_same) report(__FILE__, __LINE__, kernels->name, ": length ", length);
    }
  }
}
