// The kernels written once over F32x16; each kernels_<arch>.cpp includes its vector type first and then this.
// NaN: a NaN score makes the maximum or the sum NaN, so it reaches the logits, where it is refused.
#pragma once

#include <limits>
#include <type_traits>

#include "cpu/arch/cache_read_impl.h"
#include "cpu/arch/kernels.h"

namespace moescope {
namespace {

// exp(x), error below 2 ulp; x is taken as -87.3 below that and as 88 above, NaN stays NaN. Range reduction and polynomial after Cephes
// expf (Moshier): x = n ln2 + r, exp(r) by degree 5 around 0.
F32x16 exp(F32x16 x) {
  // The bound comes first: x86's min and max return the second operand if either is NaN.
  const F32x16 clamped = min(F32x16::broadcast(88.0f), max(F32x16::broadcast(-87.3f), x));
  const F32x16 n = round(clamped * F32x16::broadcast(1.44269504088896341f));
  F32x16 r = fma(n, F32x16::broadcast(-0.693359375f), clamped);
  r = fma(n, F32x16::broadcast(2.12194440e-4f), r);
  F32x16 p = F32x16::broadcast(1.9875691500e-4f);
  p = fma(p, r, F32x16::broadcast(1.3981999507e-3f));
  p = fma(p, r, F32x16::broadcast(8.3334519073e-3f));
  p = fma(p, r, F32x16::broadcast(4.1665795894e-2f));
  p = fma(p, r, F32x16::broadcast(1.6666665459e-1f));
  p = fma(p, r, F32x16::broadcast(5.0000001201e-1f));
  p = fma(p, r * r, r) + F32x16::broadcast(1.0f);
  return p * exp2i(n);
}

float exp_one(float x) {
  float lanes[16];
  exp(F32x16::broadcast(x)).store(lanes);
  return lanes[0];
}

template <int X, int W>
void dot_block(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int64_t length, float* y,
               int64_t y_stride) {
  F32x16 sums[X][W];
  for (int m = 0; m < X; ++m) {
    for (int n = 0; n < W; ++n) sums[m][n] = F32x16::zero();
  }
  int64_t i = 0;
  for (; i + 16 <= length; i += 16) {
    F32x16 weights[W];
    for (int n = 0; n < W; ++n) weights[n] = F32x16::load(w + n * w_stride + i);
    for (int m = 0; m < X; ++m) {
      const F32x16 inputs = F32x16::load(x + m * x_stride + i);
      for (int n = 0; n < W; ++n) sums[m][n] = fma(inputs, weights[n], sums[m][n]);
    }
  }
  if (i < length) {
    for (int m = 0; m < X; ++m) {
      const F32x16 inputs = F32x16::load_first(x + m * x_stride + i, length - i);
      for (int n = 0; n < W; ++n) {
        sums[m][n] = fma(inputs, F32x16::load_first(w + n * w_stride + i, length - i), sums[m][n]);
      }
    }
  }
  for (int m = 0; m < X; ++m) {
    for (int n = 0; n < W; ++n) y[m * y_stride + n] = sums[m][n].sum();
  }
}

template <int X>
void dot_rows(const float* x, int64_t x_stride, const float* w, int64_t w_stride, int num_w, int64_t length, float* y,
              int64_t y_stride) {
  int n = 0;
  for (; n + kDotColumns <= num_w; n += kDotColumns) {
    dot_block<X, kDotColumns>(x, x_stride, w + n * w_stride, w_stride, length, y + n, y_stride);
  }
  for (; n < num_w; ++n) dot_block<X, 1>(x, x_stride, w + n * w_stride, w_stride, length, y + n, y_stride);
}

void dot(const float* x, int64_t x_stride, int num_x, const float* w, int64_t w_stride, int num_w, int64_t length,
         float* y, int64_t y_stride) {
  int m = 0;
  for (; m + kDotRows <= num_x; m += kDotRows) {
    dot_rows<kDotRows>(x + m * x_stride, x_stride, w, w_stride, num_w, length, y + m * y_stride, y_stride);
  }
  for (; m < num_x; ++m)
    dot_rows<1>(x + m * x_stride, x_stride, w, w_stride, num_w, length, y + m * y_stride, y_stride);
}

constexpr int kTileVectors = kTilePositions / 16;

// scores[n][key] = q[n] . key, one vector of keys at a time against one element of each query.
template <int Q>
void score_keys(const float* const* q, const float* kt, int head_dim, float (*scores)[kTilePositions]) {
  F32x16 sums[Q][kTileVectors];
  for (int n = 0; n < Q; ++n) {
    for (int part = 0; part < kTileVectors; ++part) sums[n][part] = F32x16::zero();
  }
  for (int d = 0; d < head_dim; ++d) {
    F32x16 keys[kTileVectors];
    for (int part = 0; part < kTileVectors; ++part) keys[part] = F32x16::load(kt + d * kTilePositions + 16 * part);
    for (int n = 0; n < Q; ++n) {
      const F32x16 element = F32x16::broadcast(q[n][d]);
      for (int part = 0; part < kTileVectors; ++part) sums[n][part] = fma(element, keys[part], sums[n][part]);
    }
  }
  for (int n = 0; n < Q; ++n) {
    for (int part = 0; part < kTileVectors; ++part) sums[n][part].store(scores[n] + 16 * part);
  }
}

// Scores to exp(score - maximum), 0 for missing keys; gives the maximum and the sum of the weights.
void weigh_keys(int num_keys, float* scores, float* max_score, float* sum) {
  for (int key = num_keys; key < kTilePositions; ++key) scores[key] = -std::numeric_limits<float>::infinity();
  F32x16 largest = F32x16::load(scores);
  for (int part = 1; part < kTileVectors; ++part) largest = max(largest, F32x16::load(scores + 16 * part));
  *max_score = largest.max();
  for (int part = 0; part < kTileVectors; ++part) {
    exp(F32x16::load(scores + 16 * part) - F32x16::broadcast(*max_score)).store(scores + 16 * part);
  }
  // exp() gives a tiny number, not 0, for the missing keys.
  for (int key = num_keys; key < kTilePositions; ++key) scores[key] = 0;
  F32x16 sums[kTileVectors];
  for (int part = 0; part < kTileVectors; ++part) sums[part] = F32x16::load(scores + 16 * part);
  *sum = ((sums[0] + sums[1]) + (sums[2] + sums[3])).sum();
}

// out[n][16 * P columns] = sum over keys in ascending order of weight * value; a query's keys end at num_keys[n].
template <int Q, int P>
void sum_values(const float (*weights)[kTilePositions], const float* v, int head_dim, const int* num_keys,
                float* const* out, int start) {
  F32x16 sums[Q][P];
  for (int n = 0; n < Q; ++n) {
    for (int part = 0; part < P; ++part) sums[n][part] = F32x16::zero();
  }
  int common = num_keys[0];
  for (int n = 1; n < Q; ++n) common = num_keys[n] < common ? num_keys[n] : common;
  for (int key = 0; key < common; ++key) {
    const float* row = v + static_cast<int64_t>(key) * head_dim + start;
    for (int part = 0; part < P; ++part) {
      const F32x16 values = F32x16::load(row + 16 * part);
      for (int n = 0; n < Q; ++n) sums[n][part] = fma(F32x16::broadcast(weights[n][key]), values, sums[n][part]);
    }
  }
  for (int n = 0; n < Q; ++n) {
    for (int key = common; key < num_keys[n]; ++key) {
      const float* row = v + static_cast<int64_t>(key) * head_dim + start;
      const F32x16 weight = F32x16::broadcast(weights[n][key]);
      for (int part = 0; part < P; ++part) sums[n][part] = fma(weight, F32x16::load(row + 16 * part), sums[n][part]);
    }
    for (int part = 0; part < P; ++part) sums[n][part].store(out[n] + start + 16 * part);
  }
}

// The last columns, fewer than 16.
void sum_last_values(const float* weights, const float* v, int head_dim, int num_keys, float* out, int start) {
  F32x16 sum = F32x16::zero();
  for (int key = 0; key < num_keys; ++key) {
    const float* row = v + static_cast<int64_t>(key) * head_dim + start;
    sum = fma(F32x16::broadcast(weights[key]), F32x16::load_first(row, head_dim - start), sum);
  }
  sum.store_first(out + start, head_dim - start);
}

template <int Q>
void attend_queries(const float* const* q, const float* kt, const float* v, int head_dim, const int* num_keys,
                    float* max_score, float* sum, float* const* out) {
  float weights[Q][kTilePositions];
  score_keys<Q>(q, kt, head_dim, weights);
  for (int n = 0; n < Q; ++n) weigh_keys(num_keys[n], weights[n], max_score + n, sum + n);
  int start = 0;
  for (; start + 16 * kValueVectors <= head_dim; start += 16 * kValueVectors) {
    sum_values<Q, kValueVectors>(weights, v, head_dim, num_keys, out, start);
  }
  for (; start + 16 <= head_dim; start += 16) sum_values<Q, 1>(weights, v, head_dim, num_keys, out, start);
  for (int n = 0; n < Q && start < head_dim; ++n) {
    sum_last_values(weights[n], v, head_dim, num_keys[n], out[n], start);
  }
}

void attend_tile(int num_queries, const float* const* q, const float* kt, const float* v, int head_dim,
                 const int* num_keys, float* max_score, float* sum, float* const* out) {
  int n = 0;
  for (; n + kQueries <= num_queries; n += kQueries) {
    attend_queries<kQueries>(q + n, kt, v, head_dim, num_keys + n, max_score + n, sum + n, out + n);
  }
  const auto rest = [&](auto count) {
    attend_queries<count>(q + n, kt, v, head_dim, num_keys + n, max_score + n, sum + n, out + n);
  };
  switch (num_queries - n) {
    case 3: return rest(std::integral_constant<int, 3>());
    case 2: return rest(std::integral_constant<int, 2>());
    case 1: return rest(std::integral_constant<int, 1>());
    default: return;
  }
}

void merge_tile(float tile_max, float tile_sum, const float* tile_out, int head_dim, float* max_score, float* sum,
                float* out) {
  const float new_max = tile_max > *max_score ? tile_max : *max_score;
  const float keep = exp_one(*max_score - new_max);
  const float add = exp_one(tile_max - new_max);
  *max_score = new_max;
  *sum = *sum * keep + tile_sum * add;
  for (int d = 0; d < head_dim; ++d) out[d] = out[d] * keep + tile_out[d] * add;
}

void silu_mul(const float* gate, const float* up, int64_t length, float* out) {
  const F32x16 one = F32x16::broadcast(1.0f);
  for (int64_t i = 0; i < length; i += 16) {
    const int64_t count = length - i < 16 ? length - i : 16;
    const F32x16 z = F32x16::load_first(gate + i, count);
    const F32x16 silu = z / (one + exp(F32x16::zero() - z));
    (silu * F32x16::load_first(up + i, count)).store_first(out + i, count);
  }
}

void add_scaled(float weight, const float* x, int64_t length, float* out) {
  const F32x16 factor = F32x16::broadcast(weight);
  for (int64_t i = 0; i < length; i += 16) {
    const int64_t count = length - i < 16 ? length - i : 16;
    fma(factor, F32x16::load_first(x + i, count), F32x16::load_first(out + i, count)).store_first(out + i, count);
  }
}

}  // namespace
}  // namespace moescope
