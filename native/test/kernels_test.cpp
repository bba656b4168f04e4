// The inner loops of every instruction set that this machine runs: the same bits in all of them, near a reference in double, the same
// for one row and for many, and with NaN passed on.
#include "cpu/arch/kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "core/kv_cache.h"
#include "test/check.h"

using namespace moescope;

namespace {

constexpr double kUlp = 0x1p-24;  // relative error of one rounding
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<const Kernels*> variants() {
  std::vector<const Kernels*> all;
  for (int index = 0; index < num_kernel_variants(); ++index) all.push_back(&kernel_variant(index));
  return all;
}

std::vector<float> random_floats(size_t count, check::Random& random, double spread = 1) {
  std::vector<float> values;
  for (size_t i = 0; i < count; ++i) values.push_back(static_cast<float>(spread * random.normal()));
  return values;
}

// Equal bits, or both NaN.
bool same(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](float x, float y) { return same(x, y); });
}

bool all_nan(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

// The order of kernels.h, one operation at a time.
float dot_by_definition(const float* x, const float* w, int64_t length) {
  float lane[16] = {};
  for (int64_t i = 0; i < length; ++i) lane[i % 16] = std::fma(x[i], w[i], lane[i % 16]);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}

struct Tile {
  float max_score = 0, sum = 0;
  std::vector<float> out;
};

// exp(x) for x <= 0, as merge_tile uses it: the weight of an old result of sum 1.
float exp_of(const Kernels& kernels, float x) {
  float max_score = x, sum = 1;
  kernels.merge_tile(0, 0, nullptr, 0, &max_score, &sum, nullptr);
  return sum;
}

Tile attend(const Kernels& kernels, const std::vector<float>& q, const std::vector<float>& kt,
            const std::vector<float>& v, int num_keys) {
  Tile tile;
  tile.out.resize(q.size());
  kernels.attend_tile(q.data(), kt.data(), v.data(), static_cast<int>(q.size()), num_keys, &tile.max_score, &tile.sum,
                      tile.out.data());
  return tile;
}

// Max, sum and weighted values in double, and what fp32 may err by.
void check_near_reference(const Tile& tile, const std::vector<float>& q, const std::vector<float>& kt,
                          const std::vector<float>& v, int num_keys) {
  const int head_dim = static_cast<int>(q.size());
  std::vector<double> scores(num_keys);
  double score_error = 0;
  for (int key = 0; key < num_keys; ++key) {
    double magnitude = 0;
    for (int d = 0; d < head_dim; ++d) {
      scores[key] += static_cast<double>(q[d]) * kt[d * kTilePositions + key];
      magnitude += std::abs(static_cast<double>(q[d]) * kt[d * kTilePositions + key]);
    }
    score_error = std::max(score_error, head_dim * kUlp * magnitude);
  }
  const double largest = *std::max_element(scores.begin(), scores.end());
  CHECK_NEAR(tile.max_score, largest, score_error);
  // A weight errs by both scores' errors, the rounding of their difference, and 2 ulp of exp; a sum by a rounding for each key.
  double sum = 0, spread = 0;
  for (double score : scores) {
    sum += std::exp(score - tile.max_score);
    spread = std::max(spread, largest - score);
  }
  const double relative = 2 * score_error + spread * kUlp + 4 * kUlp + num_keys * kUlp;
  CHECK_NEAR(tile.sum, sum, relative * sum + 64 * 2e-38);
  for (int d = 0; d < head_dim; ++d) {
    double expected = 0, magnitude = 0;
    for (int key = 0; key < num_keys; ++key) {
      expected += std::exp(scores[key] - tile.max_score) * v[key * head_dim + d];
      magnitude += std::exp(scores[key] - tile.max_score) * std::abs(v[key * head_dim + d]);
    }
    CHECK_NEAR(tile.out[d], expected, relative * magnitude + 1e-36);
  }
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
  check::Random random(51);
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
          check::report(__FILE__, __LINE__, kernels->name, ": length ", length, " [", m, ", ", n, "]: ", y[place],
                        " for ", expected);
        }
      }
    }
  }
}

CASE("dot products of long rows are near those in double") {
  check::Random random(52);
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
  check::Random random(53);
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
  check::Random random(54);
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

CASE("a tile of attention has the same bits everywhere, near a reference in double") {
  check::Random random(55);
  for (int head_dim = 2; head_dim <= 256; head_dim += head_dim < 40 ? 2 : 6) {
    const std::vector<float> q = random_floats(head_dim, random, 2 / std::sqrt(head_dim));
    const std::vector<float> kt = random_floats(head_dim * kTilePositions, random, 2);
    const std::vector<float> v = random_floats(kTilePositions * head_dim, random);
    for (int num_keys = 1; num_keys <= kTilePositions; ++num_keys) {
      const Tile expected = attend(kPortableKernels, q, kt, v, num_keys);
      if (num_keys % 9 == 1 || num_keys == kTilePositions) check_near_reference(expected, q, kt, v, num_keys);
      for (const Kernels* kernels : variants()) {
        const Tile tile = attend(*kernels, q, kt, v, num_keys);
        if (tile.max_score != expected.max_score || !same(tile.sum, expected.sum) || !same(tile.out, expected.out)) {
          check::report(__FILE__, __LINE__, kernels->name, ": head_dim ", head_dim, ", ", num_keys, " keys");
        }
      }
    }
  }
}

CASE("one key has weight 1, equal keys share, keys past the last have no say") {
  for (const Kernels* kernels : variants()) {
    const std::vector<float> q = {1, -2};
    std::vector<float> kt(2 * kTilePositions, 3), v(2 * kTilePositions);
    for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(i);
    const Tile one = attend(*kernels, q, kt, v, 1);
    CHECK_EQ(one.max_score, -3.0f);
    CHECK_EQ(one.sum, 1.0f);
    CHECK(one.out == std::vector<float>({0, 1}));
    const Tile three = attend(*kernels, q, kt, v, 3);
    CHECK_EQ(three.sum, 3.0f);
    CHECK(three.out == std::vector<float>({6, 9}));
    for (float unused : {std::nanf(""), kInfinity, 1e30f}) {
      for (int d = 0; d < 2; ++d) kt[d * kTilePositions + 3] = unused;
      v[6] = v[7] = unused;
      const Tile again = attend(*kernels, q, kt, v, 3);
      CHECK_EQ(again.max_score, three.max_score);
      CHECK_EQ(again.sum, three.sum);
      CHECK(again.out == three.out);
    }
  }
}

CASE("scores far apart and far from 0 neither overflow nor vanish") {
  for (const Kernels* kernels : variants()) {
    const std::vector<float> q = {100, 0};
    std::vector<float> kt(2 * kTilePositions), v(2 * kTilePositions, 1);
    kt[0] = 300;
    kt[1] = -300;
    kt[2] = 300;
    const Tile tile = attend(*kernels, q, kt, v, 3);
    CHECK_EQ(tile.max_score, 30000.0f);
    CHECK_EQ(tile.sum, 2.0f);
    const Tile low = attend(*kernels, {-100, 0}, kt, v, 1);
    CHECK_EQ(low.max_score, -30000.0f);
    CHECK_EQ(low.sum, 1.0f);
  }
}

CASE("a NaN score, or one that is infinite, makes the tile NaN, wherever its key is") {
  check::Random random(56);
  for (int head_dim : {2, 16, 20, 128}) {
    for (int key = 0; key < 40; ++key) {
      for (float broken : {std::nanf(""), kInfinity}) {
        const std::vector<float> q(head_dim, 0.5f), v = random_floats(kTilePositions * head_dim, random);
        std::vector<float> kt = random_floats(head_dim * kTilePositions, random);
        kt[(key % head_dim) * kTilePositions + key] = broken;
        for (const Kernels* kernels : variants()) {
          const Tile tile = attend(*kernels, q, kt, v, 40);
          CHECK(std::isnan(tile.sum));
          CHECK(all_nan(tile.out));
        }
      }
    }
  }
}

CASE("a NaN value reaches its own column alone") {
  check::Random random(57);
  const std::vector<float> q(20, 0.5f), kt = random_floats(20 * kTilePositions, random);
  std::vector<float> v = random_floats(kTilePositions * 20, random);
  v[5 * 20 + 17] = std::nanf("");
  for (const Kernels* kernels : variants()) {
    const Tile tile = attend(*kernels, q, kt, v, 9);
    for (int d = 0; d < 20; ++d) CHECK_EQ(std::isnan(tile.out[d]), d == 17);
  }
}

CASE("merging tiles rescales by the larger maximum, with the same bits everywhere") {
  check::Random random(58);
  for (int trial = 0; trial < 2000; ++trial) {
    const int head_dim = 2 * (1 + random.below(40));
    const std::vector<float> old_out = random_floats(head_dim, random), tile_out = random_floats(head_dim, random);
    const float old_max = static_cast<float>(20 * random.normal()),
                old_sum = static_cast<float>(1 + 60 * random.uniform());
    const float tile_max = trial % 10 == 0 ? old_max : static_cast<float>(20 * random.normal());
    const float tile_sum = static_cast<float>(1 + 60 * random.uniform());
    const auto merge = [&](const Kernels& kernels) {
      Tile merged{old_max, old_sum, old_out};
      kernels.merge_tile(tile_max, tile_sum, tile_out.data(), head_dim, &merged.max_score, &merged.sum,
                         merged.out.data());
      return merged;
    };
    const Tile expected = merge(kPortableKernels);
    for (const Kernels* kernels : variants()) {
      const Tile merged = merge(*kernels);
      CHECK(same(merged.max_score, expected.max_score) && same(merged.sum, expected.sum) &&
            same(merged.out, expected.out));
    }
    const double largest = std::max(old_max, tile_max);
    const double keep = std::exp(old_max - largest), add = std::exp(tile_max - largest);
    // The difference of maxima is rounded once; exp errs by 2 ulp (4 halves); a product and the sum by a half each.
    const double relative = (std::abs(static_cast<double>(old_max) - tile_max) + 4 + 3) * kUlp;
    CHECK_EQ(expected.max_score, static_cast<float>(largest));
    CHECK_NEAR(expected.sum, old_sum * keep + tile_sum * add, relative * (old_sum * keep + tile_sum * add));
    for (int d = 0; d < head_dim; ++d) {
      const double magnitude = std::abs(old_out[d]) * keep + std::abs(tile_out[d]) * add;
      CHECK_NEAR(expected.out[d], old_out[d] * keep + tile_out[d] * add, relative * magnitude + 1e-37);
    }
  }
}

CASE("merging keeps NaN from either side") {
  const float nan = std::nanf("");
  for (const Kernels* kernels : variants()) {
    for (int side = 0; side < 4; ++side) {
      Tile merged{side == 0 ? nan : 1.0f, side == 1 ? nan : 2.0f, {1, 2}};
      const std::vector<float> tile_out = {3, 4};
      kernels->merge_tile(side == 2 ? nan : 0.5f, side == 3 ? nan : 2.0f, tile_out.data(), 2, &merged.max_score,
                          &merged.sum, merged.out.data());
      CHECK(std::isnan(merged.sum));
    }
  }
}

CASE("silu(gate) * up has the same bits everywhere, near a reference in double, and may be in place") {
  check::Random random(59);
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
  check::Random random(60);
  for (int64_t length = 1; length <= 130; ++length) {
    const std::vector<float> x = random_floats(length, random), start = random_floats(length + 1, random);
    const float weight = static_cast<float>(random.normal());
    for (const Kernels* kernels : variants()) {
      std::vector<float> out = start;
      kernels->add_scaled(weight, x.data(), length, out.data());
      bool is_same = same(out[length], start[length]);
      for (int64_t i = 0; i < length; ++i) is_same = is_same && same(out[i], std::fma(weight, x[i], start[i]));
      if (!is_same) check::report(__FILE__, __LINE__, kernels->name, ": length ", length);
    }
  }
}
