// cuda/experts.cu against its parts: the bits of single products, in slot order, then the shared expert, then the residual; and against the
// formula in float64.
#include "cuda/experts.h"

#include "cuda/matmul.h"
#include "product_values.h"
#include "test/check.h"
#include "test/kernel_values.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct DeviceFeedForward {
  DeviceMatrix gate, up, down;
  cuda::PackedFeedForward packed() const { return {gate.packed, up.packed, down.packed}; }
};

struct Types {
  DType gate, up, down;
};

DeviceFeedForward random_feed_forward(cuda::Stream& stream, Types types, int hidden, int intermediate, Random& random) {
  return {random_matrix(stream, types.gate, intermediate, hidden, random),
          random_matrix(stream, types.up, intermediate, hidden, random),
          random_matrix(stream, types.down, hidden, intermediate, random)};
}

struct Mixture {
  int hidden, intermediate, shared_intermediate, num_experts, top_k, rows;
  std::vector<DeviceFeedForward> experts;
  std::vector<DeviceFeedForward> shared;  // one or none
  std::vector<uint16_t> run;              // (rows, top_k)
  std::vector<float> weights, shared_gate, h, x;
};

struct Result {
  std::vector<float> x, normed;
};

std::vector<float> norm_weight(int hidden) { return std::vector<float>(hidden, 1.5f); }

Result run_experts(cuda::Stream& stream, const Mixture& c) {
  std::vector<cuda::PackedFeedForward> table;
  for (const DeviceFeedForward& expert : c.experts) table.push_back(expert.packed());
  const cuda::DeviceBuffer experts = on_device(stream, table), run = on_device(stream, c.run),
                           weights = on_device(stream, c.weights), shared_gate = on_device(stream, c.shared_gate),
                           x = on_device(stream, c.x), norm = on_device(stream, norm_weight(c.hidden));
  const int assignments = c.rows * c.top_k;
  const DeviceSide h = device_side(stream, c.h, c.rows, c.hidden), inner(assignments, c.intermediate),
                   shared_inner(c.rows, c.shared_intermediate);
  const cuda::DeviceBuffer out(static_cast<size_t>(assignments) * c.hidden * 4), normed(c.x.size() * 4),
      shared_out(static_cast<size_t>(c.rows) * c.hidden * 4);
  cuda::ExpertsParams params;
  params.rows = c.rows;
  params.top_k = c.top_k;
  params.hidden = c.hidden;
  params.experts = experts.as<const cuda::PackedFeedForward>();
  params.intermediate = c.intermediate;
  params.num_experts = c.num_experts;
  const cuda::DeviceBuffer starts((c.num_experts + 1) * sizeof(int32_t)), list(assignments * sizeof(int32_t));
  params.group_starts = starts.as<int32_t>();
  params.group_list = list.as<int32_t>();
  for (const auto* group : {&c.experts, &c.shared}) {
    for (const DeviceFeedForward& ffn : *group) params.is_mixed |= ffn.gate.packed.type != ffn.up.packed.type;
  }
  params.run = run.as<const uint16_t>();
  params.weights = weights.as<const float>();
  if (!c.shared.empty()) params.shared = c.shared[0].packed();
  params.shared_gate = shared_gate.as<const float>();
  params.h = h.side;
  params.inner = inner.side;
  params.shared_inner = shared_inner.side;
  params.out = out.as<float>();
  params.shared_out = shared_out.as<float>();
  cuda::experts_in(stream, params);
  cuda::experts_out(stream, params);
  cuda::combine(stream, {.experts = params,
                         .x = x.as<float>(),
                         .next = {.x = x.as<const float>(),
                                  .weight = norm.as<const float>(),
                                  .out = normed.as<float>(),
                                  .hidden = c.hidden,
                                  .eps = 1e-6f}});
  return {on_host<float>(stream, x), on_host<float>(stream, normed)};
}

std::vector<float> product(cuda::Stream& stream, const DeviceMatrix& matrix, const std::vector<float>& x) {
  const DeviceSide side = device_side(stream, x, 1, matrix.packed.cols);
  const cuda::DeviceBuffer out(static_cast<size_t>(matrix.packed.rows) * sizeof(float));
  cuda::MatmulParams params;
  params.products[0] = {.weights = matrix.packed, .x = side.side, .out = out.as<float>()};
  params.count = params.rows = 1;
  cuda::matmul(stream, params);
  return on_host<float>(stream, out);
}

std::vector<float> feed_forward(cuda::Stream& stream, const DeviceFeedForward& ffn, const std::vector<float>& h) {
  std::vector<float> gate = product(stream, ffn.gate, h);
  const std::vector<float> up = product(stream, ffn.up, h);
  best_kernels().silu_mul(gate.data(), up.data(), static_cast<int64_t>(gate.size()), gate.data());
  return product(stream, ffn.down, gate);
}

std::vector<float> row_of(const std::vector<float>& values, int row, int width) {
  return {values.begin() + static_cast<int64_t>(row) * width, values.begin() + static_cast<int64_t>(row + 1) * width};
}

void check_case(cuda::Stream& stream, const Mixture& c) {
  const Result result = run_experts(stream, c);
  for (int row = 0; row < c.rows; ++row) {
    const std::vector<float> h = row_of(c.h, row, c.hidden);
    std::vector<float> sum(c.hidden, 0.0f), expected = row_of(c.x, row, c.hidden);
    for (int slot = 0; slot < c.top_k; ++slot) {
      const size_t at = static_cast<size_t>(row) * c.top_k + slot;
      if (c.run[at] == kNoExpert || c.weights[at] == 0) continue;
      best_kernels().add_scaled(c.weights[at], feed_forward(stream, c.experts[c.run[at]], h).data(), c.hidden,
                                sum.data());
    }
    if (!c.shared.empty() && c.shared_gate[row] != 0) {
      best_kernels().add_scaled(c.shared_gate[row], feed_forward(stream, c.shared[0], h).data(), c.hidden, sum.data());
    }
    for (int i = 0; i < c.hidden; ++i) expected[i] += sum[i];
    CHECK(same(row_of(result.x, row, c.hidden), expected));

    const cuda::DeviceBuffer x = on_device(stream, expected), weight = on_device(stream, norm_weight(c.hidden)),
                             out(c.hidden * 4);
    cuda::rms_norm(stream, 1,
                   {.x = x.as<const float>(),
                    .weight = weight.as<const float>(),
                    .out = out.as<float>(),
                    .hidden = c.hidden,
                    .eps = 1e-6f});
    CHECK(same(row_of(result.normed, row, c.hidden), on_host<float>(stream, out)));
  }
}

Mixture random_case(cuda::Stream& stream, Types types, int hidden, int intermediate, int shared_intermediate,
                    int num_experts, int top_k, int rows, Random& random) {
  Mixture c{hidden, intermediate, shared_intermediate, num_experts, top_k, rows, {}, {}, {}, {}, {}, {}, {}};
  for (int expert = 0; expert < num_experts; ++expert) {
    c.experts.push_back(random_feed_forward(stream, types, hidden, intermediate, random));
  }
  if (shared_intermediate > 0) {
    c.shared.push_back(random_feed_forward(stream, types, hidden, shared_intermediate, random));
  }
  for (int row = 0; row < rows; ++row) {
    std::vector<uint16_t> order(num_experts);
    for (int expert = 0; expert < num_experts; ++expert) order[expert] = static_cast<uint16_t>(expert);
    for (int slot = 0; slot < top_k; ++slot) {
      std::swap(order[slot], order[slot + random.below(num_experts - slot)]);
      c.run.push_back(order[slot]);
      c.weights.push_back(static_cast<float>(random.uniform()));
    }
    c.shared_gate.push_back(static_cast<float>(random.uniform()));
  }
  c.h = random_floats(static_cast<size_t>(rows) * hidden, random);
  c.x = random_floats(static_cast<size_t>(rows) * hidden, random);
  return c;
}

}  // namespace

CASE("experts of any number and width give the bits of their parts") {
  cuda::Stream stream;
  Random random(21);
  check_case(stream, random_case(stream, {DType::Q5_K, DType::Q5_K, DType::Q6_K}, 256, 256, 512, 5, 2, 1, random));
  check_case(stream, random_case(stream, {DType::Q8_0, DType::Q8_0, DType::Q8_0}, 96, 32, 160, 8, 4, 5, random));
  check_case(stream, random_case(stream, {DType::BF16, DType::BF16, DType::BF16}, 64, 40, 0, 60, 1, 3, random));
  check_case(stream, random_case(stream, {DType::Q5_1, DType::Q5_1, DType::Q4_0}, 64, 32, 64, 64, 8, 2, random));
}

CASE("gate and up may have two types, and experts of a layer differ") {
  cuda::Stream stream;
  Random random(22);
  Mixture c = random_case(stream, {DType::Q8_0, DType::F32, DType::F16}, 64, 96, 32, 5, 2, 2, random);
  c.experts[3] = random_feed_forward(stream, {DType::Q4_0, DType::Q5_0, DType::BF16}, 64, 96, random);
  c.run = {3, 0, 4, 3};
  check_case(stream, c);
}

CASE("empty slots, gates of 0 and a removed shared expert run nothing, even where it would not be finite") {
  cuda::Stream stream;
  Random random(23);
  Mixture c = random_case(stream, {DType::F32, DType::F32, DType::F32}, 32, 32, 32, 5, 4, 3, random);
  const auto nan_matrix = [&] {
    return device_matrix(stream, DType::F32, std::vector<uint8_t>(32 * 32 * 4, 0xff), 32, 32);
  };
  for (DeviceFeedForward* broken : {&c.experts[2], &c.shared[0]}) *broken = {nan_matrix(), nan_matrix(), nan_matrix()};
  c.run = {0, kNoExpert, 1, kNoExpert, 2, 0, 3, 4, kNoExpert, kNoExpert, kNoExpert, kNoExpert};
  c.weights[4] = 0;
  c.shared_gate = {0, 0, 0};
  check_case(stream, c);
  for (float value : run_experts(stream, c).x) CHECK(std::isfinite(value));
}

CASE("many rows grouped by expert give the bits of their parts, with empty experts, empty slots and one hot expert") {
  cuda::Stream stream;
  Random random(26);
  Mixture c = random_case(stream, {DType::Q4_K, DType::Q4_K, DType::Q6_K}, 256, 256, 256, 5, 2, 70, random);
  for (size_t at = 0; at < c.run.size(); at += 2) c.run[at] = 3, c.run[at + 1] = at % 3 == 0 ? kNoExpert : 1;
  c.weights[7] = 0;
  check_case(stream, c);
  check_case(stream, random_case(stream, {DType::BF16, DType::BF16, DType::F16}, 64, 40, 72, 8, 4, 65, random));
  check_case(stream, random_case(stream, {DType::Q5_1, DType::Q5_1, DType::F32}, 64, 32, 0, 2, 1, 17, random));
}

CASE("one hot expert and a row alone: the bits of the batch") {
  cuda::Stream stream;
  Random random(24);
  Mixture c = random_case(stream, {DType::Q4_K, DType::Q4_K, DType::Q5_0}, 256, 64, 64, 8, 2, 9, random);
  for (size_t at = 0; at < c.run.size(); at += 2) c.run[at] = 7;
  const Result all = run_experts(stream, c);
  for (int row : {0, 4, 8}) {
    Mixture alone = random_case(stream, {DType::Q4_0, DType::Q4_0, DType::Q4_0}, 32, 32, 0, 2, 2, 1, random);
    std::swap(alone.experts, c.experts), std::swap(alone.shared, c.shared);
    alone.hidden = c.hidden, alone.intermediate = c.intermediate, alone.shared_intermediate = c.shared_intermediate;
    alone.run = {c.run[2 * row], c.run[2 * row + 1]};
    alone.weights = row_of(c.weights, row, 2), alone.shared_gate = {c.shared_gate[row]};
    alone.h = row_of(c.h, row, c.hidden), alone.x = row_of(c.x, row, c.hidden);
    CHECK(same(run_experts(stream, alone).x, row_of(all.x, row, c.hidden)));
    std::swap(alone.experts, c.experts), std::swap(alone.shared, c.shared);
  }
}

CASE("fp32 experts meet the formula") {
  cuda::Stream stream;
  Random random(25);
  const Mixture c = random_case(stream, {DType::F32, DType::F32, DType::F32}, 64, 96, 128, 8, 2, 2, random);
  const Result result = run_experts(stream, c);
  const auto add = [&](const DeviceFeedForward& ffn, double weight, const float* h, std::vector<double>& sum,
                       std::vector<double>& error) {
    const int width = ffn.gate.packed.rows;
    std::vector<double> inner(width), inner_error(width);
    for (int j = 0; j < width; ++j) {
      double gate = 0, up = 0, gate_size = 0, up_size = 0;
      for (int i = 0; i < c.hidden; ++i) {
        const double g = ffn.gate.values[static_cast<size_t>(j) * c.hidden + i],
                     u = ffn.up.values[static_cast<size_t>(j) * c.hidden + i];
        gate += g * h[i], up += u * h[i], gate_size += std::abs(g * h[i]), up_size += std::abs(u * h[i]);
      }
      const double silu = gate / (1 + std::exp(-gate)), round = (c.hidden + 8) * kUlp;
      inner[j] = silu * up;
      // silu rises by less than 1.1 a step; exp errs by 2 ulp, and five operations round.
      inner_error[j] =
          1.1 * round * gate_size * std::abs(up) + std::abs(silu) * round * up_size + 8 * kUlp * std::abs(inner[j]);
    }
    for (int i = 0; i < c.hidden; ++i) {
      for (int j = 0; j < width; ++j) {
        const double w = ffn.down.values[static_cast<size_t>(i) * width + j];
        sum[i] += weight * w * inner[j];
        error[i] += weight * std::abs(w) * (inner_error[j] * 1.001 + (width + 8 + 4) * kUlp * std::abs(inner[j]));
      }
    }
  };
  for (int row = 0; row < c.rows; ++row) {
    std::vector<double> sum(c.hidden, 0.0), error(c.hidden, 0.0);
    const float* h = &c.h[static_cast<size_t>(row) * c.hidden];
    for (int slot = 0; slot < c.top_k; ++slot) {
      const size_t at = static_cast<size_t>(row) * c.top_k + slot;
      add(c.experts[c.run[at]], c.weights[at], h, sum, error);
    }
    add(c.shared[0], c.shared_gate[row], h, sum, error);
    for (int i = 0; i < c.hidden; ++i) {
      const size_t at = static_cast<size_t>(row) * c.hidden + i;
      const double expected = c.x[at] + sum[i];
      CHECK_NEAR(result.x[at], expected, error[i] + kUlp * std::abs(expected));
    }
  }
}
