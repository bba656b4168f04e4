// Pages of the key/value cache against a model of it that copies everything: random forks, truncations, appends and releases.
#include "core/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "test/check.h"

using namespace moescope;

namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.num_layers = 3;
  config.num_key_value_heads = 2;
  config.head_dim = 6;
  return config;
}

constexpr int kLayers = 3, kHeads = 2, kHeadDim = 6;

size_t element_bytes(CacheType type) { return type == CacheType::F32 ? 4 : 2; }

// Where element `d` of a key or value lies in the bytes of its page, by the layout in cache_page.h.
size_t place(const KvCache& cache, bool is_key, int head, int64_t slot, int d) {
  const int64_t element = is_key ? d * kTilePositions + slot : kHeadDim * kTilePositions + slot * kHeadDim + d;
  return cache.head_offset(head) + static_cast<size_t>(element) * element_bytes(cache.type());
}

// Every element of one position in all layers, as the 16-bit number that the test writes there.
void write(KvCache& cache, int sequence, int64_t position, uint16_t number) {
  for (int layer = 0; layer < kLayers; ++layer) {
    std::byte* page = cache.page(sequence, layer, position / kTilePositions);
    for (int head = 0; head < kHeads; ++head) {
      for (int d = 0; d < kHeadDim; ++d) {
        const uint16_t key = static_cast<uint16_t>(number + 7 * layer + 3 * head + d),
                       value = static_cast<uint16_t>(~key);
        std::memcpy(page + place(cache, true, head, position % kTilePositions, d), &key, 2);
        std::memcpy(page + place(cache, false, head, position % kTilePositions, d), &value, 2);
      }
    }
  }
}

bool holds(const KvCache& cache, int sequence, int64_t position, uint16_t number) {
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::byte* page = cache.page(sequence, layer, position / kTilePositions);
    for (int head = 0; head < kHeads; ++head) {
      for (int d = 0; d < kHeadDim; ++d) {
        uint16_t key, value;
        std::memcpy(&key, page + place(cache, true, head, position % kTilePositions, d), 2);
        std::memcpy(&value, page + place(cache, false, head, position % kTilePositions, d), 2);
        if (key != static_cast<uint16_t>(number + 7 * layer + 3 * head + d) || value != static_cast<uint16_t>(~key)) {
          return false;
        }
      }
    }
  }
  return true;
}

void append(KvCache& cache, int sequence, const std::vector<uint16_t>& numbers) {
  const int64_t first = cache.length(sequence), count = static_cast<int64_t>(numbers.size());
  cache.extend(sequence, count);
  for (int64_t i = 0; i < count; ++i) write(cache, sequence, first + i, numbers[i]);
  cache.commit(sequence, count);
}

std::vector<uint16_t> random_numbers(check::Random& random, int count) {
  std::vector<uint16_t> numbers;
  for (int i = 0; i < count; ++i) numbers.push_back(static_cast<uint16_t>(random.bits()));
  return numbers;
}

size_t page_bytes(CacheType type) { return size_t{2} * kHeads * kHeadDim * kTilePositions * element_bytes(type); }

}  // namespace

CASE("keys and values of all heads have places of their own within the page") {
  for (CacheType type : {CacheType::F32, CacheType::BF16}) {
    KvCache cache(small_config(), type);
    std::set<size_t> places;
    for (int head = 0; head < kHeads; ++head) {
      for (int64_t slot = 0; slot < kTilePositions; ++slot) {
        for (int d = 0; d < kHeadDim; ++d) {
          places.insert(place(cache, true, head, slot, d));
          places.insert(place(cache, false, head, slot, d));
        }
      }
    }
    CHECK_EQ(places.size(), page_bytes(type) / element_bytes(type));
    CHECK_EQ(*places.rbegin() + element_bytes(type), page_bytes(type));
  }
}

CASE("a sequence takes a page per layer and 64 positions, and gives it back") {
  for (CacheType type : {CacheType::F32, CacheType::BF16}) {
    KvCache cache(small_config(), type);
    const size_t tile = kLayers * page_bytes(type);
    const int sequence = cache.create();
    CHECK_EQ(cache.bytes(), 0u);
    cache.extend(sequence, 1);
    CHECK_EQ(cache.bytes(), tile);
    CHECK_EQ(cache.length(sequence), 0);  // not before commit
    cache.commit(sequence, 1);
    cache.extend(sequence, 63);
    cache.commit(sequence, 63);
    CHECK_EQ(cache.bytes(), tile);
    cache.extend(sequence, 1);
    cache.commit(sequence, 1);
    CHECK_EQ(cache.bytes(), 2 * tile);
    cache.extend(sequence, 200);
    CHECK_EQ(cache.bytes(), 5 * tile);
    cache.truncate(sequence, 65);  // what was extended and never committed goes too
    CHECK_EQ(cache.bytes(), 2 * tile);
    cache.truncate(sequence, 64);
    CHECK_EQ(cache.bytes(), tile);
    cache.truncate(sequence, 0);
    CHECK_EQ(cache.bytes(), 0u);
    cache.release(sequence);
  }
}

CASE("a fork shares pages until one of the two writes into them") {
  KvCache cache(small_config(), CacheType::BF16);
  const size_t tile = kLayers * page_bytes(CacheType::BF16);
  check::Random random(41);
  const int source = cache.create();
  append(cache, source, random_numbers(random, 100));
  const int whole = cache.fork(source, 100), aligned = cache.fork(source, 64), cut = cache.fork(source, 70);
  CHECK_EQ(cache.bytes(), 2 * tile);
  CHECK_EQ(cache.length(whole), 100);
  CHECK_EQ(cache.length(aligned), 64);
  append(cache, aligned, {1});  // begins a page: nothing to copy
  CHECK_EQ(cache.bytes(), 3 * tile);
  append(cache, cut, {2});
  CHECK_EQ(cache.bytes(), 4 * tile);
  append(cache, source, {3});
  CHECK_EQ(cache.bytes(), 5 * tile);
  append(cache, whole, {4});  // alone in its page by now
  CHECK_EQ(cache.bytes(), 5 * tile);
  CHECK(cache.page(whole, 0, 0) == cache.page(source, 0, 0));
  CHECK(cache.page(whole, 0, 1) != cache.page(source, 0, 1));
  for (int sequence : {source, whole, aligned, cut}) cache.release(sequence);
  CHECK_EQ(cache.bytes(), 0u);
}

CASE("released and unknown sequences, and lengths out of range, are refused") {
  KvCache cache(small_config(), CacheType::F32);
  const int sequence = cache.create();
  append(cache, sequence, {1, 2, 3});
  CHECK_FAILS(cache.fork(sequence, 4), InvalidArgument);
  CHECK_FAILS(cache.fork(sequence, -1), InvalidArgument);
  CHECK_FAILS(cache.truncate(sequence, 4), InvalidArgument);
  CHECK_FAILS(cache.truncate(sequence, -1), InvalidArgument);
  CHECK_FAILS(cache.length(sequence + 1), InvalidArgument);
  CHECK_FAILS(cache.length(-1), InvalidArgument);
  cache.release(sequence);
  CHECK_FAILS(cache.length(sequence), InvalidArgument);
  CHECK_FAILS(cache.release(sequence), InvalidArgument);
  CHECK_FAILS(cache.extend(sequence, 1), InvalidArgument);
  CHECK_FAILS(cache.fork(sequence, 0), InvalidArgument);
  CHECK_EQ(cache.create(), sequence);  // numbers are used again
  CHECK_EQ(cache.length(sequence), 0);
  const int other = cache.create();
  CHECK(other != sequence);
}

CASE("a sequence that was released leaves nothing for the next one") {
  KvCache cache(small_config(), CacheType::BF16);
  check::Random random(42);
  const int first = cache.create();
  append(cache, first, random_numbers(random, 64));
  cache.release(first);
  const int second = cache.create();
  cache.extend(second, 64);
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::byte* page = cache.page(second, layer, 0);
    const bool is_zero =
        std::all_of(page, page + page_bytes(CacheType::BF16), [](std::byte b) { return b == std::byte{0}; });
    CHECK(is_zero);
  }
}

CASE("a cache outlived by nothing: pages count down whichever goes first") {
  std::optional<KvCache> cache(std::in_place, small_config(), CacheType::F32);
  const int source = cache->create();
  append(*cache, source, {1, 2});
  cache->fork(source, 1);
  cache.reset();  // ASan sees what is left
}

CASE("random operations leave every sequence with what was written to it") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    check::Random random(seed);
    const CacheType type = seed % 2 == 0 ? CacheType::F32 : CacheType::BF16;
    KvCache cache(small_config(), type);
    std::map<int, std::vector<uint16_t>> expected;
    const auto any = [&] { return std::next(expected.begin(), random.below(static_cast<int>(expected.size()))); };
    for (int operation = 0; operation < 400; ++operation) {
      const int kind = expected.empty() ? 0 : random.below(10);
      if (kind == 0 && expected.size() < 12) {
        const int sequence = cache.create();
        CHECK(expected.emplace(sequence, std::vector<uint16_t>()).second);
      } else if (kind <= 4) {
        const auto one = any();
        const std::vector<uint16_t> numbers = random_numbers(random, 1 + random.below(random.below(2) == 0 ? 5 : 150));
        append(cache, one->first, numbers);
        one->second.insert(one->second.end(), numbers.begin(), numbers.end());
      } else if (kind <= 6 && expected.size() < 12) {
        const auto one = any();
        const int length = random.below(static_cast<int>(one->second.size()) + 1);
        const std::vector<uint16_t> prefix(one->second.begin(), one->second.begin() + length);
        CHECK(expected.emplace(cache.fork(one->first, length), prefix).second);
      } else if (kind <= 8) {
        const auto one = any();
        const int length = random.below(static_cast<int>(one->second.size()) + 1);
        cache.truncate(one->first, length);
        one->second.resize(length);
      } else {
        const auto one = any();
        cache.release(one->first);
        expected.erase(one);
      }
      if (operation % 20 != 0) continue;
      size_t pages_at_most = 0;
      for (const auto& [sequence, numbers] : expected) {
        CHECK_EQ(cache.length(sequence), static_cast<int64_t>(numbers.size()));
        pages_at_most += (numbers.size() + kTilePositions - 1) / kTilePositions * kLayers;
        bool same = true;
        for (size_t position = 0; position < numbers.size(); ++position) {
          same = same && holds(cache, sequence, static_cast<int64_t>(position), numbers[position]);
        }
        CHECK(same);
      }
      CHECK(cache.bytes() <= pages_at_most * page_bytes(type));
    }
    for (const auto& [sequence, numbers] : expected) cache.release(sequence);
    CHECK_EQ(cache.bytes(), 0u);
  }
}

namespace {

// Host memory with room for a few pages, which counts what is out.
class SmallMemory final : public PageMemory {
 public:
  explicit SmallMemory(int room) : room_(room) {}
  std::byte* allocate(size_t bytes) override {
    if (room_ == 0) return nullptr;
    --room_;
    return host_->allocate(bytes);
  }
  void release(std::byte* page, size_t bytes) noexcept override {
    ++room_;
    host_->release(page, bytes);
  }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { host_->copy(to, from, bytes); }
  int room() const { return room_; }

 private:
  int room_;
  std::shared_ptr<PageMemory> host_ = host_page_memory();
};

}  // namespace

CASE("memory that ends leaves the sequence as it was, and gets every page back") {
  const auto memory = std::make_shared<SmallMemory>(2 * kLayers + 1);
  KvCache cache(small_config(), CacheType::F32, memory);
  const int sequence = cache.create();
  append(cache, sequence, std::vector<uint16_t>(70, 1));
  CHECK_EQ(memory->room(), 1);
  CHECK_FAILS(cache.extend(sequence, kTilePositions), OutOfMemory);
  CHECK_EQ(memory->room(), 1);
  CHECK_EQ(cache.length(sequence), 70);
  cache.release(sequence);
  CHECK_EQ(memory->room(), 2 * kLayers + 1);
}
