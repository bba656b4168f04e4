// What experts add to the residual stream, summed over the rows of a step in one pass: nothing of the activations is kept.
// Definitions of the figures that are made of these sums: src/analysis/contribution.ts.
#pragma once

#include <cstdint>
#include <vector>

#include "core/config.h"

namespace moescope {

// f_e(h) is the output of expert e before its gate; a row counts for e where e was selected, ran, and has a gate other than 0.
// L: MoE layers of the model. The sums do not depend on threads; they are float64 and added in the order of rows.
struct Contributions {
  explicit Contributions(const ModelConfig& config)
      : num_layers(config.num_moe_layers()),
        num_experts(config.num_experts),
        rows(per_expert()),
        gate(per_expert()),
        norm(per_expert()),
        squared_norm(per_expert()),
        gated_norm(per_expert()),
        max_abs(per_expert()),
        pair_rows(per_pair()),
        pair_cosine(per_pair()),
        shared_rows(num_layers),
        shared_norm(num_layers),
        routed_norm(num_layers),
        shared_ratio(num_layers) {}

  int num_layers;
  int num_experts;
  std::vector<double> rows;          // (L, experts)
  std::vector<double> gate;          // (L, experts)  sum of g
  std::vector<double> norm;          // (L, experts)  sum of |f|
  std::vector<double> squared_norm;  // (L, experts)  sum of |f|^2
  std::vector<double> gated_norm;    // (L, experts)  sum of g |f|
  std::vector<float> max_abs;        // (L, experts)  largest |f_i|; 0 where no row counts
  std::vector<double> pair_rows;     // (L, experts, experts)  rows of both; upper triangle without the diagonal
  std::vector<double> pair_cosine;   // (L, experts, experts)  sum of cos(f_a, f_b) over them
  std::vector<double> shared_rows;   // (L)  rows with a routed sum other than 0
  std::vector<double> shared_norm;   // (L)  sum of |s f_shared|
  std::vector<double> routed_norm;   // (L)  sum of |sum of g f|
  std::vector<double> shared_ratio;  // (L)  sum of |s f_shared| / |sum of g f|

 private:
  size_t per_expert() const { return static_cast<size_t>(num_layers) * num_experts; }
  size_t per_pair() const { return per_expert() * num_experts; }
};

}  // namespace moescope
