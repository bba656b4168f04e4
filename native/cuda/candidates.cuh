// The tokens of a row of logits, most likely first, ties to the lower id, in sorted parts: each by one block of threads.
#pragma once

#include "cuda/device.h"
#include "cuda/head.h"

namespace moescope::cuda {

using Key = unsigned long long;

constexpr int kTokenBits = 24;

// Larger keys are more likely. No key is 0 but for a token that is taken out (-inf).
__device__ inline Key key_of(float logit, int token) {
  if (logit == __uint_as_float(0xff800000u)) return 0;
  // -0 is equal to 0, and the lower id wins.
  const uint32_t bits = __float_as_uint(logit + 0.0f), ordered = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << kTokenBits | static_cast<Key>((1 << kTokenBits) - 1 - token);
}
__device__ inline int token_of(Key key) {
  return (1 << kTokenBits) - 1 - static_cast<int>(key & ((1 << kTokenBits) - 1));
}
__device__ inline float logit_of(Key key) {
  const uint32_t ordered = static_cast<uint32_t>(key >> kTokenBits);
  return __uint_as_float(ordered & 0x80000000u ? ordered ^ 0x80000000u : ~ordered);
}

// Sorts `size` keys, a power of two, descending (Batcher's bitonic network). All threads of the block, which has synchronised before; it has
// after, too.
__device__ inline void sort_keys(const Shared<Key>& keys, int size) {
  for (int width = 2; width <= size; width *= 2) {
    for (int distance = width / 2; distance > 0; distance /= 2) {
      for (int i = static_cast<int>(threadIdx.x); i < size / 2; i += HeadParams::kThreads) {
        const int low = i / distance * 2 * distance + i % distance, high = low + distance;
        const Key a = keys[low], b = keys[high];
        if ((a < b) == ((low & width) == 0)) {
          keys[low] = b;
          keys[high] = a;
        }
      }
      __syncthreads();
    }
  }
}

// One sorted part after another.
class Candidates {
 public:
  __device__ Candidates(const Global<const float>& logits, int vocab, const Shared<Key>& keys, const Shared<int>& count)
      : logits_(logits), vocab_(vocab), keys_(keys), count_(count) {}

  // The part of the keys below `bound`, at least `wanted` of them where there are so many (1024 at most), each of them above all that are
  // left out. The same part again costs nothing.
  __device__ void load(Key bound, int wanted) {
    if (is_loaded_ && bound == bound_ && wanted <= wanted_) return;
    is_loaded_ = true, bound_ = bound, wanted_ = wanted;
    const int thread = static_cast<int>(threadIdx.x);
    Key largest = 0;
    for (int token = thread; token < vocab_; token += HeadParams::kThreads) {
      const Key key = key_of(logits_[token], token);
      if (key < bound && key > largest) largest = key;
    }
    // At least k keys are as large as the k-th of the threads' largest; mostly not many more.
    for (int k = wanted < HeadParams::kThreads ? wanted : HeadParams::kThreads;; k /= 2) {
      __syncthreads();
      keys_[thread] = largest;
      __syncthreads();
      sort_keys(keys_, HeadParams::kThreads);
      const Key least = keys_[k - 1] > 0 ? keys_[k - 1] : 1;
      if (thread == 0) *count_ = 0;
      __syncthreads();
      for (int token = thread; token < vocab_; token += HeadParams::kThreads) {
        const Key key = key_of(logits_[token], token);
        if (key < least || key >= bound) continue;
        const int place = atomicAdd(count_, 1);
        if (place < HeadParams::kCandidates) keys_[place] = key;
      }
      __syncthreads();
      size_ = *count_;
      if (size_ <= HeadParams::kCandidates) break;
    }
    int width = 1;
    while (width < size_) width *= 2;
    for (int place = size_ + thread; place < width; place += HeadParams::kThreads) keys_[place] = 0;
    __syncthreads();
    sort_keys(keys_, width);
  }

  __device__ int size() const { return size_; }
  __device__ Key operator[](int index) const { return keys_[index]; }

 private:
  Global<const float> logits_;
  int vocab_;
  Shared<Key> keys_;  // (kCandidates)
  Shared<int> count_;
  Key bound_ = 0;
  int wanted_ = 0, size_ = 0;
  bool is_loaded_ = false;
};

constexpr Key kAboveAll = ~Key{0};

}  // namespace moescope::cuda
