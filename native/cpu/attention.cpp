// softmax(q k) v over the tiles of the key/value cache. A query's tiles are folded in ascending order, wherever each was computed: neither
// the rows that meet a tile together nor the threads that share a long context have a say in the bits.
#include <algorithm>
#include <unordered_map>

#include "cpu/backend.h"

namespace moescope {

namespace {

constexpr int kRunRows = 8;                   // rows of one sequence that meet a tile together
constexpr int kSharingRows = 16;              // rows of several sequences, where their pages are the same
constexpr int kSliceTiles = 8;                // what one thread takes of a long context
constexpr int64_t kMostPartials = 8ll << 20;  // floats
constexpr int kItemsPerThread = 4;            // with fewer, a thread may have to wait long for another

using RowSet = std::vector<int>;  // rows of a batch

// Long runs fill sets of their own. Other sequences are brought together by their first page, which they share if they share any.
std::vector<RowSet> row_sets(const Batch& batch, int layer) {
  std::vector<RowSet> sets;
  std::unordered_map<const std::byte*, size_t> sharing;  // by first page: the set that takes more rows
  for (const BatchRun& run : batch.runs) {
    int done = 0;
    for (; done + kRunRows <= run.num_rows; done += kRunRows) {
      RowSet& set = sets.emplace_back();
      for (int i = 0; i < kRunRows; ++i) set.push_back(run.first_row + done + i);
    }
    const int left = run.num_rows - done;
    if (left == 0) continue;
    const auto [entry, is_new] = sharing.try_emplace(batch.cache->page(run.sequence, layer, 0), sets.size());
    if (!is_new && sets[entry->second].size() + left > kSharingRows) entry->second = sets.size();
    if (entry->second == sets.size()) sets.emplace_back();
    for (; done < run.num_rows; ++done) sets[entry->second].push_back(run.first_row + done);
  }
  return sets;
}

// Rows that walk over tiles together, with the query heads that share one key/value head. Query n is head n % group of row n / group.
struct Walk {
  const RowSet* rows;
  int kv_head;
  int num_queries;
  int64_t num_tiles;  // of the row that sees most
  float* partials =
      nullptr;  // (num_tiles, num_queries, 2 + head_dim): maximum, sum and values of each tile; null: folded as they come
};

// Tiles [first, end) of a walk.
struct Slice {
  const Walk* walk;
  int64_t first, end;
};

}  // namespace

// What all walks of a layer have in common.
struct CpuBackend::AttentionPass {
  const Kernels& kernels;
  const Batch& batch;
  int layer, head_dim, group;
  int64_t q_size;
  const float* q;
  float* out;

  int64_t position(const Walk& walk, int query) const { return batch.rows[(*walk.rows)[query / group]].where.position; }
  int64_t offset(const Walk& walk, int query) const {
    const int head = walk.kv_head * group + query % group;
    return (*walk.rows)[query / group] * q_size + static_cast<int64_t>(head) * head_dim;
  }
  bool sees(const Walk& walk, int query, int64_t tile) const { return position(walk, query) >= tile * kTilePositions; }
  float* partial(const Walk& walk, int64_t tile, int query) const {
    return walk.partials + (tile * walk.num_queries + query) * (2 + head_dim);
  }

  // Room for one tile and the values of all queries.
  int64_t room_floats(const Walk& walk) const {
    return static_cast<int64_t>(head_dim) * (2 * kTilePositions + walk.num_queries);
  }

  // One tile for all queries of a walk that see it, each page read once. `place`: where a query's values go; `done`: takes its maximum
  // and sum.
  template <typename Place, typename Done>
  void meet(const Walk& walk, int64_t tile, float* room, const Place& place, const Done& done) const;
  void walk_slice(const Slice& slice, std::vector<float>& room) const;
  void fold(const Walk& walk, int query) const;
};

template <typename Place, typename Done>
void CpuBackend::AttentionPass::meet(const Walk& walk, int64_t tile, float* room, const Place& place,
                                     const Done& done) const {
  const KvCache& cache = *batch.cache;
  const int64_t tile_size = static_cast<int64_t>(head_dim) * kTilePositions;
  const auto page_of = [&](int query) {
    return cache.page(batch.rows[(*walk.rows)[query / group]].sequence, layer, tile);
  };
  std::vector<int> waiting, queries, others;
  for (int query = 0; query < walk.num_queries; ++query) {
    if (sees(walk, query, tile)) waiting.push_back(query);
  }
  std::vector<const float*> q_of;
  std::vector<float*> out_of;
  std::vector<int> num_keys;
  std::vector<float> max_score, sum;
  while (!waiting.empty()) {
    const std::byte* page = page_of(waiting.front());
    queries.clear();
    others.clear();
    for (int query : waiting) (page_of(query) == page ? queries : others).push_back(query);
    q_of.clear();
    out_of.clear();
    num_keys.clear();
    for (int query : queries) {
      q_of.push_back(q + offset(walk, query));
      out_of.push_back(place(query));
      const int64_t seen = position(walk, query) + 1 - tile * kTilePositions;
      num_keys.push_back(static_cast<int>(std::min<int64_t>(seen, kTilePositions)));
    }
    max_score.resize(queries.size());
    sum.resize(queries.size());
    const std::byte* head = page + cache.head_offset(walk.kv_head);
    const float* keys = kernels.read_keys(cache.type(), head, head_dim, room);
    const float* values = kernels.read_values(cache.type(), head, head_dim, room + tile_size);
    kernels.attend_tile(static_cast<int>(queries.size()), q_of.data(), keys, values, head_dim, num_keys.data(),
                        max_score.data(), sum.data(), out_of.data());
    for (size_t i = 0; i < queries.size(); ++i) done(queries[i], max_score[i], sum[i]);
    waiting.swap(others);
  }
}

void CpuBackend::AttentionPass::walk_slice(const Slice& slice, std::vector<float>& floats) const {
  const Walk& walk = *slice.walk;
  if (floats.size() < static_cast<size_t>(room_floats(walk))) floats.resize(room_floats(walk));
  float* room = floats.data();
  if (walk.partials != nullptr) {
    for (int64_t tile = slice.first; tile < slice.end; ++tile) {
      meet(
          walk, tile, room, [&](int query) { return partial(walk, tile, query) + 2; },
          [&](int query, float max_score, float sum) {
            partial(walk, tile, query)[0] = max_score;
            partial(walk, tile, query)[1] = sum;
          });
    }
    return;
  }
  std::vector<float> maxima(walk.num_queries), sums(walk.num_queries);
  float* tile_values = room + static_cast<int64_t>(2) * head_dim * kTilePositions;
  const auto values_of = [&](int query) { return tile_values + static_cast<int64_t>(query) * head_dim; };
  meet(
      walk, 0, room, [&](int query) { return out + offset(walk, query); },
      [&](int query, float max_score, float sum) {
        maxima[query] = max_score;
        sums[query] = sum;
      });
  for (int64_t tile = 1; tile < walk.num_tiles; ++tile) {
    meet(walk, tile, room, values_of, [&](int query, float max_score, float sum) {
      kernels.merge_tile(max_score, sum, values_of(query), head_dim, &maxima[query], &sums[query],
                         out + offset(walk, query));
    });
  }
  for (int query = 0; query < walk.num_queries; ++query) {
    float* values = out + offset(walk, query);
    for (int d = 0; d < head_dim; ++d) values[d] /= sums[query];
  }
}

// The partial results of a query, in ascending order of their tiles.
void CpuBackend::AttentionPass::fold(const Walk& walk, int query) const {
  const float* first = partial(walk, 0, query);
  float max_score = first[0], sum = first[1];
  float* values = out + offset(walk, query);
  std::copy(first + 2, first + 2 + head_dim, values);
  for (int64_t tile = 1; tile < walk.num_tiles && sees(walk, query, tile); ++tile) {
    const float* next = partial(walk, tile, query);
    kernels.merge_tile(next[0], next[1], next + 2, head_dim, &max_score, &sum, values);
  }
  for (int d = 0; d < head_dim; ++d) values[d] /= sum;
}

void CpuBackend::attention(int layer, const Batch& batch) {
  const int group = config_.num_attention_heads / config_.num_key_value_heads;
  const AttentionPass pass = {kernels_,         batch,     layer,          config_.head_dim, group,
                              config_.q_size(), q_.data(), context_.data()};
  const std::vector<RowSet> sets = row_sets(batch, layer);
  std::vector<Walk> walks;
  for (const RowSet& rows : sets) {
    int64_t last = 0;
    for (int row : rows) last = std::max(last, batch.rows[row].where.position);
    for (int kv_head = 0; kv_head < config_.num_key_value_heads; ++kv_head) {
      walks.push_back({&rows, kv_head, static_cast<int>(rows.size()) * group, last / kTilePositions + 1});
    }
  }

  // Few walks over many tiles are divided among the threads, where there is room for the results of all tiles.
  int64_t needed = 0;
  const auto is_long = [](const Walk& walk) { return walk.num_tiles > kSliceTiles; };
  for (const Walk& walk : walks) {
    if (is_long(walk)) needed += walk.num_tiles * walk.num_queries * (2 + config_.head_dim);
  }
  const bool is_divided = pool_.num_threads() > 1 && needed > 0 && needed <= kMostPartials &&
                          static_cast<int>(walks.size()) < kItemsPerThread * pool_.num_threads();
  if (is_divided && partials_.size() < static_cast<size_t>(needed)) partials_.resize(needed);

  std::vector<Slice> slices;
  std::vector<std::pair<const Walk*, int>> folds;  // walk and query
  float* next_partials = partials_.data();
  for (Walk& walk : walks) {
    if (!is_divided || !is_long(walk)) {
      slices.push_back({&walk, 0, walk.num_tiles});
      continue;
    }
    walk.partials = next_partials;
    next_partials += walk.num_tiles * walk.num_queries * (2 + config_.head_dim);
    for (int64_t tile = 0; tile < walk.num_tiles; tile += kSliceTiles) {
      slices.push_back({&walk, tile, std::min(walk.num_tiles, tile + kSliceTiles)});
    }
    for (int query = 0; query < walk.num_queries; ++query) folds.emplace_back(&walk, query);
  }
  pool_.parallel_for(static_cast<int64_t>(slices.size()),
                     [&](int64_t slice, int thread) { pass.walk_slice(slices[slice], scratch_[thread].floats); });
  if (folds.empty()) return;
  pool_.parallel_for(static_cast<int64_t>(folds.size()),
                     [&](int64_t index, int) { pass.fold(*folds[index].first, folds[index].second); });
}

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

}  // namespace moescope
