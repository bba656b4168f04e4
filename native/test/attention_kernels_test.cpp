// Tiles of attention and their merging in every instruction set that this machine runs: the same bits in all of them, near a reference
// in double, and with NaN passed on.
#include <algorithm>
#include <cmath>

#include "core/kv_cache.h"
#include "cpu/arch/kernels.h"
#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct Tile {
  float max_score = 0, sum = 0;
  std::vector<float> out;
};

Tile attend(const Kernels& kernels, const std::vector<float>& q, const std::vector<float>& kt,
            const std::vector<float>& v, int num_keys) {
  Tile tile;
  tile.out.resize(q.size());
  const float* query = q.data();
  float* out = tile.out.data();
  kernels.attend_tile(1, &query, kt.data(), v.data(), static_cast<int>(q.size()), &num_keys, &tile.max_score, &tile.sum,
                      &out);
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

CASE("a tile of attention has the same bits everywhere, near a reference in double") {
  Random random(55);
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
          report(__FILE__, __LINE__, kernels->name, ": head_dim ", head_dim, ", ", num_keys, " keys");
        }
      }
    }
  }
}

CASE("queries that meet a tile together get the bits that each gets alone, whatever keys the others see") {
  Random random(57);
  for (int head_dim : {2, 16, 20, 64, 80, 128, 144}) {
    const std::vector<float> kt = random_floats(head_dim * kTilePositions, random, 2);
    const std::vector<float> v = random_floats(kTilePositions * head_dim, random);
    for (int num_queries = 1; num_queries <= 11; ++num_queries) {
      std::vector<std::vector<float>> q, out(num_queries, std::vector<float>(head_dim));
      std::vector<const float*> q_pointers;
      std::vector<float*> out_pointers;
      std::vector<int> num_keys;
      for (int query = 0; query < num_queries; ++query) {
        q.push_back(random_floats(head_dim, random));
        num_keys.push_back(1 + static_cast<int>(random.below(kTilePositions)));
      }
      for (int query = 0; query < num_queries; ++query) {
        q_pointers.push_back(q[query].data());
        out_pointers.push_back(out[query].data());
      }
      std::vector<float> max_score(num_queries), sum(num_queries);
      for (const Kernels* kernels : variants()) {
        kernels->attend_tile(num_queries, q_pointers.data(), kt.data(), v.data(), head_dim, num_keys.data(),
                             max_score.data(), sum.data(), out_pointers.data());
        for (int query = 0; query < num_queries; ++query) {
          const Tile alone = attend(*kernels, q[query], kt, v, num_keys[query]);
          CHECK_EQ(max_score[query], alone.max_score);
          CHECK(same(sum[query], alone.sum));
          CHECK(same(out[query], alone.out));
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
  Random random(56);
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
  Random random(57);
  const std::vector<float> q(20, 0.5f), kt = random_floats(20 * kTilePositions, random);
  std::vector<float> v = random_floats(kTilePositions * 20, random);
  v[5 * 20 + 17] = std::nanf("");
  for (const Kernels* kernels : variants()) {
    const Tile tile = attend(*kernels, q, kt, v, 9);
    for (int d = 0; d < 20; ++d) CHECK_EQ(std::isnan(tile.out[d]), d == 17);
  }
}

CASE("merging tiles rescales by the larger maximum, with the same bits everywhere") {
  Random random(58);
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
