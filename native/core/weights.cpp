#include "core/weights.h"

#include <unordered_map>

#include "core/error.h"

namespace moescope {

// Looks roles up in the plan, once each, and checks shape and extent of what it finds.
class Binder {
 public:
  Binder(Weights& weights, const std::vector<TensorEntry>& tensors) : weights_(weights) {
    for (const TensorEntry& entry : tensors) {
      if (!entries_.emplace(entry.role, &entry).second) {
        fail(ErrorCode::BadFile, "Expected one tensor for ", entry.role, ", got a second one: ", entry.name, ".");
      }
    }
  }

  bool has(const std::string& role) const { return entries_.count(role) != 0; }

  Matrix matrix(const std::string& role, int64_t rows, int64_t cols) {
    const TensorEntry& entry = take(role, rows, cols);
    Matrix bound = view(entry);
    weights_.mapped_bytes_ += static_cast<size_t>(bound.rows * bound.row_bytes);
    return bound;
  }

  std::vector<float> floats(const std::string& role, int64_t rows, int64_t cols) {
    const Matrix stored = view(take(role, rows, cols));
    std::vector<float> values(static_cast<size_t>(rows * cols));
    for (int64_t row = 0; row < rows; ++row) dequantize_row(stored.dtype, stored.row(row), &values[row * cols], cols);
    weights_.copied_bytes_ += values.size() * sizeof(float);
    return values;
  }

  std::vector<float> optional_floats(const std::string& role, int64_t cols) {
    return has(role) ? floats(role, 1, cols) : std::vector<float>();
  }

  void refuse_the_rest() const {
    if (entries_.empty()) return;
    fail(ErrorCode::BadFile, "The model has no place for tensor ", entries_.begin()->second->name, " (",
         entries_.begin()->first, ").");
  }

 private:
  const TensorEntry& take(const std::string& role, int64_t rows, int64_t cols) {
    const auto found = entries_.find(role);
    if (found == entries_.end()) fail(ErrorCode::BadFile, "Expected a tensor for ", role, ", the checkpoint has none.");
    const TensorEntry& entry = *found->second;
    entries_.erase(found);
    if (entry.rows != rows || entry.cols != cols) {
      fail(ErrorCode::BadFile, "Expected shape [", rows, ", ", cols, "] for ", entry.name, ", got [", entry.rows, ", ",
           entry.cols, "].");
    }
    return entry;
  }

  Matrix view(const TensorEntry& entry) const {
    const BlockShape block = block_shape(entry.dtype);
    if (entry.cols % block.elements != 0) {
      fail(ErrorCode::BadFile, "Rows of ", entry.name, " have ", entry.cols, " elements, not a multiple of ",
           block.elements, " as ", dtype_name(entry.dtype), " needs.");
    }
    if (entry.file < 0 || static_cast<size_t>(entry.file) >= weights_.files_.size()) {
      fail(ErrorCode::Internal, "Tensor ", entry.name, " names file ", entry.file, " of ", weights_.files_.size(), ".");
    }
    const MappedFile& file = *weights_.files_[entry.file];
    const int64_t row_bytes = entry.cols / block.elements * block.bytes;
    const unsigned __int128 end = static_cast<unsigned __int128>(entry.rows) * row_bytes + entry.offset;
    if (end > file.size()) {
      fail(ErrorCode::BadFile, "Tensor ", entry.name, " ends past the end of ", file.path(), " (", file.size(),
           " bytes): the file is incomplete.");
    }
    return Matrix{entry.dtype, file.data() + entry.offset, entry.rows, entry.cols, row_bytes};
  }

  Weights& weights_;
  std::unordered_map<std::string, const TensorEntry*> entries_;
};

namespace {

FeedForward bind_feed_forward(Binder& binder, const std::string& prefix, int64_t hidden, int64_t intermediate) {
  return FeedForward{binder.matrix(prefix + "gate", intermediate, hidden),
                     binder.matrix(prefix + "up", intermediate, hidden),
                     binder.matrix(prefix + "down", hidden, intermediate)};
}

LayerWeights bind_layer(Binder& binder, const ModelConfig& config, int layer) {
  const std::string prefix = "layers." + std::to_string(layer) + ".";
  const int64_t hidden = config.hidden_size;
  LayerWeights bound;
  bound.attn_norm = binder.floats(prefix + "attn_norm", 1, hidden);
  bound.q = binder.matrix(prefix + "q", config.q_size(), hidden);
  bound.k = binder.matrix(prefix + "k", config.kv_size(), hidden);
  bound.v = binder.matrix(prefix + "v", config.kv_size(), hidden);
  bound.o = binder.matrix(prefix + "o", hidden, config.q_size());
  bound.q_bias = binder.optional_floats(prefix + "q_bias", config.q_size());
  bound.k_bias = binder.optional_floats(prefix + "k_bias", config.kv_size());
  bound.v_bias = binder.optional_floats(prefix + "v_bias", config.kv_size());
  bound.ffn_norm = binder.floats(prefix + "ffn_norm", 1, hidden);
  if (!config.is_moe_layer[layer]) {
    bound.dense = bind_feed_forward(binder, prefix, hidden, config.intermediate_size);
    return bound;
  }
  bound.router = binder.floats(prefix + "router", config.num_experts, hidden);
  for (int expert = 0; expert < config.num_experts; ++expert) {
    const std::string expert_prefix = prefix + "experts." + std::to_string(expert) + ".";
    bound.experts.push_back(bind_feed_forward(binder, expert_prefix, hidden, config.moe_intermediate_size));
  }
  if (config.shared_expert_intermediate_size > 0) {
    bound.shared = bind_feed_forward(binder, prefix + "shared.", hidden, config.shared_expert_intermediate_size);
    bound.shared_gate = binder.floats(prefix + "shared_gate", 1, hidden);
  }
  return bound;
}

}  // namespace

Weights::Weights(const ModelConfig& config, const std::vector<std::string>& files,
                 const std::vector<TensorEntry>& tensors) {
  validate(config);
  for (const std::string& path : files) files_.push_back(std::make_unique<MappedFile>(path));
  Binder binder(*this, tensors);
  embed = binder.matrix("embed", config.vocab_size, config.hidden_size);
  for (int layer = 0; layer < config.num_layers; ++layer) layers.push_back(bind_layer(binder, config, layer));
  final_norm = binder.floats("final_norm", 1, config.hidden_size);
  head = binder.has("head") ? binder.matrix("head", config.vocab_size, config.hidden_size) : embed;
  binder.refuse_the_rest();
}

}  // namespace moescope
