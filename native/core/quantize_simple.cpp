// Blocks of 32 with one scale, or a scale and a minimum.
#include "core/quantize_fit.h"
#include "core/quantize_rows.h"

namespace moescope::make_block {
namespace {

constexpr int kBlock = 32;

// The scale of a block of its own, as stored.
template <typename Levels>
float block_scale(const float* x, int steps, float from, float to) {
  return as_half(fit::fit_scale<Levels, kBlock>(x, steps, from, to));
}

// Codes of four or five bits: nibbles of 16 bytes, and the fifth bits in a word.
void store_codes(const std::array<int, kBlock>& codes, uint8_t* nibbles, uint8_t* fifth_bits) {
  uint32_t high = 0;
  for (int i = 0; i < kBlock / 2; ++i) {
    nibbles[i] = static_cast<uint8_t>((codes[i] & 15) | (codes[i + kBlock / 2] & 15) << 4);
  }
  for (int i = 0; i < kBlock; ++i) high |= static_cast<uint32_t>(codes[i] >> 4) << i;
  if (fifth_bits != nullptr) std::memcpy(fifth_bits, &high, sizeof high);
}

template <typename Levels>
void symmetric(const float* x, uint8_t* block, uint8_t* nibbles, uint8_t* fifth_bits, float from, float to) {
  const float d = block_scale<Levels>(x, 9, from, to);
  store_half(block, d);
  store_codes(fit::codes_of<Levels, kBlock>(x, d), nibbles, fifth_bits);
}

// Rounding the scale moves the best minimum, so it is found for the scale as stored.
template <int kTop>
void with_min(const float* x, uint8_t* block, uint8_t* nibbles, uint8_t* fifth_bits, float from, float to) {
  fit::Line line = fit::fit_line<kTop, kBlock, false>(x, 5, from, to);
  line.scale = as_half(line.scale);
  const fit::StepSums sums = fit::step_sums<kTop, kBlock>(x, line);
  line.min = as_half((sums.x - line.scale * sums.q) / kBlock);
  store_half(block, line.scale);
  store_half(block + 2, line.min);
  store_codes(fit::steps_of<kTop, kBlock>(x, line), nibbles, fifth_bits);
}

}  // namespace

void q4_0(const float* x, uint8_t* block) {
  symmetric<fit::Integers<-8, 7>>(x, block, block + 2, nullptr, 0.8f, 1.25f);
}

void q4_1(const float* x, uint8_t* block) { with_min<15>(x, block, block + 4, nullptr, 0.82f, 1.0f); }

void q5_0(const float* x, uint8_t* block) {
  symmetric<fit::Integers<-16, 15>>(x, block, block + 6, block + 2, 0.88f, 1.12f);
}

void q5_1(const float* x, uint8_t* block) { with_min<31>(x, block, block + 8, block + 4, 0.9f, 1.0f); }

// -128 stays unused, as in all files: some kernels take magnitudes as signed bytes.
void q8_0(const float* x, uint8_t* block) {
  using Levels = fit::Integers<-127, 127>;
  const float d = block_scale<Levels>(x, 5, 0.988f, 1.003f);
  store_half(block, d);
  const auto codes = fit::codes_of<Levels, kBlock>(x, d);
  for (int i = 0; i < kBlock; ++i) block[2 + i] = static_cast<uint8_t>(codes[i] - 127);
}

}  // namespace moescope::make_block
