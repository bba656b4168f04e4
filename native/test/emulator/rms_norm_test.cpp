// cuda/rms_norm.cu against the formula in float64.
#include "cuda/rms_norm.h"

#include <algorithm>
#include <cmath>

#include "block.h"
#include "device_values.h"
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

CASE("no rows are no launch") { CHECK_EQ(normed(0, 8, 1e-6f, {}, std::vector<float>(8, 1)).size(), 0u); }
