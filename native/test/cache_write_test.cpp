// What attention leaves in the cache: keys and values rounded to the cache's type and nothing else, in the slots of their positions.
#include <cstring>

#include "core/kv_cache.h"
#include "test/tiny_model.h"

using namespace moescope;
using namespace moescope::check;

namespace {

constexpr int kRows = 70, kSequenceBefore = 1;  // across the border of two tiles

// Runs the first layer's attention over one prompt and returns its cache; the sequence is number kSequenceBefore.
KvCache cache_after_attention(const TinyCheckpoint& checkpoint, CacheType type) {
  const std::shared_ptr<Model> model = checkpoint.load(2);
  KvCache cache(checkpoint.config, type);
  cache.create();
  const int sequence = cache.create();
  cache.extend(sequence, kRows);
  const std::vector<int32_t> tokens = random_tokens(kRows, checkpoint.config.vocab_size, 81);
  Batch batch;
  batch.cache = &cache;
  batch.runs.push_back({sequence, 0, kRows, 0});
  for (int row = 0; row < kRows; ++row) batch.rows.push_back({tokens[row], sequence, {row, 0, 0}, nullptr});
  const Backend::Activations room = model->backend->activations(kRows);
  model->backend->embed(batch, room.x);
  model->backend->attend(0, batch, room.x);
  return cache;
}

}  // namespace

CASE("a bfloat16 cache holds the fp32 cache's numbers, each rounded once, and nothing past the last position") {
  for (const TinyCheckpoint& checkpoint : {tiny_llama(), tiny_qwen2()}) {
    const ModelConfig& config = checkpoint.config;
    const KvCache full = cache_after_attention(checkpoint, CacheType::F32);
    const KvCache rounded = cache_after_attention(checkpoint, CacheType::BF16);
    int not_zero = 0, wrong = 0;
    for (int64_t tile = 0; tile < 2; ++tile) {
      const std::byte* a = full.page(kSequenceBefore, 0, tile);
      const std::byte* b = rounded.page(kSequenceBefore, 0, tile);
      const int elements = 2 * config.kv_size() * kTilePositions;
      for (int i = 0; i < elements; ++i) {
        float value;
        uint16_t bits;
        std::memcpy(&value, a + 4 * i, 4);
        std::memcpy(&bits, b + 2 * i, 2);
        not_zero += value != 0;
        wrong += bits != float_to_bf16(value);
      }
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(not_zero, 2 * config.kv_size() * kRows);
  }
}
