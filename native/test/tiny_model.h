// Small random checkpoints for tests: a config, every tensor it needs written to a temporary file, and the stored values as fp32 for
// references. Shapes are awkward on purpose.
#pragma once

#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/half.h"
#include "core/session.h"
#include "cpu/backend.h"
#include "test/check.h"
#include "test/random_blocks.h"

namespace moescope::check {

// A file in the temporary folder that goes when the object does.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::vector<std::byte>& bytes) {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/moescope-test-XXXXXX";
    const int descriptor = mkstemp(path_.data());
    if (descriptor < 0) fail(ErrorCode::Internal, "Could not make a temporary file at ", path_, ".");
    close(descriptor);
    std::ofstream(path_, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// `cols` random values with standard deviation about `spread`, as one row of a storage type.
inline std::vector<std::byte> random_row(DType dtype, int64_t cols, double spread, Random& random) {
  const BlockShape block = block_shape(dtype);
  std::vector<std::byte> row(static_cast<size_t>(cols / block.elements * block.bytes));
  for (int64_t i = 0; i < cols / block.elements; ++i) {
    std::byte* target = &row[i * block.bytes];
    const float value = static_cast<float>(spread * random.normal());
    const auto put = [target](int at, uint16_t bits) { std::memcpy(target + at, &bits, 2); };
    if (dtype == DType::F32) {
      std::memcpy(target, &value, 4);
      continue;
    }
    const std::vector<uint8_t> bits = random_blocks(dtype, 1, block.elements, random, 1);
    std::memcpy(target, bits.data(), bits.size());
    if (dtype == DType::BF16) put(0, float_to_bf16(value));
    if (dtype == DType::F16) put(0, float_to_half(value));
    if (dtype == DType::Q8_0) put(0, float_to_half(static_cast<float>(spread / 74)));  // std of a random int8
    if (dtype == DType::Q4_K) {                                                        // mean of n is 7.5
      put(0, float_to_half(static_cast<float>(spread / 270)));
      put(2, float_to_half(static_cast<float>(spread / 36)));
    }
  }
  return row;
}

// How models are loaded where a test does not say; null: precision `ref`.
inline const FastKernels* fast_under_test = nullptr;

// A random checkpoint of a config. Matrices are stored as the first of `dtypes` whose blocks divide their rows.
class TinyCheckpoint {
 public:
  TinyCheckpoint(ModelConfig model_config, std::vector<DType> dtypes, bool tied, uint64_t seed)
      : config(std::move(model_config)), dtypes_(std::move(dtypes)), random_(seed) {
    matrix("embed", config.vocab_size, config.hidden_size, 1);
    for (int layer = 0; layer < config.num_layers; ++layer) add_layer(layer);
    vector("final_norm", config.hidden_size, 1, 0.2);
    if (!tied) matrix("head", config.vocab_size, config.hidden_size, 3 / std::sqrt(config.hidden_size));
    file_ = std::make_unique<TemporaryFile>(bytes_);
  }

  std::shared_ptr<Model> load(int threads = 1, const Kernels& kernels = best_kernels(),
                              const FastKernels* fast = fast_under_test) const {
    auto model = std::make_shared<Model>();
    model->config = config;
    model->weights = std::make_unique<Weights>(model->config, std::vector<std::string>{file_->path()}, tensors);
    model->backend = std::make_unique<CpuBackend>(model->config, *model->weights, threads, kernels, fast);
    return model;
  }

  const std::vector<std::byte>& bytes() const { return bytes_; }

  ModelConfig config;
  std::vector<TensorEntry> tensors;
  std::map<std::string, std::vector<float>> values;  // (rows, cols) by role

 private:
  void add_layer(int layer) {
    const std::string prefix = "layers." + std::to_string(layer) + ".";
    const int hidden = config.hidden_size;
    const double spread = 1 / std::sqrt(hidden);
    vector(prefix + "attn_norm", hidden, 1, 0.2);
    matrix(prefix + "q", config.q_size(), hidden, 2 * spread);
    matrix(prefix + "k", config.kv_size(), hidden, 2 * spread);
    matrix(prefix + "v", config.kv_size(), hidden, spread);
    matrix(prefix + "o", hidden, config.q_size(), 1 / std::sqrt(config.q_size()));
    if (config.architecture == "qwen2" || config.architecture == "qwen2_moe") {
      vector(prefix + "q_bias", config.q_size(), 0, 0.5);
      vector(prefix + "k_bias", config.kv_size(), 0, 0.5);
      vector(prefix + "v_bias", config.kv_size(), 0, 0.5);
    }
    vector(prefix + "ffn_norm", hidden, 1, 0.2);
    if (!config.is_moe_layer[layer]) {
      feed_forward(prefix, config.intermediate_size);
      return;
    }
    matrix(prefix + "router", config.num_experts, hidden, 1.5 * spread);
    for (int expert = 0; expert < config.num_experts; ++expert) {
      feed_forward(prefix + "experts." + std::to_string(expert) + ".", config.moe_intermediate_size);
    }
    if (config.shared_expert_intermediate_size > 0) {
      feed_forward(prefix + "shared.", config.shared_expert_intermediate_size);
      vector(prefix + "shared_gate", hidden, 0, 2 * spread);
    }
  }

  void feed_forward(const std::string& prefix, int intermediate) {
    matrix(prefix + "gate", intermediate, config.hidden_size, 2 / std::sqrt(config.hidden_size));
    matrix(prefix + "up", intermediate, config.hidden_size, 2 / std::sqrt(config.hidden_size));
    matrix(prefix + "down", config.hidden_size, intermediate, 1 / std::sqrt(intermediate));
  }

  void vector(const std::string& role, int64_t cols, double mean, double spread) {
    std::vector<std::byte> row = random_row(DType::F32, cols, spread, random_);
    for (int64_t i = 0; i < cols; ++i) {
      float value;
      std::memcpy(&value, &row[i * 4], 4);
      value += static_cast<float>(mean);
      std::memcpy(&row[i * 4], &value, 4);
    }
    store(role, DType::F32, 1, cols, row);
  }

  void matrix(const std::string& role, int64_t rows, int64_t cols, double spread) {
    size_t choice = 0;
    while (cols % block_shape(dtypes_[choice]).elements != 0) ++choice;
    std::vector<std::byte> all;
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<std::byte> one = random_row(dtypes_[choice], cols, spread, random_);
      all.insert(all.end(), one.begin(), one.end());
    }
    store(role, dtypes_[choice], rows, cols, all);
  }

  // Appended at any offset: files promise no alignment.
  void store(const std::string& role, DType dtype, int64_t rows, int64_t cols, const std::vector<std::byte>& stored) {
    bytes_.resize(bytes_.size() + 1 + random_.below(7));
    tensors.push_back({role, "file." + role, 0, bytes_.size(), dtype, rows, cols});
    bytes_.insert(bytes_.end(), stored.begin(), stored.end());
    std::vector<float>& read = values[role];
    read.resize(static_cast<size_t>(rows * cols));
    dequantize_row(dtype, stored.data(), read.data(), rows * cols);
  }

  std::vector<DType> dtypes_;
  Random random_;
  std::vector<std::byte> bytes_;
  std::unique_ptr<TemporaryFile> file_;
};

inline std::vector<float> rope_frequencies(int head_dim, double theta) {
  std::vector<float> frequencies;
  for (int i = 0; i < head_dim / 2; ++i)
    frequencies.push_back(static_cast<float>(std::pow(theta, -2.0 * i / head_dim)));
  return frequencies;
}

// A dense model with a query group of 7 and rows that fill no vector.
inline TinyCheckpoint tiny_llama() {
  ModelConfig config;
  config.architecture = "llama";
  config.num_layers = 2;
  config.hidden_size = 40;
  config.intermediate_size = 71;
  config.num_attention_heads = 7;
  config.num_key_value_heads = 1;
  config.head_dim = 16;
  config.vocab_size = 83;
  config.max_context = 512;
  config.rms_norm_eps = 0.05f;  // large, so that a wrong one shows
  config.rope_layout = RopeLayout::Interleaved;
  config.rope_inv_freq = rope_frequencies(16, 1e4);
  config.is_moe_layer = {0, 0};
  return TinyCheckpoint(config, {DType::F32}, false, 1);
}

// A dense model with biases, a tied head, a head_dim that fills no vector and YaRN's factor.
inline TinyCheckpoint tiny_qwen2() {
  ModelConfig config;
  config.architecture = "qwen2";
  config.num_layers = 2;
  config.hidden_size = 52;
  config.intermediate_size = 50;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 3;
  config.head_dim = 20;
  config.vocab_size = 97;
  config.max_context = 512;
  config.rms_norm_eps = 1e-3f;
  config.rope_inv_freq = rope_frequencies(20, 1e6);
  config.rope_attention_factor = 1.0693147f;
  config.is_moe_layer = {0, 0};
  return TinyCheckpoint(config, {DType::BF16}, true, 2);
}

// Five experts, three of them chosen, gates renormalised; block formats wherever rows allow.
inline TinyCheckpoint tiny_mixtral() {
  ModelConfig config;
  config.architecture = "mixtral";
  config.num_layers = 2;
  config.hidden_size = 256;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  config.vocab_size = 61;
  config.max_context = 512;
  config.rms_norm_eps = 1e-5f;
  config.rope_layout = RopeLayout::Interleaved;
  config.rope_inv_freq = rope_frequencies(16, 1e6);
  config.is_moe_layer = {1, 1};
  config.num_experts = 5;
  config.num_experts_per_token = 3;
  config.norm_topk_prob = true;
  config.moe_intermediate_size = 96;
  return TinyCheckpoint(config, {DType::Q4_K, DType::Q8_0}, false, 3);
}

// A dense layer between MoE layers, biases, a shared expert, gates not renormalised, odd widths.
inline TinyCheckpoint tiny_qwen2_moe() {
  ModelConfig config;
  config.architecture = "qwen2_moe";
  config.num_layers = 3;
  config.hidden_size = 60;
  config.intermediate_size = 44;
  config.num_attention_heads = 7;
  config.num_key_value_heads = 1;
  config.head_dim = 20;
  config.vocab_size = 89;
  config.max_context = 512;
  config.rms_norm_eps = 1e-6f;
  config.rope_inv_freq = rope_frequencies(20, 1e4);
  config.is_moe_layer = {1, 0, 1};
  config.num_experts = 9;
  config.num_experts_per_token = 4;
  config.moe_intermediate_size = 33;
  config.shared_expert_intermediate_size = 45;
  return TinyCheckpoint(config, {DType::BF16}, false, 4);
}

// One layer of four experts, all matrices of one type.
inline TinyCheckpoint tiny_of(DType dtype) {
  ModelConfig config;
  config.architecture = "qwen2_moe";
  config.num_layers = 1;
  config.hidden_size = 256;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 1;
  config.head_dim = 64;
  config.vocab_size = 50;
  config.max_context = 64;
  config.rms_norm_eps = 1e-6f;
  config.rope_inv_freq = rope_frequencies(64, 1e4);
  config.is_moe_layer = {1};
  config.num_experts = 4;
  config.num_experts_per_token = 2;
  config.moe_intermediate_size = 256;
  config.shared_expert_intermediate_size = 256;
  return TinyCheckpoint(config, {dtype}, false, 5);
}

inline std::vector<int32_t> random_tokens(int count, int vocab_size, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> tokens;
  for (int i = 0; i < count; ++i) tokens.push_back(random.below(vocab_size));
  return tokens;
}

}  // namespace moescope::check
