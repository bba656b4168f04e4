// The weights of a decoder on one screen. Matrices stay in the mapped file as stored; small vectors (norms, biases, routers) are
// copied to fp32. A matrix is (rows, cols) = (out, in), rows contiguous; quantised rows are whole blocks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/blocks.h"
#include "core/config.h"
#include "core/mapped_file.h"

namespace moescope {

// One matrix in a file, as the loader's plan names it. Roles: see PlanTensor in src/native/binding.ts.
struct TensorEntry {
  std::string role;
  std::string name;  // in the file, for messages
  int file = 0;
  uint64_t offset = 0;  // bytes
  DType dtype = DType::F32;
  int64_t rows = 0;
  int64_t cols = 0;
};

struct Matrix {
  DType dtype = DType::F32;
  const std::byte* data = nullptr;  // no alignment is promised
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_bytes = 0;

  bool empty() const { return data == nullptr; }
  const std::byte* row(int64_t index) const { return data + index * row_bytes; }
};

// y = down( silu(gate x) * (up x) )
struct FeedForward {
  Matrix gate;  // (intermediate, hidden)
  Matrix up;    // (intermediate, hidden)
  Matrix down;  // (hidden, intermediate)
};

struct LayerWeights {
  std::vector<float> attn_norm;  // (hidden)
  Matrix q;                      // (heads * head_dim, hidden)
  Matrix k;                      // (kv_heads * head_dim, hidden)
  Matrix v;                      // (kv_heads * head_dim, hidden)
  Matrix o;                      // (hidden, heads * head_dim)
  std::vector<float> q_bias;     // (q.rows) or empty
  std::vector<float> k_bias;     // (k.rows) or empty
  std::vector<float> v_bias;     // (v.rows) or empty
  std::vector<float> ffn_norm;   // (hidden)

  FeedForward dense;                 // dense layers
  std::vector<float> router;         // (experts, hidden)       MoE layers
  std::vector<FeedForward> experts;  // (experts)
  FeedForward shared;                // shared expert, or empty
  std::vector<float> shared_gate;    // (hidden), or empty
};

class Weights {
 public:
  // Maps the files and binds every tensor; a missing, surplus, misshapen or overlong tensor is an Error that names it.
  Weights(const ModelConfig& config, const std::vector<std::string>& files, const std::vector<TensorEntry>& tensors);

  Matrix embed;  // (vocab, hidden)
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;  // (hidden)
  Matrix head;                    // (vocab, hidden); the embedding where tied

  size_t mapped_bytes() const { return mapped_bytes_; }
  size_t copied_bytes() const { return copied_bytes_; }

 private:
  friend class Binder;
  std::vector<std::unique_ptr<MappedFile>> files_;
  size_t mapped_bytes_ = 0;
  size_t copied_bytes_ = 0;
};

}  // namespace moescope
