// Integer products: the same bits in every instruction set and for any number of rows, and near the product of the dequantised
// weights with the rounded activations, which is what they stand for.
#include "cpu/arch/int_kernels.h"

#include <cmath>
#include <cstring>

#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr DType kTypes[] = {DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0,   DType::Q2_K,
                            DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K, DType::IQ4_NL, DType::IQ4_XS};

// Random bits are legal quants of any type; only the half-precision fields must not be infinite or NaN.
std::vector<uint8_t> random_rows(DType dtype, int num_rows, int64_t length, Random& random) {
  const BlockShape block = block_shape(dtype);
  std::vector<uint8_t> rows(num_rows * length / block.elements * block.bytes);
  for (uint8_t& byte : rows) byte = static_cast<uint8_t>(random.below(256));
  const bool at_end = dtype == DType::Q2_K || dtype == DType::Q3_K || dtype == DType::Q6_K;
  const bool has_two = dtype == DType::Q4_1 || dtype == DType::Q5_1 || dtype == DType::Q2_K || dtype == DType::Q4_K ||
                       dtype == DType::Q5_K;
  const int fields = has_two ? 2 : 1;
  for (size_t start = 0; start < rows.size(); start += block.bytes) {
    for (int field = 0; field < fields; ++field) {
      const size_t place = start + (at_end ? block.bytes - 2 * fields : 0) + 2 * field;
      const auto half = static_cast<uint16_t>(0x2000 + random.below(0x1000) + (random.below(2) << 15));
      std::memcpy(&rows[place], &half, sizeof half);
    }
  }
  return rows;
}

// |scale * (q - zero)| + |minimum| of each element of a row: what a product adds up before parts of opposite sign cancel.
std::vector<double> largest_parts(DType dtype, const uint8_t* row, int64_t length) {
  IntTile tile;
  tile.prepare(dtype, length);
  kPortableIntKernels.unpack(dtype, row, 0, 1, length, IntTileView(tile));
  std::vector<double> parts(length);
  for (int64_t i = 0; i < length; ++i) {
    const int64_t run = i / tile.run * kTileColumns;
    const int q = tile.q[i / 4 * 4 * kTileColumns + i % 4];
    parts[i] = std::abs(static_cast<double>(tile.scale[run]) * (q - tile.zero));
    if (tile.has_minimum) parts[i] += std::abs(static_cast<double>(tile.minimum[run]));
  }
  return parts;
}

struct Activations {
  std::vector<int8_t> q;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  std::vector<IntRow> rows;
};

Activations quantize(const IntKernels& kernels, const std::vector<float>& x, int num_rows, int64_t length) {
  Activations a;
  a.q.resize(num_rows * length);
  a.scales.resize(num_rows * length / kActivationRun);
  a.sums.resize(num_rows * length / kActivationRun);
  for (int row = 0; row < num_rows; ++row) {
    IntRow out = {&a.q[row * length], &a.scales[row * length / kActivationRun], &a.sums[row * length / kActivationRun]};
    kernels.quantize_row(&x[row * length], length, const_cast<int8_t*>(out.q), const_cast<float*>(out.scale),
                         const_cast<int32_t*>(out.sums));
    a.rows.push_back(out);
  }
  return a;
}

std::vector<float> product(const IntKernels& kernels, DType dtype, const std::vector<uint8_t>& w, int num_w,
                           int64_t length, const Activations& a) {
  const BlockShape block = block_shape(dtype);
  IntTile tile;
  tile.prepare(dtype, length);
  const IntTileView view(tile);
  kernels.unpack(dtype, w.data(), length / block.elements * block.bytes, num_w, length, view);
  std::vector<float> y(a.rows.size() * num_w);
  kernels.dot(a.rows.data(), static_cast<int>(a.rows.size()), view, num_w, y.data(), num_w);
  return y;
}

// Products with the weights as stored, for the first few rows of activations.
void check_stored(const IntKernels& kernels, DType dtype, const std::vector<uint8_t>& w, int num_w, int64_t length,
                  const Activations& a, const std::vector<float>& expected) {
  if (kernels.dot_stored == nullptr) return;
  const BlockShape block = block_shape(dtype);
  const StoredRows stored = {dtype, w.data(), length / block.elements * block.bytes, num_w, length};
  for (int num_x : {1, 2, 3, 4}) {
    const int64_t stride = num_w + 3;
    std::vector<float> y(num_x * stride, -7.0f);
    if (!kernels.dot_stored(a.rows.data(), num_x, stored, y.data(), stride)) continue;
    for (int row = 0; row < num_x; ++row) {
      const bool is_same = std::memcmp(&y[row * stride], &expected[row * num_w], num_w * sizeof(float)) == 0;
      if (!is_same) report(__FILE__, __LINE__, kernels.name, ": stored ", dtype_name(dtype), " x ", num_w);
      for (int i = num_w; i < stride; ++i) CHECK_EQ(y[row * stride + i], -7.0f);
    }
  }
}

}  // namespace

CASE("activations are rounded to the nearest of 255 levels, ties to even, the same in every instruction set") {
  Random random(91);
  const int64_t length = 256;
  std::vector<float> x = random_floats(length, random, 3);
  for (int i = 0; i < 16; ++i) x[i] = 0;           // a run of zeros
  for (int i = 16; i < 32; ++i) x[i] = i - 23.5f;  // halves of the largest, 7.5
  const Activations expected = quantize(kPortableIntKernels, x, 1, length);
  CHECK_EQ(expected.scales[0], 0.0f);
  for (int64_t i = 0; i < length; ++i) {
    const double error = std::abs(x[i] - static_cast<double>(expected.scales[i / 16]) * expected.q[i]);
    CHECK(error <= expected.scales[i / 16] * 0.5001);
  }
  for (int64_t run = 0; run < length / kActivationRun; ++run) {
    int32_t sum = 0;
    for (int i = 0; i < kActivationRun; ++i) sum += expected.q[run * kActivationRun + i];
    CHECK_EQ(expected.sums[run], sum);
  }
  for (int v = 0; v < num_int_kernel_variants(); ++v) {
    const Activations a = quantize(int_kernel_variant(v), x, 1, length);
    CHECK(a.q == expected.q);
    CHECK(same(a.scales, expected.scales));
    CHECK(a.sums == expected.sums);
  }
}

CASE("a value that is not finite makes its run's products NaN") {
  for (float broken : {std::nanf(""), kInfinity}) {
    std::vector<float> x(64, 1.0f);
    x[40] = broken;
    for (int v = 0; v < num_int_kernel_variants(); ++v) {
      const Activations a = quantize(int_kernel_variant(v), x, 1, 64);
      CHECK(!std::isnan(a.scales[1]));
      CHECK(std::isnan(a.scales[2]));
    }
  }
}

CASE("every type's products equal those of its dequantised weights, in every instruction set, alone and together") {
  Random random(92);
  for (DType dtype : kTypes) {
    const BlockShape block = block_shape(dtype);
    for (int64_t length : {int64_t{block.elements}, int64_t{3 * block.elements}, int64_t{1280}}) {
      for (int num_w : {1, 5, 16}) {
        const int num_x = 13;
        const std::vector<uint8_t> w = random_rows(dtype, num_w, length, random);
        const std::vector<float> x = random_floats(num_x * length, random);
        const Activations a = quantize(kPortableIntKernels, x, num_x, length);
        const std::vector<float> expected = product(kPortableIntKernels, dtype, w, num_w, length, a);

        const int64_t row_bytes = length / block.elements * block.bytes;
        for (int c = 0; c < num_w; ++c) {
          std::vector<float> values(length);
          dequantize_row(dtype, w.data() + c * row_bytes, values.data(), length);
          const std::vector<double> parts = largest_parts(dtype, w.data() + c * row_bytes, length);
          for (int r = 0; r < num_x; ++r) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < length; ++i) {
              const double activation =
                  static_cast<double>(a.q[r * length + i]) * a.scales[(r * length + i) / kActivationRun];
              sum += values[i] * activation;
              magnitude += parts[i] * std::abs(activation);
            }
            // Two fused sums for every 16 elements, the factor and the offset rounded once each.
            const double roundings = 2.0 * length / kActivationRun + 3;
            CHECK_NEAR(expected[r * num_w + c], sum, roundings * kUlp * magnitude);
          }
        }
        for (int v = 0; v < num_int_kernel_variants(); ++v) {
          const IntKernels& kernels = int_kernel_variant(v);
          if (!same(product(kernels, dtype, w, num_w, length, a), expected)) {
            report(__FILE__, __LINE__, kernels.name, ": ", dtype_name(dtype), " x ", num_w, ", length ", length);
          }
          for (int r : {0, 4, 12}) {
            Activations one;
            one.rows.push_back(a.rows[r]);
            const std::vector<float> alone = product(kernels, dtype, w, num_w, length, one);
            CHECK(std::memcmp(alone.data(), &expected[r * num_w], num_w * sizeof(float)) == 0);
          }
          check_stored(kernels, dtype, w, num_w, length, a, expected);
        }
      }
    }
  }
}
