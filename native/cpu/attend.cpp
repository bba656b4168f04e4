// x += Wo attention(rope(Wq n + bq), rope(Wk n + bk), Wv n + bv), n = norm(x).
#include <algorithm>
#include <cmath>

#include "cpu/backend.h"

namespace moescope {

namespace {

// Rotary embedding of one head (Su et al. 2021); cos and sin: (head_dim / 2).
void rotate(RopeLayout layout, int head_dim, const float* cos, const float* sin, float* head) {
  const int half = head_dim / 2;
  for (int i = 0; i < half; ++i) {
    float& a = layout == RopeLayout::Half ? head[i] : head[2 * i];
    float& b = layout == RopeLayout::Half ? head[i + half] : head[2 * i + 1];
    const float rotated_a = a * cos[i] - b * sin[i];
    b = b * cos[i] + a * sin[i];
    a = rotated_a;
  }
}

}  // namespace

void CpuBackend::attend(int layer, const Batch& batch, float* x) {
  const LayerWeights& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size());
  const size_t row_count = static_cast<size_t>(rows);
  q_.resize(std::max(q_.size(), row_count * config_.q_size()));
  context_.resize(q_.size());
  k_.resize(std::max(k_.size(), row_count * config_.kv_size()));
  v_.resize(k_.size());

  ProfileSpan span = profile_span(layer);
  span.begin(ProfileOp::AttentionIn, [&] { return work_of(rows, {&weights.q, &weights.k, &weights.v}); });
  const int64_t hidden = config_.hidden_size;
  rows_side_.prepare(matmul_kernels_, forms_of({&weights.q, &weights.k, &weights.v}), normed_.data(), rows, hidden);
  fill(rows_side_, [&](int64_t row) { rms_norm(x + row * hidden, weights.attn_norm, &normed_[row * hidden]); });
  const MatmulInput normed = rows_side_.group(0, rows);
  const auto bias = [](const std::vector<float>& values) { return values.empty() ? nullptr : &values; };
  multiply({{normed, &weights.q, q_.data(), bias(weights.q_bias)},
            {normed, &weights.k, k_.data(), bias(weights.k_bias)},
            {normed, &weights.v, v_.data(), bias(weights.v_bias)}});
  span.begin(ProfileOp::Rope);
  rope_and_cache(layer, batch);
  span.begin(ProfileOp::Attention, [&] { return attention_work(batch); });
  attention(layer, batch);
  span.begin(ProfileOp::AttentionOut, [&] { return work_of(rows, {&weights.o}); });
  rows_side_.prepare(matmul_kernels_, forms_of({&weights.o}), context_.data(), rows, config_.q_size());
  fill(rows_side_, [](int64_t) {});
  multiply({{rows_side_.group(0, rows), &weights.o, block_out_.data(), nullptr, x}});
}

void CpuBackend::rope_and_cache(int layer, const Batch& batch) {
  const int head_dim = config_.head_dim, half = head_dim / 2;
  const float q_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(head_dim)));
  pool_.parallel_for(static_cast<int64_t>(batch.rows.size()), [&](int64_t row, int) {
    const int64_t position = batch.rows[row].where.position;
    std::vector<float> cos(half), sin(half);
    for (int i = 0; i < half; ++i) {
      // The angle is rounded to fp32, as in transformers; its cosine is not.
      const float angle = static_cast<float>(position) * config_.rope_inv_freq[i];
      cos[i] = static_cast<float>(std::cos(static_cast<double>(angle))) * config_.rope_attention_factor;
      sin[i] = static_cast<float>(std::sin(static_cast<double>(angle))) * config_.rope_attention_factor;
    }
    float* q = &q_[row * config_.q_size()];
    for (int head = 0; head < config_.num_attention_heads; ++head) {
      rotate(config_.rope_layout, head_dim, cos.data(), sin.data(), q + head * head_dim);
    }
    for (int i = 0; i < config_.q_size(); ++i) q[i] *= q_scale;

    KvCache& cache = *batch.cache;
    std::byte* page = cache.page(batch.rows[row].sequence, layer, position / kTilePositions);
    const int slot = static_cast<int>(position % kTilePositions);
    for (int head = 0; head < config_.num_key_value_heads; ++head) {
      float* k = &k_[row * config_.kv_size() + head * head_dim];
      const float* v = &v_[row * config_.kv_size() + head * head_dim];
      rotate(config_.rope_layout, head_dim, cos.data(), sin.data(), k);
      write_key(cache.type(), k, head_dim, slot, page + cache.head_offset(head));
      write_value(cache.type(), v, head_dim, slot, page + cache.head_offset(head));
    }
  });
}

}  // namespace moescope
