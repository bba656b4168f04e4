// The four architectures once more, in double and without batches, caches or tiles: what the session's outputs are compared with.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "test/tiny_model.h"

namespace moescope::check {

class ReferenceDecoder {
 public:
  explicit ReferenceDecoder(const TinyCheckpoint& checkpoint) : checkpoint_(checkpoint), config_(checkpoint.config) {}

  using Row = std::vector<double>;

  struct Result {
    std::vector<Row> logits;                             // (tokens, vocab)
    std::vector<std::vector<Row>> router;                // (MoE layers, tokens, experts)
    std::vector<std::vector<std::vector<int>>> experts;  // (MoE layers, tokens, k)
    std::vector<std::vector<Row>> weights;               // same shape
    std::vector<Row> shared_gate;                        // (MoE layers, tokens)
  };

  Result run(const std::vector<int32_t>& tokens) {
    Result result;
    std::vector<Row> x;
    for (int32_t token : tokens) x.push_back(slice("embed", token, config_.hidden_size));
    for (int layer = 0; layer < config_.num_layers; ++layer) {
      prefix_ = "layers." + std::to_string(layer) + ".";
      attend(x);
      if (config_.is_moe_layer[layer]) start_layer(result);
      for (Row& row : x) {
        const Row h = norm(row, prefix_ + "ffn_norm");
        add(row,
            config_.is_moe_layer[layer] ? mixture(h, result) : feed_forward(h, prefix_, config_.intermediate_size));
      }
    }
    const bool tied = checkpoint_.values.count("head") == 0;
    for (const Row& row : x)
      result.logits.push_back(times(tied ? "embed" : "head", config_.vocab_size, norm(row, "final_norm")));
    return result;
  }

 private:
  static void start_layer(Result& result) {
    result.router.emplace_back();
    result.experts.emplace_back();
    result.weights.emplace_back();
    result.shared_gate.emplace_back();
  }

  Row slice(const std::string& role, int64_t row, int64_t cols) const {
    const std::vector<float>& stored = checkpoint_.values.at(role);
    return Row(stored.begin() + row * cols, stored.begin() + (row + 1) * cols);
  }

  // W x, with a bias where the checkpoint has one.
  Row times(const std::string& role, int64_t rows, const Row& x) const {
    const std::vector<float>& w = checkpoint_.values.at(role);
    const auto bias = checkpoint_.values.find(role + "_bias");
    Row y(rows);
    for (int64_t row = 0; row < rows; ++row) {
      for (size_t i = 0; i < x.size(); ++i) y[row] += w[row * x.size() + i] * x[i];
      if (bias != checkpoint_.values.end()) y[row] += bias->second[row];
    }
    return y;
  }

  static void add(Row& x, const Row& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

  Row norm(const Row& x, const std::string& role) const {
    const std::vector<float>& weight = checkpoint_.values.at(role);
    const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + config_.rms_norm_eps);
    Row y;
    for (size_t i = 0; i < x.size(); ++i) y.push_back(x[i] * scale * weight[i]);
    return y;
  }

  void rotate(Row& heads, int64_t position) const {
    const int head_dim = config_.head_dim, half = head_dim / 2;
    for (size_t start = 0; start < heads.size(); start += head_dim) {
      for (int i = 0; i < half; ++i) {
        const bool interleaved = config_.rope_layout == RopeLayout::Interleaved;
        double& a = heads[start + (interleaved ? 2 * i : i)];
        double& b = heads[start + (interleaved ? 2 * i + 1 : i + half)];
        const double angle = static_cast<float>(position) * config_.rope_inv_freq[i];  // fp32, as the contract says
        const double factor = config_.rope_attention_factor;
        const double c = std::cos(angle) * factor, s = std::sin(angle) * factor;
        const double old_a = a;
        a = old_a * c - b * s;
        b = b * c + old_a * s;
      }
    }
  }

  void attend(std::vector<Row>& x) const {
    const int head_dim = config_.head_dim, group = config_.num_attention_heads / config_.num_key_value_heads;
    std::vector<Row> q, k, v;
    for (size_t position = 0; position < x.size(); ++position) {
      const Row h = norm(x[position], prefix_ + "attn_norm");
      q.push_back(times(prefix_ + "q", config_.q_size(), h));
      k.push_back(times(prefix_ + "k", config_.kv_size(), h));
      v.push_back(times(prefix_ + "v", config_.kv_size(), h));
      rotate(q.back(), position);
      rotate(k.back(), position);
    }
    for (size_t position = 0; position < x.size(); ++position) {
      Row context(config_.q_size());
      for (int head = 0; head < config_.num_attention_heads; ++head) {
        const int from = head / group * head_dim;
        Row scores;
        for (size_t key = 0; key <= position; ++key) {
          double score = 0;
          for (int d = 0; d < head_dim; ++d) score += q[position][head * head_dim + d] * k[key][from + d];
          scores.push_back(score / std::sqrt(head_dim));
        }
        const double largest = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - largest);
        for (size_t key = 0; key <= position; ++key) {
          for (int d = 0; d < head_dim; ++d) context[head * head_dim + d] += scores[key] / sum * v[key][from + d];
        }
      }
      add(x[position], times(prefix_ + "o", config_.hidden_size, context));
    }
  }

  Row feed_forward(const Row& h, const std::string& prefix, int intermediate) const {
    Row inner = times(prefix + "gate", intermediate, h);
    const Row up = times(prefix + "up", intermediate, h);
    for (int i = 0; i < intermediate; ++i) inner[i] = inner[i] / (1 + std::exp(-inner[i])) * up[i];
    return times(prefix + "down", config_.hidden_size, inner);
  }

  Row mixture(const Row& h, Result& result) const {
    const Row z = times(prefix_ + "router", config_.num_experts, h);
    std::vector<int> chosen(z.size());
    std::iota(chosen.begin(), chosen.end(), 0);
    std::stable_sort(chosen.begin(), chosen.end(), [&](int a, int b) { return z[a] > z[b]; });
    chosen.resize(config_.num_experts_per_token);
    double all = 0, selected = 0;
    for (double logit : z) all += std::exp(logit);
    for (int expert : chosen) selected += std::exp(z[expert]);
    Row y(h.size()), gates;
    for (int expert : chosen) {
      gates.push_back(std::exp(z[expert]) / (config_.norm_topk_prob ? selected : all));
      Row out = feed_forward(h, prefix_ + "experts." + std::to_string(expert) + ".", config_.moe_intermediate_size);
      for (double& value : out) value *= gates.back();
      add(y, out);
    }
    double shared_gate = 0;
    if (config_.shared_expert_intermediate_size > 0) {
      shared_gate = 1 / (1 + std::exp(-times(prefix_ + "shared_gate", 1, h)[0]));
      Row out = feed_forward(h, prefix_ + "shared.", config_.shared_expert_intermediate_size);
      for (double& value : out) value *= shared_gate;
      add(y, out);
    }
    result.router.back().push_back(z);
    result.experts.back().push_back(chosen);
    result.weights.back().push_back(gates);
    result.shared_gate.back().push_back(shared_gate);
    return y;
  }

  const TinyCheckpoint& checkpoint_;
  const ModelConfig& config_;
  std::string prefix_;
};

}  // namespace moescope::check
