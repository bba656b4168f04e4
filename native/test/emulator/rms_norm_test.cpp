// cuda/rms_norm.cu against the formula in float64.
#include "cuda/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "block.h"
#include "core/half.h"
#include "product_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;

namespace {

std::vector<float> normed(int rows, int hidden, float eps, const std::vector<float>& x,
                          const std::vector<float>& weight) {
  cuda::Stream stream;
  const cuda::DeviceBuffer device_x = on_device(stream, x), device_weight = on_device(stream, weight);
  const cuda::DeviceBuffer out(x.size() * sizeof(float));
  cuda::rms_norm(stream, rows,
                 {.x = device_x.as<const float>(),
                  .weight = device_weight.as<const float>(),
                  .out = out.as<float>(),
                  .hidden = hidden,
                  .eps = eps});
  return on_host<float>(stream, out);
}

}  // namespace

CASE("rows of any width meet the formula, and do not depend on the rows beside them or on the order of lanes") {
  Random random(7);
  for (int hidden : {1, 5, 32, 255, 256, 257, 3584}) {
    const int rows = 3;
    std::vector<float> x(static_cast<size_t>(rows) * hidden), weight(hidden);
    for (float& value : x) value = static_cast<float>(random.normal() * 3);
    for (float& value : weight) value = static_cast<float>(random.normal());
    emulator::set_seed(hidden);
    const std::vector<float> out = normed(rows, hidden, 1e-6f, x, weight);
    // Of n fp32 squares, terms / 256 in a thread and ten levels of trees; halved by the root, then four roundings.
    const double tolerance = ((hidden / 256 + 1 + 10) / 2.0 + 4) * 0x1p-24;
    for (int row = 0; row < rows; ++row) {
      double sum = 0;
      for (int i = 0; i < hidden; ++i) sum += std::pow(static_cast<double>(x[row * hidden + i]), 2);
      const double scale = 1 / std::sqrt(sum / hidden + 1e-6);
      for (int i = 0; i < hidden; ++i) {
        const double expected = weight[i] * x[row * hidden + i] * scale;
        CHECK_NEAR(out[row * hidden + i], expected, std::abs(expected) * tolerance);
      }
    }
    emulator::set_seed(hidden + 1);
    const std::vector<float> alone = normed(1, hidden, 1e-6f, {x.begin() + hidden, x.begin() + 2 * hidden}, weight);
    CHECK(std::equal(alone.begin(), alone.end(), out.begin() + hidden));
  }
}

CASE(
    "rows are rounded to the forms of products: 8 bits for each 32 elements, bf16 and its rest, zeros to whole quads") {
  cuda::Stream stream;
  Random random(8);
  for (int cols : {1, 31, 32, 33, 128, 129, 640}) {
    const int rows = 2;
    std::vector<float> x(static_cast<size_t>(rows) * cols);
    for (float& value : x) value = static_cast<float>(random.normal() * std::exp(8 * random.uniform() - 4));
    const DeviceSide device = device_side(stream, x, rows, cols);
    const std::vector<int8_t> q = on_host<int8_t>(stream, device.q);
    const std::vector<float> scales = on_host<float>(stream, device.scales);
    const std::vector<float> floats = on_host<float>(stream, device.floats);
    const std::vector<uint16_t> high = on_host<uint16_t>(stream, device.high),
                                low = on_host<uint16_t>(stream, device.low);
    const int width = device.side.quads * cuda::kQuad;
    for (int row = 0; row < rows; ++row) {
      for (int start = 0; start < width; start += cuda::kUnit) {
        float largest = 0;
        int sum = 0;
        const size_t unit = static_cast<size_t>(row * width + start) / cuda::kUnit;
        for (int i = start; i < start + cuda::kUnit; ++i) {
          const size_t at = static_cast<size_t>(row) * width + i;
          const float value = i < cols ? x[static_cast<size_t>(row) * cols + i] : 0.0f;
          largest = std::max(largest, std::abs(value));
          sum += q[at];
          CHECK_EQ(floats[at], value);
          CHECK_EQ(high[at], float_to_bf16(value));
          CHECK_EQ(low[at], float_to_bf16(value - bf16_to_float(high[at])));
          CHECK_NEAR(q[at] * scales[2 * unit], value, scales[2 * unit] * (0.5 + 1e-4));
        }
        CHECK_EQ(scales[2 * unit], largest / 127.0f);
        CHECK_EQ(scales[2 * unit + 1], scales[2 * unit] * static_cast<float>(sum));
      }
    }
  }
}

CASE("a norm fills the same forms with what it writes") {
  cuda::Stream stream;
  Random random(9);
  const int rows = 3, hidden = 200;
  std::vector<float> x(rows * hidden), weight(hidden);
  for (float& value : x) value = static_cast<float>(random.normal());
  for (float& value : weight) value = static_cast<float>(random.normal());
  const std::vector<float> plain = normed(rows, hidden, 1e-5f, x, weight);
  const DeviceSide expected = device_side(stream, plain, rows, hidden), side(rows, hidden);
  const cuda::DeviceBuffer device_x = on_device(stream, x), device_weight = on_device(stream, weight);
  cuda::rms_norm(stream, rows,
                 {.x = device_x.as<const float>(),
                  .weight = device_weight.as<const float>(),
                  .out = nullptr,
                  .hidden = hidden,
                  .eps = 1e-5f,
                  .side = side.side});
  CHECK(on_host<int8_t>(stream, side.q) == on_host<int8_t>(stream, expected.q));
  CHECK(on_host<float>(stream, side.scales) == on_host<float>(stream, expected.scales));
  CHECK(on_host<uint16_t>(stream, side.high) == on_host<uint16_t>(stream, expected.high));
  CHECK(on_host<float>(stream, side.floats) == on_host<float>(stream, expected.floats));
}

CASE("no rows are no launch") { CHECK_EQ(normed(0, 8, 1e-6f, {}, std::vector<float>(8, 1)).size(), 0u); }
