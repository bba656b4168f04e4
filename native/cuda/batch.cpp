#include "cuda/batch.h"

#include <algorithm>

namespace moescope::cuda {

namespace {

bool has_rules(const RoutePlan* plan) {
  return plan != nullptr && std::any_of(plan->layers.begin(), plan->layers.end(),
                                        [](const std::vector<RouteRule>& rules) { return !rules.empty(); });
}

// Index of `value`, added at the end where it is new.
template <typename T>
int32_t index_in(std::vector<T>& values, T value) {
  const auto found = std::find(values.begin(), values.end(), value);
  if (found == values.end()) values.push_back(value);
  return static_cast<int32_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

}  // namespace

void DeviceBatch::prepare(Stream& stream, const ModelConfig& config, const Batch& batch) {
  place_rows(config, batch);
  list_pages(config, batch);
  plans_.clear();
  if (!host_plans_.empty()) plans_.emplace_back(stream, config, host_plans_);
  upload(stream, host_tokens_, tokens_);
  upload(stream, host_places_, places_);
  upload(stream, host_route_rows_, route_rows_);
  upload(stream, host_pages_, pages_);
  counts_.reserve(host_counts_.size() * sizeof(uint32_t));
  if (!host_counts_.empty()) fill_bytes(stream, counts_.data(), 0, host_counts_.size() * sizeof(uint32_t));
}

void DeviceBatch::place_rows(const ModelConfig& config, const Batch& batch) {
  rows_ = static_cast<int>(batch.rows.size());
  route_width_ = config.num_experts_per_token;
  host_tokens_.clear(), host_places_.clear(), host_route_rows_.clear(), host_plans_.clear(), count_slots_.clear();
  for (size_t sequence = 0; sequence < batch.runs.size(); ++sequence) {
    const BatchRun& run = batch.runs[sequence];
    for (int index = run.first_row; index < run.first_row + run.num_rows; ++index) {
      const BatchRow& row = batch.rows[index];
      if (row.plan != nullptr) route_width_ = std::max(route_width_, row.plan->max_top_k);
      host_tokens_.push_back(row.token);
      host_places_.push_back({static_cast<int32_t>(sequence), static_cast<int32_t>(row.where.position)});
      host_route_rows_.push_back({.position = row.where.position,
                                  .origin = row.where.origin,
                                  .segment = row.where.segment,
                                  .plan = has_rules(row.plan) ? index_in(host_plans_, row.plan) : -1,
                                  .trace_row = row.trace_row < 0 ? -1 : index,
                                  .count_slot = index_in(count_slots_, row.counts)});
    }
  }
  slot_size_ = static_cast<size_t>(config.num_moe_layers()) * config.num_experts;
  host_counts_.assign(count_slots_.size() * slot_size_, 0);
}

void DeviceBatch::list_pages(const ModelConfig& config, const Batch& batch) {
  sequences_ = static_cast<int>(batch.runs.size());
  int64_t longest = 1;
  for (const BatchRun& run : batch.runs) longest = std::max(longest, run.first_position + run.num_rows);
  max_tiles_ = static_cast<int>((longest + kTilePositions - 1) / kTilePositions);
  max_spans_ = (max_tiles_ + kSpanTiles - 1) / kSpanTiles;
  host_pages_.clear();
  for (int layer = 0; layer < config.num_layers; ++layer) {
    for (const BatchRun& run : batch.runs) {
      const int64_t tiles = (run.first_position + run.num_rows + kTilePositions - 1) / kTilePositions;
      for (int64_t tile = 0; tile < max_tiles_; ++tile) {
        std::byte* page = tile < tiles ? batch.cache->page(run.sequence, layer, tile) : nullptr;
        host_pages_.push_back(page == nullptr ? Global<uint8_t>(nullptr)
                                              : Global<uint8_t>(reinterpret_cast<uint8_t*>(page)));
      }
    }
  }
  cache_.type = batch.cache->type();
  cache_.head_dim = config.head_dim;
  cache_.kv_heads = config.num_key_value_heads;
  cache_.head_bytes = static_cast<int64_t>(batch.cache->head_bytes());
  cache_.max_tiles = max_tiles_;
}

CacheView DeviceBatch::cache(int layer) const {
  CacheView view = cache_;
  view.pages = pages_.as<const Global<uint8_t>>() + static_cast<int64_t>(layer) * sequences_ * max_tiles_;
  return view;
}

void DeviceBatch::read_counts(Stream& stream) {
  if (host_counts_.empty()) return;
  copy_to_host(stream, host_counts_.data(), counts_.data(), host_counts_.size() * sizeof(uint32_t));
}

void DeviceBatch::add_counts() const {
  for (size_t slot = 0; slot < count_slots_.size(); ++slot) {
    for (size_t index = 0; index < slot_size_; ++index) {
      count_slots_[slot][index] += host_counts_[slot * slot_size_ + index];
    }
  }
}

}  // namespace moescope::cuda
