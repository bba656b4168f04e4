// Hyper-parameters of a decoder, as the forward pass needs them. Names as in Hugging Face configs; checked in TypeScript and again
// in Weights::bind against the shapes of the tensors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moescope {

enum class RopeLayout : uint8_t {
  Half,         // pairs (i, i + head_dim/2): Hugging Face, GGUF qwen2 and qwen2moe
  Interleaved,  // pairs (2i, 2i + 1): GGUF files of architecture `llama`, whose q and k rows are permuted
};

struct ModelConfig {
  std::string architecture;  // for messages only
  int num_layers = 0;
  int hidden_size = 0;
  int intermediate_size = 0;  // dense layers; 0: none
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  int vocab_size = 0;
  int max_context = 0;  // tokens
  float rms_norm_eps = 0;
  RopeLayout rope_layout = RopeLayout::Half;
  std::vector<float> rope_inv_freq;   // (head_dim / 2), radians per position, after YaRN
  float rope_attention_factor = 1;    // on cos and sin
  std::vector<uint8_t> is_moe_layer;  // (num_layers)
  int num_experts = 0;                // routed; 0: dense model
  int num_experts_per_token = 0;
  bool norm_topk_prob = false;
  int moe_intermediate_size = 0;
  int shared_expert_intermediate_size = 0;  // 0: no shared expert

  int q_size() const { return num_attention_heads * head_dim; }
  int kv_size() const { return num_key_value_heads * head_dim; }
  int num_moe_layers() const {
    int count = 0;
    for (uint8_t moe : is_moe_layer) count += moe;
    return count;
  }
};

// Throws BadFile where a field contradicts another; the forward pass relies on what this accepts.
void validate(const ModelConfig& config);

}  // namespace moescope
