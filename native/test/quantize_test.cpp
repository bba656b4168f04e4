// Quantisers against the definition of each format: what lies on the grid comes back, errors are no larger than those of plain
// rounding, and edge cases stay finite. The comparison with another implementation's blocks is test/native/quantize.test.ts.
#include "core/quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/half.h"
#include "test/check.h"

using namespace moescope;
using check::Random;

namespace {

constexpr std::array<DType, 12> kBlockTypes = {DType::Q4_0, DType::Q4_1, DType::Q5_0,   DType::Q5_1,
                                               DType::Q8_0, DType::Q2_K, DType::Q3_K,   DType::Q4_K,
                                               DType::Q5_K, DType::Q6_K, DType::IQ4_NL, DType::IQ4_XS};

constexpr int kRow = 512;

std::vector<float> round_trip(DType type, const std::vector<float>& values) {
  const BlockShape shape = block_shape(type);
  std::vector<uint8_t> blocks(values.size() / static_cast<size_t>(shape.elements) * static_cast<size_t>(shape.bytes));
  quantize_row(type, values.data(), blocks.data(), static_cast<int64_t>(values.size()));
  std::vector<float> back(values.size());
  dequantize_row(type, blocks.data(), back.data(), static_cast<int64_t>(values.size()));
  return back;
}

double squared_error(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  return sum;
}

std::vector<float> normal_row(uint64_t seed, double deviation) {
  Random random(seed);
  std::vector<float> values(kRow);
  for (float& value : values) value = static_cast<float>(deviation * random.normal());
  return values;
}

// A row that the type holds exactly: each block spans all levels, groups have different scales, factors are powers of two.
std::vector<float> grid_row(DType type, Random& random) {
  struct Grid {
    int group;      // elements that share a scale
    int low, high;  // levels
    int scale_top;  // whole-number scale of the largest group
    bool has_min;
  };
  const Grid grid = [&]() -> Grid {
    switch (type) {
      case DType::Q4_0: return {32, -8, 7, 1, false};
      case DType::Q4_1: return {32, 0, 15, 1, true};
      case DType::Q5_0: return {32, -16, 15, 1, false};
      case DType::Q5_1: return {32, 0, 31, 1, true};
      case DType::Q8_0: return {32, -127, 127, 1, false};
      case DType::Q2_K: return {16, 0, 3, 15, true};
      case DType::Q3_K: return {16, -4, 3, -32, false};
      case DType::Q4_K: return {32, 0, 15, 63, true};
      case DType::Q5_K: return {32, 0, 31, 63, true};
      default: return {16, -32, 31, -128, false};  // Q6_K
    }
  }();
  const int block = block_shape(type).elements;
  std::vector<float> values(kRow);
  for (int start = 0; start < kRow; start += grid.group) {
    const bool first = start % block == 0;
    const int spread = std::abs(grid.scale_top);
    const int s = first ? spread : spread / 2 + random.below(spread - spread / 2 + (spread == 1 ? 0 : 1));
    const int scale = grid.scale_top == 1 ? 1 : (grid.scale_top < 0 ? -s : s);
    const int min = !grid.has_min ? 0 : grid.scale_top == 1 ? 3 : first ? grid.scale_top : random.below(grid.scale_top);
    for (int i = 0; i < grid.group; ++i) {
      const int q = i == 0 ? grid.low : i == 1 ? grid.high : grid.low + random.below(grid.high - grid.low + 1);
      values[static_cast<size_t>(start + i)] = std::ldexp(static_cast<float>(scale * q - min), -12);
    }
  }
  return values;
}

}  // namespace

CASE("values on the grid come back exactly") {
  for (const DType type : kBlockTypes) {
    if (type == DType::IQ4_NL || type == DType::IQ4_XS) continue;
    Random random(7);
    const std::vector<float> values = grid_row(type, random);
    const std::vector<float> back = round_trip(type, values);
    for (int i = 0; i < kRow; ++i) {
      if (back[static_cast<size_t>(i)] != values[static_cast<size_t>(i)]) {
        check::report(__FILE__, __LINE__, dtype_name(type), " element ", i, ": ", values[static_cast<size_t>(i)],
                      " came back as ", back[static_cast<size_t>(i)]);
      }
    }
  }
}

CASE("blocks that were read are written again with no larger error than none") {
  // Any block is a point of the grid; what it holds can be held again, up to what a search over scales finds.
  for (const DType type : kBlockTypes) {
    const std::vector<float> once = round_trip(type, normal_row(3, 0.02));
    const std::vector<float> twice = round_trip(type, once);
    const double first = squared_error(once, normal_row(3, 0.02));
    CHECK(squared_error(twice, once) <= 0.05 * first);
  }
}

CASE("float types round to nearest even") {
  const std::vector<float> values = {0.0f, -0.0f, 1.0f, 65504.0f, 1.0f + 0x1p-11f, 1.0f + 3 * 0x1p-11f, -6.1e-5f};
  std::vector<uint16_t> halves(values.size());
  quantize_row(DType::F16, values.data(), halves.data(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) CHECK_EQ(halves[i], float_to_half(values[i]));
  quantize_row(DType::BF16, values.data(), halves.data(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i) CHECK_EQ(halves[i], float_to_bf16(values[i]));
}

CASE("edge rows stay finite, and keep what the format can keep") {
  const auto finite = [](const std::vector<float>& row) {
    for (const float value : row) CHECK(std::isfinite(value));
  };
  for (const DType type : kBlockTypes) {
    const std::vector<float> zeros(kRow, 0.0f);
    for (const float value : round_trip(type, zeros)) CHECK_EQ(value, 0.0f);

    const std::vector<float> constant(kRow, 0.0123f);
    // Half a percent: the factor of IQ4_XS and Q6_K, a 4,000th of this, is a subnormal half with few digits.
    for (const float value : round_trip(type, constant)) CHECK_NEAR(value, 0.0123, 0.0123 / 200);

    std::vector<float> outlier = normal_row(11, 0.001);
    outlier[100] = -3.5f;
    CHECK_NEAR(round_trip(type, outlier)[100], -3.5, 0.02);

    for (const float extreme : {3.0e38f, 1.0e-42f, 1.0e5f}) {
      std::vector<float> row = normal_row(5, 1.0);
      for (float& value : row)
        value = static_cast<float>(std::clamp(value * static_cast<double>(extreme), -3e38, 3e38));
      finite(round_trip(type, row));
    }
  }
}

CASE("what cannot be held is refused") {
  std::array<uint8_t, 1024> blocks{};
  std::vector<float> row(256, 0.5f);
  CHECK_FAILS(quantize_row(DType::Q4_K, row.data(), blocks.data(), 128), InvalidArgument);
  CHECK_FAILS(quantize_row(DType::IQ2_XXS, row.data(), blocks.data(), 256), Unsupported);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    row[255] = bad;
    for (const DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_K, DType::IQ4_XS}) {
      CHECK_FAILS(quantize_row(type, row.data(), blocks.data(), 256), BadFile);
    }
  }
  row[255] = 70000.0f;
  CHECK_FAILS(quantize_row(DType::F16, row.data(), blocks.data(), 256), BadFile);
  quantize_row(DType::BF16, row.data(), blocks.data(), 256);
}

CASE("threads divide rows, never bits, and an error names the row") {
  constexpr int kRows = 37;
  std::vector<uint8_t> source(kRows * kRow * sizeof(float));
  for (int row = 0; row < kRows; ++row) {
    const std::vector<float> values = normal_row(static_cast<uint64_t>(row), 0.02);
    std::memcpy(&source[static_cast<size_t>(row) * kRow * sizeof(float)], values.data(), kRow * sizeof(float));
  }
  for (const DType type : {DType::Q8_0, DType::Q3_K, DType::Q4_K, DType::F16}) {
    const auto alone = convert_rows(DType::F32, source, type, kRow, 0, 1);
    CHECK(convert_rows(DType::F32, source, type, kRow, 0, 4) == alone);
    CHECK(convert_rows(DType::F32, source, type, kRow, 0, 64) == alone);
    CHECK(convert_rows(type, alone, type, kRow, 0, 2) == alone);
  }
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(&source[(20 * kRow + 5) * sizeof(float)], &nan, sizeof nan);
  try {
    convert_rows(DType::F32, source, DType::Q4_K, kRow, 1000, 3);
    CHECK(false);
  } catch (const Error& error) {
    CHECK_EQ(std::string(error.what()), "Expected finite weights, got NaN in row 1020, column 5.");
  }
  CHECK_FAILS(convert_rows(DType::F32, source, DType::Q4_K, 300, 0, 1), InvalidArgument);
}
