// Products in bf16: weights of every type unpacked to the bit, sums in the order that each instruction has, and the same bits for a row
// of activations alone and among others. On machines without such instructions there is nothing to test.
#include "cpu/arch/bf16_kernels.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "core/half.h"
#include "cpu/matmul.h"
#include "test/kernel_values.h"
#include "test/random_blocks.h"

using namespace moescope;
using namespace moescope::check;

namespace {

std::vector<const Bf16Kernels*> bf16_variants() {
  std::vector<const Bf16Kernels*> found;
  for (int index = 0; index < num_fast_kernels(); ++index) {
    const Bf16Kernels* kernels = fast_kernels(index).bf16;
    if (kernels != nullptr && std::find(found.begin(), found.end(), kernels) == found.end()) found.push_back(kernels);
  }
  return found;
}

// As the instructions read it: a subnormal counts as zero.
float rounded(float value) {
  const float result = bf16_to_float(float_to_bf16(value));
  return std::fpclassify(result) == FP_SUBNORMAL || std::fpclassify(value) == FP_SUBNORMAL ? 0 : result;
}

struct Weights16 {
  DType dtype;
  int num_rows;
  int64_t length;
  std::vector<uint8_t> rows;

  int64_t row_bytes() const { return length / block_shape(dtype).elements * block_shape(dtype).bytes; }
  std::vector<float> values(int row) const {
    std::vector<float> result(length);
    dequantize_row(dtype, &rows[row * row_bytes()], result.data(), length);
    return result;
  }
};

// (rows, w.num_rows)
std::vector<float> product(const Bf16Kernels& kernels, const Weights16& w, const std::vector<const float*>& x) {
  const int64_t padded = bf16_padded(w.length);
  AlignedRoom high_room, low_room, scratch;
  const int num_x = static_cast<int>(x.size());
  auto* high = reinterpret_cast<uint16_t*>(high_room.at_least(num_x * padded * 2));
  auto* low = needs_low_part(w.dtype) ? reinterpret_cast<uint16_t*>(low_room.at_least(num_x * padded * 2)) : nullptr;
  for (int first = 0; first < num_x; first += kBf16PackRows) {
    kernels.pack(&x[first], std::min(kBf16PackRows, num_x - first), w.length, high + first * padded,
                 low == nullptr ? nullptr : low + first * padded);
  }
  // A stride above the number of columns: nothing may be written between them.
  const int stride = w.num_rows + 3;
  std::vector<float> y(num_x * stride, -7.0f), result;
  kernels.multiply({w.dtype, w.rows.data(), w.row_bytes(), w.num_rows, w.length}, {high, low, num_x},
                   scratch.at_least(kernels.scratch_bytes), y.data(), stride);
  for (int row = 0; row < num_x; ++row) {
    result.insert(result.end(), y.begin() + row * stride, y.begin() + row * stride + w.num_rows);
    for (int i = w.num_rows; i < stride; ++i) CHECK_EQ(y[row * stride + i], -7.0f);
  }
  return result;
}

std::vector<const float*> pointers(const std::vector<float>& x, int64_t length) {
  std::vector<const float*> rows;
  for (size_t start = 0; start < x.size(); start += length) rows.push_back(&x[start]);
  return rows;
}

// Intel's description of TDPBF16PS, a step of 32 at a time.
float amx_sum(const std::vector<float>& w, const float* x, int64_t length) {
  float total = 0;
  for (int64_t start = 0; start < length; start += kBf16Step) {
    float even = 0, odd = 0;
    for (int64_t i = start; i < std::min(start + kBf16Step, length); i += 2) {
      even = std::fma(rounded(w[i]), rounded(x[i]), even);
      if (i + 1 < length) odd = std::fma(rounded(w[i + 1]), rounded(x[i + 1]), odd);
    }
    total += even + odd;
  }
  return total;
}

std::vector<DType> bf16_types() {
  std::vector<DType> types = all_types();
  std::erase(types, DType::F32);
  return types;
}

}  // namespace

CASE("weights of every type are those of the dequantised row, rounded to bf16; those of F16 are whole") {
  Random random(71);
  for (const Bf16Kernels* kernels : bf16_variants()) {
    for (DType dtype : bf16_types()) {
      for (int64_t length : {int64_t{std::max(32, block_shape(dtype).elements)}, int64_t{768}}) {
        for (int num_rows : {3, 16}) {
          const Weights16 w = {dtype, num_rows, length, random_blocks(dtype, num_rows, length, random, 3e38f)};
          // Row r of activations is 1 at element r: a product is one weight.
          std::vector<float> x(length * length);
          for (int64_t i = 0; i < length; ++i) x[i * length + i] = 1;
          const std::vector<float> y = product(*kernels, w, pointers(x, length));
          int wrong = 0;
          for (int row = 0; row < num_rows; ++row) {
            const std::vector<float> values = w.values(row);
            for (int64_t i = 0; i < length; ++i) {
              const float expected = dtype == DType::F16 ? values[i] : rounded(values[i]);
              wrong += y[i * num_rows + row] != expected;
            }
          }
          if (wrong > 0) {
            report(__FILE__, __LINE__, kernels->name, ": ", dtype_name(dtype), " x ", num_rows, ", length ", length,
                   ": ", wrong, " wrong weights");
          }
        }
      }
    }
  }
}

CASE("a product is the sum of rounded products in the instruction's order, for odd lengths too") {
  Random random(72);
  for (const Bf16Kernels* kernels : bf16_variants()) {
    const bool is_amx = kernels == bf16_variants().front() && std::string(kernels->name) == "amx";
    for (DType dtype : {DType::BF16, DType::Q8_0, DType::Q4_K, DType::Q6_K, DType::MXFP4, DType::IQ3_S}) {
      for (int64_t length : {33, 60, 256, 1280, 1536}) {
        if (length % block_shape(dtype).elements != 0) continue;
        const Weights16 w = {dtype, 7, length, random_blocks(dtype, 7, length, random, 10)};
        const std::vector<float> x = random_floats(19 * length, random);
        const std::vector<float> y = product(*kernels, w, pointers(x, length));
        for (int column = 0; column < 7; ++column) {
          const std::vector<float> values = w.values(column);
          for (int row = 0; row < 19; ++row) {
            double sum = 0, magnitude = 0;
            for (int64_t i = 0; i < length; ++i) {
              const double one = static_cast<double>(rounded(values[i])) * rounded(x[row * length + i]);
              sum += one;
              magnitude += std::abs(one);
            }
            // Two roundings for each step of a lane, then four to add the lanes.
            const double roundings = 2.0 * static_cast<double>(length) / kBf16Step + 6;
            const float actual = y[row * 7 + column];
            if (is_amx) {
              CHECK_EQ(actual, amx_sum(values, &x[row * length], length));
            } else {
              CHECK_NEAR(actual, sum, roundings * kUlp * magnitude);
            }
          }
        }
      }
    }
  }
}

CASE("F16 products keep the bits of both sides") {
  Random random(73);
  for (const Bf16Kernels* kernels : bf16_variants()) {
    for (int64_t length : {45, 1024}) {
      const Weights16 w = {DType::F16, 16, length, random_blocks(DType::F16, 16, length, random, 2)};
      const std::vector<float> x = random_floats(5 * length, random);
      const std::vector<float> y = product(*kernels, w, pointers(x, length));
      for (int column = 0; column < 16; ++column) {
        const std::vector<float> values = w.values(column);
        for (int row = 0; row < 5; ++row) {
          double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < length; ++i) {
            sum += static_cast<double>(values[i]) * x[row * length + i];
            magnitude += std::abs(static_cast<double>(values[i]) * x[row * length + i]);
          }
          // An activation loses what is left after two parts of 8 bits, 2^-18 of it, and the product of the low parts, 2^-18 too; and the
          // sum is rounded thrice a step, with up to 16 terms inside of one.
          const double tolerance = 0x1p-17 + (3.0 * static_cast<double>(length) / kBf16Step + 54) * kUlp;
          CHECK_NEAR(y[row * 16 + column], sum, tolerance * magnitude);
        }
      }
    }
  }
}

CASE("a row of activations gives the same bits alone and among any number of others") {
  Random random(74);
  for (const Bf16Kernels* kernels : bf16_variants()) {
    for (DType dtype : {DType::Q4_K, DType::Q8_0, DType::F16, DType::BF16, DType::IQ2_S}) {
      const int64_t length = dtype == DType::BF16 ? 1063 : 1280;
      const Weights16 w = {dtype, 16, length, random_blocks(dtype, 16, length, random, 10)};
      const int most = 1100;  // more than any kernel takes at once
      const std::vector<float> x = random_floats(most * length, random);
      const std::vector<const float*> rows = pointers(x, length);
      const std::vector<float> all = product(*kernels, w, rows);
      for (int row : {0, 15, 16, 63, 64, 500, 1023, 1024, 1099}) {
        const std::vector<float> alone = product(*kernels, w, {rows[row]});
        CHECK(std::memcmp(alone.data(), &all[row * 16], 16 * sizeof(float)) == 0);
      }
      for (int count : {2, 3, 4, 7, 15, 16, 17, 31, 32, 40, 48, 64, 65, 80, 100}) {
        const std::vector<float> some = product(*kernels, w, {rows.begin(), rows.begin() + count});
        if (std::memcmp(some.data(), all.data(), some.size() * sizeof(float)) != 0) {
          report(__FILE__, __LINE__, kernels->name, ": ", dtype_name(dtype), ", ", count, " rows");
        }
      }
    }
  }
}

CASE("many weight rows give the bits of each tile alone") {
  Random random(76);
  for (const Bf16Kernels* kernels : bf16_variants()) {
    for (int64_t length : {256, 4352}) {  // one segment of a row, and two
      const Weights16 w = {DType::Q5_K, 57, length, random_blocks(DType::Q5_K, 57, length, random, 10)};
      const std::vector<float> x = random_floats(21 * length, random);
      for (int num_x : {1, 16, 21}) {
        std::vector<const float*> used;
        for (int row = 0; row < num_x; ++row) used.push_back(&x[row * length]);
        const std::vector<float> all = product(*kernels, w, used);
        for (int first = 0; first < w.num_rows; first += kBf16TileRows) {
          const int count = std::min(kBf16TileRows, w.num_rows - first);
          const auto at = w.rows.begin() + first * w.row_bytes();
          const Weights16 tile = {w.dtype, count, length, {at, at + count * w.row_bytes()}};
          const std::vector<float> alone = product(*kernels, tile, used);
          for (int row = 0; row < num_x; ++row) {
            CHECK(std::memcmp(&alone[row * count], &all[row * w.num_rows + first], count * sizeof(float)) == 0);
          }
        }
      }
    }
  }
}

CASE("a value that is not finite reaches the products of its row and of no other") {
  for (const Bf16Kernels* kernels : bf16_variants()) {
    for (float broken : {std::nanf(""), kInfinity}) {
      Random random(75);
      const Weights16 w = {DType::Q8_0, 16, 96, random_blocks(DType::Q8_0, 16, 96, random, 10)};
      std::vector<float> x = random_floats(3 * 96, random);
      x[96 + 50] = broken;
      const std::vector<float> y = product(*kernels, w, pointers(x, 96));
      for (int i = 0; i < 48; ++i) CHECK_EQ(std::isfinite(y[i]), i < 16 || i >= 32);
    }
  }
}

CASE("ways to multiply have names of their own, and the plain one is always there") {
  std::set<std::string> names;
  for (int index = 0; index < num_fast_kernels(); ++index) names.insert(fast_kernels(index).name);
  CHECK_EQ(names.size(), static_cast<size_t>(num_fast_kernels()));
  CHECK(names.count("portable") == 1);
  std::string all;
  for (const std::string& name : names) all += " " + name;
  std::printf("  ways:%s\n", all.c_str());
}
