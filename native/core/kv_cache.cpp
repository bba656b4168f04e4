#include "core/kv_cache.h"

#include <new>

#include "core/error.h"

namespace moescope {

namespace {

size_t num_tiles(int64_t positions) { return static_cast<size_t>((positions + kTilePositions - 1) / kTilePositions); }

}  // namespace

KvCache::Page::Page(std::shared_ptr<PageStore> home)
    : store(std::move(home)), bytes(store->memory->allocate(store->page_bytes)) {
  if (bytes == nullptr) throw std::bad_alloc();
  ++store->num_pages;
}

KvCache::Page::~Page() {
  store->memory->release(bytes, store->page_bytes);
  --store->num_pages;
}

KvCache::KvCache(const ModelConfig& config, CacheType type, std::shared_ptr<PageMemory> memory)
    : num_layers_(config.num_layers), type_(type), store_(std::make_shared<PageStore>()) {
  head_bytes_ = cache_head_bytes(type, config.head_dim);
  store_->memory = std::move(memory);
  store_->page_bytes = head_bytes_ * config.num_key_value_heads;
}

KvCache::Sequence& KvCache::at(int sequence) {
  if (sequence < 0 || static_cast<size_t>(sequence) >= sequences_.size() || !sequences_[sequence].live) {
    fail(ErrorCode::InvalidArgument, "Expected a live sequence, got ", sequence, ".");
  }
  return sequences_[sequence];
}

const KvCache::Sequence& KvCache::at(int sequence) const { return const_cast<KvCache*>(this)->at(sequence); }

int KvCache::create() {
  size_t free_slot = 0;
  while (free_slot < sequences_.size() && sequences_[free_slot].live) ++free_slot;
  if (free_slot == sequences_.size()) sequences_.emplace_back();
  sequences_[free_slot] = Sequence{};
  sequences_[free_slot].live = true;
  sequences_[free_slot].pages.resize(num_layers_);
  return static_cast<int>(free_slot);
}

int KvCache::fork(int source, int64_t length) {
  const int64_t available = at(source).length;
  if (length < 0 || length > available) {
    fail(ErrorCode::InvalidArgument, "Expected a prefix of 0 to ", available, " positions, got ", length, ".");
  }
  const int forked = create();
  Sequence& to = sequences_[forked];
  to = sequences_[source];
  truncate(forked, length);
  return forked;
}

void KvCache::share_lower_layers(int sequence, int base, int layer) {
  const Sequence& from = at(base);
  Sequence& to = at(sequence);
  if (to.length > from.length) {
    fail(ErrorCode::InvalidArgument, "Expected a base of at least ", to.length, " positions, got ", from.length, ".");
  }
  for (int lower = 0; lower < layer; ++lower) {
    to.pages[lower] = from.pages[lower];
    to.pages[lower].resize(num_tiles(from.length));
  }
  // Layers that an earlier base held and this one does not are as long as the sequence again.
  for (int upper = layer; upper < to.shared_layers; ++upper) to.pages[upper].resize(num_tiles(to.length));
  to.shared_layers = layer;
  to.shared_length = from.length;
}

void KvCache::end_sharing(int sequence) {
  Sequence& own = at(sequence);
  own.shared_length = 0;
  truncate(sequence, own.length);
}

void KvCache::truncate(int sequence, int64_t length) {
  Sequence& cut = at(sequence);
  if (length < 0 || length > cut.length) {
    fail(ErrorCode::InvalidArgument, "Expected a length of 0 to ", cut.length, " to truncate to, got ", length, ".");
  }
  cut.length = length;
  for (int layer = 0; layer < num_layers_; ++layer) {
    const size_t tiles = num_tiles(cut.held(layer));
    if (cut.pages[layer].size() > tiles) cut.pages[layer].resize(tiles);
  }
}

void KvCache::release(int sequence) { at(sequence) = Sequence{}; }

int64_t KvCache::length(int sequence) const { return at(sequence).length; }

void KvCache::extend(int sequence, int64_t count) {
  Sequence& grown = at(sequence);
  const size_t tiles = num_tiles(grown.length + count);
  try {
    for (int number = 0; number < num_layers_; ++number) {
      auto& layer = grown.pages[number];
      if (grown.held(number) >= grown.length + count) continue;  // nothing is written there
      const size_t first = static_cast<size_t>(grown.held(number) / kTilePositions);
      layer.reserve(tiles);
      if (first < layer.size() && layer[first].use_count() > 1) {
        auto copy = std::make_shared<Page>(store_);
        store_->memory->copy(copy->bytes, layer[first]->bytes, store_->page_bytes);
        layer[first] = std::move(copy);
      }
      while (layer.size() < tiles) layer.push_back(std::make_shared<Page>(store_));
    }
  } catch (const std::bad_alloc&) {
    truncate(sequence, grown.length);
    fail(ErrorCode::OutOfMemory, "The key/value cache could not grow to ", grown.length + count, " positions (",
         bytes() / (1 << 20), " MiB in use).");
  }
}

void KvCache::commit(int sequence, int64_t count) { at(sequence).length += count; }

}  // namespace moescope
