// Least-squares fits of a run of weights: by a scale, or by a scale and a minimum. Sums run in four lanes, written with the
// vector type of gcc and clang: the same order on every machine, and vector instructions where there are any.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "core/codebooks.h"

namespace moescope::fit {

inline constexpr int kLanes = 4;
typedef float Lanes __attribute__((vector_size(4 * kLanes)));

inline Lanes load(const float* x) {
  Lanes lanes;
  __builtin_memcpy(&lanes, x, sizeof lanes);
  return lanes;
}

inline float sum_of(Lanes lanes) { return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]); }

inline Lanes clamp(Lanes value, float low, float high) {
  const Lanes lowest = Lanes{} + low;
  const Lanes highest = Lanes{} + high;
  value = value < lowest ? lowest : value;
  return value > highest ? highest : value;
}

// The nearest whole number, ties to even, for |value| < 2^22: beyond 2^23 neighbours are 1 apart, so the sum rounds.
template <typename T>
T round_even(T value) {
  return (value + 12582912.0f) - 12582912.0f;
}

// All whole numbers from kLow to kHigh as levels; code 0 is kLow.
template <int kLow, int kHigh>
struct Integers {
  static constexpr float kLowest = kLow;
  static constexpr float kHighest = kHigh;
  static Lanes nearest(Lanes value) { return round_even(clamp(value, kLowest, kHighest)); }
  static int code(float level) { return static_cast<int>(level) - kLow; }
};

// The sixteen levels of IQ4: a value climbs a step for each midpoint that it is above.
struct Iq4Levels {
  static constexpr float kLowest = kIq4Values.front();
  static constexpr float kHighest = kIq4Values.back();
  static Lanes nearest(Lanes value) {
    Lanes level = Lanes{} + kLowest;
    for (size_t k = 1; k < kIq4Values.size(); ++k) {
      const Lanes midpoint = Lanes{} + (kIq4Values[k - 1] + kIq4Values[k]) / 2;
      const Lanes step = Lanes{} + (kIq4Values[k] - kIq4Values[k - 1]);
      level += value > midpoint ? step : Lanes{};
    }
    return level;
  }
  static int code(float level) {
    return static_cast<int>(std::lower_bound(kIq4Values.begin(), kIq4Values.end(), level) - kIq4Values.begin());
  }
};

inline float inverse_of(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// ---- x = scale * level ------------------------------------------------------------------------------------------------------

struct ScaleSums {
  float xq;
  float qq;
  float gain() const { return qq > 0.0f ? xq * (xq / qq) : 0.0f; }  // by how much the best scale lowers the error
  float scale() const { return qq > 0.0f ? xq / qq : 0.0f; }
};

template <typename Levels, int kCount>
ScaleSums scale_sums(const float* x, float inverse) {
  Lanes xq{};
  Lanes qq{};
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes value = load(x + i);
    const Lanes q = Levels::nearest(value * inverse);
    xq += value * q;
    qq += q * q;
  }
  return {sum_of(xq), sum_of(qq)};
}

// Squared error where every weight takes its nearest level under `scale`.
template <typename Levels, int kCount>
float scale_error(const float* x, float scale) {
  const float inverse = inverse_of(scale);
  Lanes sums{};
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes value = load(x + i);
    const Lanes rest = value - scale * Levels::nearest(value * inverse);
    sums += rest * rest;
  }
  return sum_of(sums);
}

// The codes of the levels that weights take under `scale`.
template <typename Levels, int kCount>
std::array<int, kCount> codes_of(const float* x, float scale) {
  const float inverse = inverse_of(scale);
  std::array<int, kCount> codes;
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes levels = Levels::nearest(load(x + i) * inverse);
    for (int lane = 0; lane < kLanes; ++lane) codes[i + lane] = Levels::code(levels[lane]);
  }
  return codes;
}

struct Range {
  float low;
  float high;
};

template <int kCount>
Range range_of(const float* x) {
  Lanes low = load(x);
  Lanes high = low;
  for (int i = kLanes; i < kCount; i += kLanes) {
    const Lanes value = load(x + i);
    low = value < low ? value : low;
    high = value > high ? value : high;
  }
  Range range{low[0], high[0]};
  for (int lane = 1; lane < kLanes; ++lane) {
    range = {std::min(range.low, low[lane]), std::max(range.high, high[lane])};
  }
  return range;
}

// The element of largest magnitude, the higher of two; 0 for zeros.
template <int kCount>
float largest(const float* x) {
  const Range range = range_of<kCount>(x);
  return range.high >= -range.low ? range.high : range.low;
}

// A scale of either sign. Guesses put the largest element at a level between kFrom and kTo times the outermost one, in steps,
// once at the lowest and once at the highest level.
template <typename Levels, int kCount>
float fit_scale(const float* x, int steps, float from, float to) {
  const float top = largest<kCount>(x);
  if (top == 0.0f) return 0.0f;
  ScaleSums best{0.0f, 0.0f};
  const auto take = [&](ScaleSums sums) {
    if (sums.gain() > best.gain()) best = sums;
  };
  for (int step = 0; step < steps; ++step) {
    const float factor = from + (to - from) * static_cast<float>(step) / static_cast<float>(steps - 1);
    take(scale_sums<Levels, kCount>(x, factor * Levels::kLowest / top));
    take(scale_sums<Levels, kCount>(x, factor * Levels::kHighest / top));
  }
  for (int round = 0; round < 2; ++round) take(scale_sums<Levels, kCount>(x, inverse_of(best.scale())));
  return best.scale();
}

// ---- x = scale * q + min, q from 0 to kTop ----------------------------------------------------------------------------------

struct Line {
  float scale;
  float min;
};

template <int kTop>
Lanes nearest_steps(Lanes x, float min, float inverse) {
  return round_even(clamp((x - min) * inverse, 0.0f, kTop));
}

template <int kTop, int kCount>
float line_error(const float* x, Line line) {
  const float inverse = inverse_of(line.scale);
  Lanes sums{};
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes value = load(x + i);
    const Lanes rest = value - (line.scale * nearest_steps<kTop>(value, line.min, inverse) + line.min);
    sums += rest * rest;
  }
  return sum_of(sums);
}

// The steps that weights take.
template <int kTop, int kCount>
std::array<int, kCount> steps_of(const float* x, Line line) {
  const float inverse = inverse_of(line.scale);
  std::array<int, kCount> steps;
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes found = nearest_steps<kTop>(load(x + i), line.min, inverse);
    for (int lane = 0; lane < kLanes; ++lane) steps[i + lane] = static_cast<int>(found[lane]);
  }
  return steps;
}

struct StepSums {
  float q;
  float qq;
  float x;
  float xq;
};

template <int kTop, int kCount>
StepSums step_sums(const float* x, Line line) {
  const float inverse = inverse_of(line.scale);
  Lanes q1{};
  Lanes q2{};
  Lanes x1{};
  Lanes xq{};
  for (int i = 0; i < kCount; i += kLanes) {
    const Lanes value = load(x + i);
    const Lanes q = nearest_steps<kTop>(value, line.min, inverse);
    q1 += q;
    q2 += q * q;
    x1 += value;
    xq += value * q;
  }
  return {sum_of(q1), sum_of(q2), sum_of(x1), sum_of(xq)};
}

// The best line for the steps that the weights take under `guess`; with kMinBelowZero its minimum is at most 0.
template <int kTop, int kCount, bool kMinBelowZero>
Line better_line(const float* x, Line guess) {
  const StepSums sums = step_sums<kTop, kCount>(x, guess);
  const double q = sums.q;
  const double determinant = static_cast<double>(kCount) * sums.qq - q * q;
  const double product = static_cast<double>(kCount) * sums.xq - q * sums.x;
  const double scale = determinant > 0 ? product / determinant : 0.0;
  const double min = (sums.x - scale * q) / kCount;
  if (kMinBelowZero && min > 0) return {sums.qq > 0 ? sums.xq / sums.qq : 0.0f, 0.0f};
  return {static_cast<float>(scale), static_cast<float>(min)};
}

// Guesses spread the steps over `from` to `to` times the least range that they need, about its middle.
template <int kTop, int kCount, bool kMinBelowZero>
Line fit_line(const float* x, int steps, float from, float to) {
  const Range extent = range_of<kCount>(x);
  const float low = kMinBelowZero ? std::min(extent.low, 0.0f) : extent.low;
  const float range = extent.high - low;
  Line best{0.0f, low};
  if (range <= 0.0f) return best;
  float least = line_error<kTop, kCount>(x, best);
  for (int step = 0; step < steps; ++step) {
    const float width = range * (from + (to - from) * static_cast<float>(step) / static_cast<float>(steps - 1));
    Line line{width / kTop, low + (range - width) / 2};
    if (kMinBelowZero) line.min = std::min(line.min, 0.0f);
    for (int round = 0; round < 3; ++round) {
      const float error = line_error<kTop, kCount>(x, line);
      if (error < least) {
        least = error;
        best = line;
      }
      line = better_line<kTop, kCount, kMinBelowZero>(x, line);
    }
  }
  return best;
}

}  // namespace moescope::fit
