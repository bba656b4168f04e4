// The sum over experts, one operation at a time: slot order, then the shared expert, then the residual, whatever rows share the batch.
#include <cmath>

#include "test/kernel_values.h"
#include "test/tiny_model.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr int kLayer = 2, kTopK = 4;

// What experts() adds to rows of zeros, one row for each list of slots.
std::vector<float> run_experts(Model& model, const std::vector<float>& h,
                               const std::vector<std::vector<uint16_t>>& slots,
                               const std::vector<std::vector<float>>& weights, const std::vector<float>& shared_gate,
                               std::vector<float> x) {
  Routes routes;
  routes.top_k = kTopK;
  routes.shared_gate = shared_gate;
  for (size_t row = 0; row < slots.size(); ++row) {
    for (size_t slot = 0; slot < kTopK; ++slot) {
      const bool is_used = slot < slots[row].size();
      routes.run.push_back(is_used ? slots[row][slot] : kNoExpert);
      routes.weights.push_back(is_used ? weights[row][slot] : 0);
    }
  }
  model.backend->activations(static_cast<int>(slots.size()));
  Batch batch;
  batch.rows.resize(slots.size());
  model.backend->experts(kLayer, batch, x.data(), h.data(), routes, Taps{});
  return x;
}

}  // namespace

CASE("experts are added in slot order, then the shared expert, then the residual") {
  const TinyCheckpoint checkpoint = tiny_qwen2_moe();
  const std::shared_ptr<Model> model = checkpoint.load(2);
  const int hidden = checkpoint.config.hidden_size;
  Random random(71);
  const std::vector<float> h = random_floats(hidden, random), residual = random_floats(hidden, random, 4);
  const std::vector<float> zeros(hidden);
  const auto alone = [&](uint16_t expert) { return run_experts(*model, h, {{expert}}, {{1}}, {0}, zeros); };
  const std::vector<float> shared = run_experts(*model, h, {{}}, {{}}, {1}, zeros);
  CHECK(shared != zeros);

  const std::vector<uint16_t> slots = {7, 2, 7, 0};  // an expert twice, as a swap can have it
  const std::vector<float> weights = {0.3f, 0.25f, 0.2f, 0.15f};
  std::vector<float> sum = zeros;
  for (size_t slot = 0; slot < slots.size(); ++slot) {
    const std::vector<float> out = alone(slots[slot]);
    for (int i = 0; i < hidden; ++i) sum[i] = std::fma(weights[slot], out[i], sum[i]);
  }
  for (int i = 0; i < hidden; ++i) sum[i] = residual[i] + std::fma(0.6f, shared[i], sum[i]);
  CHECK(same(run_experts(*model, h, {slots}, {weights}, {0.6f}, residual), sum));
}

CASE("rows of a batch do not see one another, and empty slots add nothing") {
  const TinyCheckpoint checkpoint = tiny_qwen2_moe();
  const std::shared_ptr<Model> model = checkpoint.load(2);
  const int hidden = checkpoint.config.hidden_size;
  Random random(72);
  constexpr int kRows = 40;
  const std::vector<float> h = random_floats(kRows * hidden, random), residual = random_floats(kRows * hidden, random);
  std::vector<std::vector<uint16_t>> slots(kRows);
  std::vector<std::vector<float>> weights(kRows);
  const std::vector<float> gates = random_floats(kRows, random);
  for (int row = 0; row < kRows; ++row) {
    slots[row].resize(row % (kTopK + 1));
    for (uint16_t& expert : slots[row]) expert = static_cast<uint16_t>(random.below(checkpoint.config.num_experts));
    weights[row] = random_floats(slots[row].size(), random);
  }
  const std::vector<float> together = run_experts(*model, h, slots, weights, gates, residual);
  for (int row = 0; row < kRows; ++row) {
    const auto part = [&](const std::vector<float>& all) {
      return std::vector<float>(all.begin() + row * hidden, all.begin() + (row + 1) * hidden);
    };
    CHECK(
        same(run_experts(*model, part(h), {slots[row]}, {weights[row]}, {gates[row]}, part(residual)), part(together)));
  }
}
