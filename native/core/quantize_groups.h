// Blocks of 256 whose groups have whole numbers as scales: the fit that K-quants and IQ4_XS share.
#pragma once

#include <array>

#include "core/quantize_fit.h"
#include "core/quantize_rows.h"

namespace moescope::fit {

inline constexpr int kSuperBlock = 256;

// How often the groups' whole numbers and the block's factors are improved in turn.
inline constexpr int kRefinements = 3;

// ---- x = d * S * level ------------------------------------------------------------------------------------------------------

template <int kGroups>
struct Scales {
  float d = 0.0f;  // as stored
  std::array<int, kGroups> s{};
  float error = 0.0f;
};

template <typename Levels, int kGroups, int kLow, int kHigh>
struct ScaledGroups {
  static constexpr int kSize = kSuperBlock / kGroups;
  using Result = Scales<kGroups>;

  // The best of the whole numbers next to each wanted scale.
  static Result nearest(const float* x, const std::array<float, kGroups>& wanted, float d) {
    Result result;
    result.d = make_block::as_half(d);
    for (int g = 0; g < kGroups; ++g) {
      const float guess =
          std::clamp(wanted[g] * inverse_of(result.d), static_cast<float>(kLow), static_cast<float>(kHigh));
      const int middle = static_cast<int>(round_even(guess));
      float least = 0.0f;
      for (int s = std::max(kLow, middle - 1); s <= std::min(kHigh, middle + 1); ++s) {
        const float error = scale_error<Levels, kSize>(x + g * kSize, result.d * static_cast<float>(s));
        if (s > std::max(kLow, middle - 1) && error >= least) continue;
        least = error;
        result.s[g] = s;
      }
      result.error += least;
    }
    return result;
  }

  // The best factor of the block for the levels as they are.
  static float factor_of(const float* x, const Result& result) {
    float numerator = 0.0f;
    float denominator = 0.0f;
    for (int g = 0; g < kGroups; ++g) {
      const float s = static_cast<float>(result.s[g]);
      const ScaleSums sums = scale_sums<Levels, kSize>(x + g * kSize, inverse_of(result.d * s));
      numerator += s * sums.xq;
      denominator += s * s * sums.qq;
    }
    return denominator > 0.0f ? numerator / denominator : 0.0f;
  }

  static Result fit(const float* x, int steps, float from, float to) {
    std::array<float, kGroups> wanted;
    for (int g = 0; g < kGroups; ++g) wanted[g] = fit_scale<Levels, kSize>(x + g * kSize, steps, from, to);
    const float top = largest<kGroups>(wanted.data());
    Result best = nearest(x, wanted, top / kLow);
    for (const int outermost : {kLow, kHigh}) {
      float d = top / static_cast<float>(outermost);
      for (int round = 0; round < kRefinements; ++round) {
        const Result result = nearest(x, wanted, d);
        if (result.error < best.error) best = result;
        d = factor_of(x, result);
      }
    }
    return best;
  }
};

// ---- x = d * S * q - dmin * M, q from 0 to kTop -----------------------------------------------------------------------------

template <int kGroups>
struct Lines {
  float d = 0.0f;     // as stored
  float dmin = 0.0f;  // as stored
  std::array<int, kGroups> s{};
  std::array<int, kGroups> m{};
  float error = 0.0f;

  Line line(int g) const { return {d * static_cast<float>(s[g]), -(dmin * static_cast<float>(m[g]))}; }
};

template <int kTop, int kGroups, int kLargest>
struct LineGroups {
  static constexpr int kSize = kSuperBlock / kGroups;
  using Result = Lines<kGroups>;

  static int whole(float wanted, float factor) {
    return static_cast<int>(round_even(std::clamp(wanted * inverse_of(factor), 0.0f, static_cast<float>(kLargest))));
  }

  // The best of the nine pairs of whole numbers next to each wanted line.
  static void improve_group(const float* x, Result& result, int g, Line wanted) {
    const int middle_s = whole(wanted.scale, result.d);
    const int middle_m = whole(-wanted.min, result.dmin);
    float least = -1.0f;
    for (int s = std::max(0, middle_s - 1); s <= std::min(kLargest, middle_s + 1); ++s) {
      for (int m = std::max(0, middle_m - 1); m <= std::min(kLargest, middle_m + 1); ++m) {
        const Line line{result.d * static_cast<float>(s), -(result.dmin * static_cast<float>(m))};
        const float error = line_error<kTop, kSize>(x, line);
        if (least >= 0.0f && error >= least) continue;
        least = error;
        result.s[g] = s;
        result.m[g] = m;
      }
    }
    result.error += least;
  }

  static Result nearest(const float* x, const std::array<Line, kGroups>& wanted, Line factors) {
    Result result;
    result.d = make_block::as_half(factors.scale);
    result.dmin = make_block::as_half(factors.min);
    for (int g = 0; g < kGroups; ++g) improve_group(x + g * kSize, result, g, wanted[g]);
    return result;
  }

  // The best factors of the block for the steps as they are: normal equations of two unknowns.
  static Line factors_of(const float* x, const Result& result) {
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;
    for (int g = 0; g < kGroups; ++g) {
      const StepSums sums = step_sums<kTop, kSize>(x + g * kSize, result.line(g));
      const double s = result.s[g];
      const double m = -result.m[g];
      aa += s * s * sums.qq;
      ab += s * m * sums.q;
      bb += m * m * kSize;
      xa += s * sums.xq;
      xb += m * sums.x;
    }
    const double determinant = aa * bb - ab * ab;
    if (determinant > 1e-9 * aa * bb) {
      const double d = (xa * bb - xb * ab) / determinant;
      const double dmin = (xb * aa - xa * ab) / determinant;
      if (d > 0 && dmin > 0) return {static_cast<float>(d), static_cast<float>(dmin)};
    }
    return {aa > 0 ? static_cast<float>((xa - result.dmin * ab) / aa) : 0.0f, result.dmin};
  }

  static Result fit(const float* x, int steps, float from, float to) {
    std::array<Line, kGroups> wanted;
    Line top{0.0f, 0.0f};
    for (int g = 0; g < kGroups; ++g) {
      wanted[g] = fit_line<kTop, kSize, true>(x + g * kSize, steps, from, to);
      top.scale = std::max(top.scale, wanted[g].scale);
      top.min = std::max(top.min, -wanted[g].min);
    }
    Result best = nearest(x, wanted, {top.scale / kLargest, top.min / kLargest});
    Result result = best;
    for (int round = 1; round < kRefinements; ++round) {
      result = nearest(x, wanted, factors_of(x, result));
      if (result.error < best.error) best = result;
    }
    return best;
  }
};

}  // namespace moescope::fit
