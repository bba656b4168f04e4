// The weights of a decoder on the card: matrices packed as packed.h says, small vectors in fp32; core/weights.h on the device.
#pragma once

#include <vector>

#include "core/weights.h"
#include "cuda/experts.h"
#include "cuda/pack.h"
#include "cuda/runtime.h"

namespace moescope::cuda {

// Rows as in the file: what embed() looks up.
struct EmbeddingTable {
  DType type = DType::F32;
  Global<const uint8_t> rows = nullptr;  // (vocab, row_bytes)
  int64_t row_bytes = 0;
};

struct DeviceLayer {
  Global<const float> attn_norm = nullptr;  // (hidden)
  PackedMatrix q, k, v, o;                  // rows of q and k in the order of rope's pairs
  Global<const float> q_bias = nullptr, k_bias = nullptr, v_bias = nullptr;  // or null; in the file's order
  Global<const float> ffn_norm = nullptr;                                    // (hidden)
  PackedFeedForward dense;                                                   // dense layers
  Global<const float> router = nullptr;                                      // (experts, hidden)  MoE layers
  bool has_mixed_experts = false;  // gate and up of some expert, or of the shared one, differ in type
  Global<const PackedFeedForward> experts = nullptr;  // (experts), on the device
  PackedFeedForward shared;                           // or no rows
  Global<const float> shared_gate = nullptr;          // (hidden), or null
};

class DeviceWeights {
 public:
  // Packs every matrix on the card. Unsupported for a type that has no packed form, OutOfMemory where there is no room.
  DeviceWeights(const ModelConfig& config, const Weights& weights);

  EmbeddingTable embed;
  std::vector<DeviceLayer> layers;
  Global<const float> final_norm = nullptr;  // (hidden)
  PackedMatrix head;                         // (vocab, hidden)

  // On the card, gaps included.
  size_t bytes() const { return bytes_; }

 private:
  friend class WeightLoader;
  std::vector<DeviceBuffer> buffers_;
  size_t bytes_ = 0;
};

}  // namespace moescope::cuda
