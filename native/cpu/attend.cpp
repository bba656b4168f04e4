// x += Wo attention(rope(Wq n + bq), rope(Wk n + bk), Wv n + bv), n = norm(x).
#include <algorithm>
#include <cmath>

#include "cpu/backend.h"

namespace moescope {

namespace {

constexpr int kQueryRows = 8;  // rows of a run that meet a tile of keys together

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

namespace {

// Up to kQueryRows rows of one run, with all query heads that share one key/value head.
struct AttentionItem {
  const BatchRun* run;
  int first, count;  // rows within the run
  int kv_head;
};

std::vector<AttentionItem> attention_items(const Batch& batch, int num_key_value_heads) {
  std::vector<AttentionItem> items;
  for (const BatchRun& run : batch.runs) {
    for (int first = 0; first < run.num_rows; first += kQueryRows) {
      for (int kv_head = 0; kv_head < num_key_value_heads; ++kv_head) {
        items.push_back({&run, first, std::min(kQueryRows, run.num_rows - first), kv_head});
      }
    }
  }
  return items;
}

}  // namespace

ProfileWork CpuBackend::attention_work(const Batch& batch) const {
  ProfileWork work;
  for (const BatchRun& run : batch.runs) {
    const int64_t end = run.first_position + run.num_rows;
    const int64_t pairs = run.num_rows * (run.first_position + end + 1) / 2;  // of a query and a key that it sees
    const int64_t head_bytes = static_cast<int64_t>(batch.cache->head_bytes());
    work += {end * config_.num_key_value_heads * head_bytes / kTilePositions, 2 * pairs * config_.q_size()};
  }
  return work;
}

void CpuBackend::attention(int layer, const Batch& batch) {
  const std::vector<AttentionItem> items = attention_items(batch, config_.num_key_value_heads);
  const int head_dim = config_.head_dim;
  const int group = config_.num_attention_heads / config_.num_key_value_heads;
  const int64_t tile_size = static_cast<int64_t>(head_dim) * kTilePositions;

  pool_.parallel_for(static_cast<int64_t>(items.size()), [&](int64_t index, int thread) {
    const AttentionItem& item = items[index];
    const KvCache& cache = *batch.cache;
    const int64_t first_position = item.run->first_position + item.first;
    const int64_t last_tile = (first_position + item.count - 1) / kTilePositions;
    const int num_queries = item.count * group;  // rows outermost
    std::vector<const float*> q(num_queries);
    std::vector<float*> out(num_queries), tile_out(num_queries);
    std::vector<float> max_score(num_queries), sum(num_queries), tile_max(num_queries), tile_sum(num_queries);
    std::vector<int> num_keys(num_queries);
    std::vector<float>& room = scratch_[thread].floats;
    if (room.size() < static_cast<size_t>(2 * tile_size + num_queries * head_dim)) {
      room.resize(2 * tile_size + num_queries * head_dim);
    }
    for (int query = 0; query < num_queries; ++query) {
      const int64_t row = item.run->first_row + item.first + query / group;
      const int64_t head = static_cast<int64_t>(item.kv_head) * group + query % group;
      q[query] = &q_[row * config_.q_size() + head * head_dim];
      out[query] = &context_[row * config_.q_size() + head * head_dim];
      tile_out[query] = room.data() + 2 * tile_size + static_cast<int64_t>(query) * head_dim;
    }

    for (int64_t tile = 0; tile <= last_tile; ++tile) {
      const std::byte* head = cache.page(item.run->sequence, layer, tile) + cache.head_offset(item.kv_head);
      const float* keys = read_keys(cache.type(), head, head_dim, room.data());
      const float* values = read_values(cache.type(), head, head_dim, room.data() + tile_size);
      // Rows before the tile see none of it: the rows that see it are the last ones.
      const int64_t tile_start = tile * kTilePositions;
      const int from = static_cast<int>(std::max<int64_t>(0, tile_start - first_position)) * group;
      for (int query = from; query < num_queries; ++query) {
        const int64_t position = first_position + query / group;
        num_keys[query] = static_cast<int>(std::min<int64_t>(position + 1 - tile_start, kTilePositions));
      }
      const int count = num_queries - from;
      if (tile == 0) {
        kernels_.attend_tile(count, &q[from], keys, values, head_dim, &num_keys[from], &max_score[from], &sum[from],
                             &out[from]);
        continue;
      }
      kernels_.attend_tile(count, &q[from], keys, values, head_dim, &num_keys[from], &tile_max[from], &tile_sum[from],
                           &tile_out[from]);
      for (int query = from; query < num_queries; ++query) {
        kernels_.merge_tile(tile_max[query], tile_sum[query], tile_out[query], head_dim, &max_score[query], &sum[query],
                            out[query]);
      }
    }
    for (int query = 0; query < num_queries; ++query) {
      for (int d = 0; d < head_dim; ++d) out[query][d] /= sum[query];
    }
  });
}

}  // namespace moescope
