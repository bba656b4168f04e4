// Keys and values of all sequences, in pages of 64 positions of one layer. Pages are shared between sequences with a common prefix
// and copied when one of them writes; a page is freed when the last sequence lets go of it.
// They are cut at absolute positions: the tile that a key falls into depends on its position alone. A page holds the heads one after the
// other, each as cache_page.h says.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/cache_page.h"
#include "core/config.h"
#include "core/page_memory.h"

namespace moescope {

class KvCache {
 public:
  // `memory`: where the pages live.
  KvCache(const ModelConfig& config, CacheType type, std::shared_ptr<PageMemory> memory = host_page_memory());

  // Sequences are small integers; a released one is reused.
  int create();
  // Shares the first `length` positions of `source` in every layer.
  int fork(int source, int64_t length);
  void truncate(int sequence, int64_t length);
  void release(int sequence);
  // The layers below `layer` of `sequence` become those of `base`, a sequence at least as long: positions up to its length need not be
  // written there again.
  void share_lower_layers(int sequence, int base, int layer);
  // Every layer is as long as the sequence again.
  void end_sharing(int sequence);

  int64_t length(int sequence) const;
  // Makes positions [length, length + count) writable in every layer: allocates pages, copies shared ones. OutOfMemory leaves the
  // sequence as it was.
  void extend(int sequence, int64_t count);
  // Declares that the positions made writable by extend() hold keys and values now.
  void commit(int sequence, int64_t count);

  std::byte* page(int sequence, int layer, int64_t tile) { return sequences_[sequence].pages[layer][tile]->bytes; }
  const std::byte* page(int sequence, int layer, int64_t tile) const {
    return sequences_[sequence].pages[layer][tile]->bytes;
  }

  CacheType type() const { return type_; }
  // Bytes from the start of a page to the keys and values of one key/value head.
  size_t head_offset(int kv_head) const { return kv_head * head_bytes_; }
  // Keys and values of one head of one page.
  size_t head_bytes() const { return head_bytes_; }
  size_t bytes() const { return store_->num_pages * store_->page_bytes; }

 private:
  // What all pages have in common; it goes with the last of them.
  struct PageStore {
    std::shared_ptr<PageMemory> memory;
    size_t page_bytes = 0;
    size_t num_pages = 0;
  };
  struct Page {
    explicit Page(std::shared_ptr<PageStore> home);  // std::bad_alloc
    ~Page();
    Page(const Page&) = delete;
    Page& operator=(const Page&) = delete;
    std::shared_ptr<PageStore> store;
    std::byte* bytes;
  };
  struct Sequence {
    bool live = false;
    int64_t length = 0;
    int shared_layers = 0;                                  // layers below it hold positions [0, shared_length) already
    int64_t shared_length = 0;                              // 0: none do
    std::vector<std::vector<std::shared_ptr<Page>>> pages;  // (num_layers, tiles)

    // Positions that a layer holds.
    int64_t held(int layer) const { return layer < shared_layers ? std::max(length, shared_length) : length; }
  };

  Sequence& at(int sequence);
  const Sequence& at(int sequence) const;

  int num_layers_;
  size_t head_bytes_;
  CacheType type_;
  std::shared_ptr<PageStore> store_;
  std::vector<Sequence> sequences_;
};

}  // namespace moescope
