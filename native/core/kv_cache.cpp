#include "core/kv_cache.h"

#include <cstring>
#include <new>

#include "core/error.h"

namespace moescope {

KvCache::Page::Page(size_t size, std::shared_ptr<size_t> counter)
    : bytes(std::make_unique<std::byte[]>(size)), live_pages(std::move(counter)) {
  ++*live_pages;
}

KvCache::Page::~Page() { --*live_pages; }

KvCache::KvCache(const ModelConfig& config, CacheType type)
    : num_layers_(config.num_layers), type_(type), num_pages_(std::make_shared<size_t>(0)) {
  head_bytes_ = size_t{2} * config.head_dim * kTilePositions * element_bytes();
  page_bytes_ = head_bytes_ * config.num_key_value_heads;
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
  sequences_[free_slot] = Sequence{true, 0, std::vector<std::vector<std::shared_ptr<Page>>>(num_layers_)};
  return static_cast<int>(free_slot);
}

int KvCache::fork(int source, int64_t length) {
  const int64_t available = at(source).length;
  if (length < 0 || length > available) {
    fail(ErrorCode::InvalidArgument, "Expected a prefix of 0 to ", available, " positions, got ", length, ".");
  }
  const int forked = create();
  Sequence& to = sequences_[forked];
  to.pages = sequences_[source].pages;
  to.length = available;
  truncate(forked, length);
  return forked;
}

void KvCache::truncate(int sequence, int64_t length) {
  Sequence& cut = at(sequence);
  if (length < 0 || length > cut.length) {
    fail(ErrorCode::InvalidArgument, "Expected a length of 0 to ", cut.length, " to truncate to, got ", length, ".");
  }
  const size_t tiles = static_cast<size_t>((length + kTilePositions - 1) / kTilePositions);
  for (auto& layer : cut.pages) {
    if (layer.size() > tiles) layer.resize(tiles);
  }
  cut.length = length;
}

void KvCache::release(int sequence) { at(sequence) = Sequence{}; }

int64_t KvCache::length(int sequence) const { return at(sequence).length; }

void KvCache::extend(int sequence, int64_t count) {
  Sequence& grown = at(sequence);
  const size_t tiles = static_cast<size_t>((grown.length + count + kTilePositions - 1) / kTilePositions);
  const size_t first = static_cast<size_t>(grown.length / kTilePositions);
  try {
    for (auto& layer : grown.pages) {
      layer.reserve(tiles);
      if (first < layer.size() && layer[first].use_count() > 1) {
        auto copy = std::make_shared<Page>(page_bytes_, num_pages_);
        std::memcpy(copy->bytes.get(), layer[first]->bytes.get(), page_bytes_);
        layer[first] = std::move(copy);
      }
      while (layer.size() < tiles) layer.push_back(std::make_shared<Page>(page_bytes_, num_pages_));
    }
  } catch (const std::bad_alloc&) {
    truncate(sequence, grown.length);
    fail(ErrorCode::OutOfMemory, "The key/value cache could not grow to ", grown.length + count, " positions (",
         bytes() / (1 << 20), " MiB in use).");
  }
}

void KvCache::commit(int sequence, int64_t count) { at(sequence).length += count; }

}  // namespace moescope
