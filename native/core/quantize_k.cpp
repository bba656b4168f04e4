// K-quants: fits of quantize_groups.h, packed as blocks.h says. Bits are collected in order of the elements.
#include "core/quantize_groups.h"

namespace moescope::make_block {
namespace {

using fit::kSuperBlock;

// Calls put(i, code) for each element under the scales of its group.
template <typename Levels, int kGroups, typename Put>
void each_level(const float* x, const fit::Scales<kGroups>& scales, Put put) {
  constexpr int kSize = kSuperBlock / kGroups;
  for (int g = 0; g < kGroups; ++g) {
    const auto codes = fit::codes_of<Levels, kSize>(x + g * kSize, scales.d * static_cast<float>(scales.s[g]));
    for (int l = 0; l < kSize; ++l) put(g * kSize + l, codes[l]);
  }
}

// The same for lines.
template <int kTop, int kGroups, typename Put>
void each_step(const float* x, const fit::Lines<kGroups>& lines, Put put) {
  constexpr int kSize = kSuperBlock / kGroups;
  for (int g = 0; g < kGroups; ++g) {
    const auto steps = fit::steps_of<kTop, kSize>(x + g * kSize, lines.line(g));
    for (int l = 0; l < kSize; ++l) put(g * kSize + l, steps[l]);
  }
}

void set_bits(uint8_t& byte, int bits, int shift) { byte = static_cast<uint8_t>(byte | bits << shift); }

// Eight pairs of six-bit numbers in twelve bytes (Q4_K, Q5_K).
void store_pairs(uint8_t* sc, const std::array<int, 8>& s, const std::array<int, 8>& m) {
  for (int j = 0; j < 4; ++j) {
    sc[j] = static_cast<uint8_t>(s[j] | (s[j + 4] >> 4) << 6);
    sc[j + 4] = static_cast<uint8_t>(m[j] | (m[j + 4] >> 4) << 6);
    sc[j + 8] = static_cast<uint8_t>((s[j + 4] & 15) | (m[j + 4] & 15) << 4);
  }
}

}  // namespace

void q2_k(const float* x, uint8_t* block) {
  const auto lines = fit::LineGroups<3, 16, 15>::fit(x, 9, 0.55f, 1.0f);
  std::memset(block, 0, 84);
  for (int s = 0; s < 16; ++s) block[s] = static_cast<uint8_t>(lines.s[s] | lines.m[s] << 4);
  each_step<3>(x, lines, [&](int i, int q) { set_bits(block[16 + 32 * (i / 128) + i % 32], q, 2 * (i % 128 / 32)); });
  store_half(block + 80, lines.d);
  store_half(block + 82, lines.dmin);
}

void q3_k(const float* x, uint8_t* block) {
  using Levels = fit::Integers<-4, 3>;
  const auto scales = fit::ScaledGroups<Levels, 16, -32, 31>::fit(x, 13, 0.7f, 1.3f);
  std::memset(block, 0, 110);
  each_level<Levels>(x, scales, [&](int i, int code) {
    set_bits(block[i % 32], code >> 2, i / 32);
    set_bits(block[32 + 32 * (i / 128) + i % 32], code & 3, 2 * (i % 128 / 32));
  });
  for (int s = 0; s < 16; ++s) {
    const int stored = scales.s[s] + 32;
    set_bits(block[96 + s % 8], stored & 15, 4 * (s / 8));
    set_bits(block[104 + s % 4], stored >> 4, 2 * (s / 4));
  }
  store_half(block + 108, scales.d);
}

void q4_k(const float* x, uint8_t* block) {
  const auto lines = fit::LineGroups<15, 8, 63>::fit(x, 7, 0.82f, 1.0f);
  std::memset(block, 0, 144);
  store_half(block, lines.d);
  store_half(block + 2, lines.dmin);
  store_pairs(block + 4, lines.s, lines.m);
  each_step<15>(x, lines, [&](int i, int q) { set_bits(block[16 + 32 * (i / 64) + i % 32], q, 4 * (i / 32 % 2)); });
}

void q5_k(const float* x, uint8_t* block) {
  const auto lines = fit::LineGroups<31, 8, 63>::fit(x, 7, 0.9f, 1.0f);
  std::memset(block, 0, 176);
  store_half(block, lines.d);
  store_half(block + 2, lines.dmin);
  store_pairs(block + 4, lines.s, lines.m);
  each_step<31>(x, lines, [&](int i, int q) {
    set_bits(block[16 + i % 32], q >> 4, i / 32);
    set_bits(block[48 + 32 * (i / 64) + i % 32], q & 15, 4 * (i / 32 % 2));
  });
}

void q6_k(const float* x, uint8_t* block) {
  using Levels = fit::Integers<-32, 31>;
  const auto scales = fit::ScaledGroups<Levels, 16, -128, 127>::fit(x, 9, 0.93f, 1.06f);
  std::memset(block, 0, 210);
  each_level<Levels>(x, scales, [&](int i, int code) {
    const int quarter = i % 128 / 32;
    set_bits(block[64 * (i / 128) + 32 * (quarter % 2) + i % 32], code & 15, 4 * (quarter / 2));
    set_bits(block[128 + 32 * (i / 128) + i % 32], code >> 4, 2 * quarter);
  });
  for (int s = 0; s < 16; ++s) block[192 + s] = static_cast<uint8_t>(scales.s[s]);
  store_half(block + 208, scales.d);
}

}  // namespace moescope::make_block
