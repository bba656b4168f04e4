// The types whose sixteen levels stand closer together near zero: one scale for 32, or groups of 32 in 256.
#include "core/quantize_groups.h"

namespace moescope::make_block {
namespace {

using Levels = fit::Iq4Levels;

constexpr int kSteps = 9;
constexpr float kFrom = 0.8f;
constexpr float kTo = 1.25f;

// 16 bytes of nibbles for 32 weights.
void store_nibbles(const float* x, float scale, uint8_t* nibbles) {
  const auto codes = fit::codes_of<Levels, 32>(x, scale);
  for (int i = 0; i < 16; ++i) nibbles[i] = static_cast<uint8_t>(codes[i] | codes[i + 16] << 4);
}

}  // namespace

void iq4_nl(const float* x, uint8_t* block) {
  const float d = as_half(fit::fit_scale<Levels, 32>(x, kSteps, kFrom, kTo));
  store_half(block, d);
  store_nibbles(x, d, block + 2);
}

void iq4_xs(const float* x, uint8_t* block) {
  const auto scales = fit::ScaledGroups<Levels, 8, -32, 31>::fit(x, kSteps, kFrom, kTo);
  std::memset(block, 0, 8);
  store_half(block, scales.d);
  uint16_t high = 0;
  for (int j = 0; j < 8; ++j) {
    const int stored = scales.s[j] + 32;
    high = static_cast<uint16_t>(high | (stored >> 4) << (2 * j));
    block[4 + j / 2] = static_cast<uint8_t>(block[4 + j / 2] | (stored & 15) << (4 * (j % 2)));
    store_nibbles(x + 32 * j, scales.d * static_cast<float>(scales.s[j]), block + 8 + 16 * j);
  }
  std::memcpy(block + 2, &high, sizeof high);
}

}  // namespace moescope::make_block
