// The residual stream before one layer, kept with a sequence, so that another sequence with the same tokens can begin at that layer.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "core/error.h"

namespace moescope {

class KeptResiduals {
 public:
  KeptResiduals() = default;
  KeptResiduals(int layer, int hidden_size) : layer_(layer), hidden_size_(hidden_size) {}

  int hidden_size() const { return hidden_size_; }
  // -1: nothing is kept.
  int layer() const { return layer_; }

  // Room for `count` rows behind those that are there, for whoever computes them: (count, hidden). `tokens`: (count).
  float* append(int64_t first_position, const int32_t* tokens, int count) {
    auto block = std::make_shared<Block>();
    block->first_position = first_position;
    block->tokens.assign(tokens, tokens + count);
    block->values.resize(static_cast<size_t>(count) * hidden_size_);
    float* room = block->values.data();
    blocks_.push_back({std::move(block), count});
    return room;
  }

  // Forgets the positions from `length` on. Copies of this object share blocks, and keep theirs.
  void truncate(int64_t length) {
    while (!blocks_.empty() && blocks_.back().block->first_position >= length) blocks_.pop_back();
    if (!blocks_.empty()) {
      Part& last = blocks_.back();
      last.count = static_cast<int>(std::min<int64_t>(last.count, length - last.block->first_position));
    }
  }

  // Whether positions [first, end) are all kept.
  bool covers(int64_t first, int64_t end) const {
    for (int64_t position = first; position < end;) {
      const Part* part = part_of(position);
      if (part == nullptr) return false;
      position = part->block->first_position + part->count;
    }
    return true;
  }
  int32_t token(int64_t position) const {
    const Part& part = at(position);
    return part.block->tokens[position - part.block->first_position];
  }
  const float* row(int64_t position) const {  // (hidden)
    const Part& part = at(position);
    return &part.block->values[(position - part.block->first_position) * hidden_size_];
  }

 private:
  struct Block {
    int64_t first_position = 0;
    std::vector<int32_t> tokens;
    std::vector<float> values;  // (tokens, hidden)
  };
  struct Part {
    std::shared_ptr<Block> block;
    int count = 0;  // rows of it that count
  };

  const Part* part_of(int64_t position) const {
    const auto after = std::upper_bound(blocks_.begin(), blocks_.end(), position, [](int64_t wanted, const Part& part) {
      return wanted < part.block->first_position;
    });
    if (after == blocks_.begin()) return nullptr;
    const Part& part = *(after - 1);
    return position < part.block->first_position + part.count ? &part : nullptr;
  }
  const Part& at(int64_t position) const {
    const Part* part = part_of(position);
    if (part == nullptr) fail(ErrorCode::Internal, "No residual stream is kept for position ", position, ".");
    return *part;
  }

  int layer_ = -1;
  int hidden_size_ = 0;
  std::vector<Part> blocks_;  // ascending positions
};

}  // namespace moescope
