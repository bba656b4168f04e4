// What steps record of the routing, row by row, in arrays that are allocated once: a step writes its rows behind those of the steps
// before it, so that watching costs no allocation and many steps cross into JavaScript at once.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/backend.h"

namespace moescope {

enum class CaptureLevel : uint8_t { Topk, Logits, Hidden };

// Shapes: TraceBlock in src/native/binding.ts.
class TraceBlock {
 public:
  // `layers`: global numbers, absent: all. InvalidArgument for a layer that the model does not have.
  TraceBlock(const ModelConfig& config, CaptureLevel level, int64_t num_rows, int slots,
             const std::optional<std::vector<int32_t>>& layers = std::nullopt);

  // Empties rows [first, first + count) and points the taps of a step to the arrays.
  void open(int64_t first, int64_t count, Taps& taps);

  bool records(int layer) const { return layer_slots_[layer] >= 0 || residual_slots_[layer] >= 0; }

  CaptureLevel level;
  int64_t rows;
  int num_experts;
  int num_moe_layers = 0;  // recorded ones
  int num_residual_layers = 0;
  int top_k;
  std::vector<uint16_t> topk_experts;
  std::vector<float> topk_weights;
  std::vector<float> shared_gate;
  std::vector<float> margin;
  std::vector<uint8_t> intervened;
  std::vector<float> router_logits;
  std::vector<float> router_input;
  std::vector<float> expert_norms;
  std::vector<float> shared_norm;
  std::vector<float> residual;

 private:
  std::vector<int> layer_slots_, residual_slots_;  // as in Taps
};

}  // namespace moescope
