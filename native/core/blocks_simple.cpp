// Plain floats, and blocks of 32 with one scale.
#include <array>

#include "core/blocks_rows.h"

namespace moescope::rows {
namespace {

// decode(nibble, i) for the 32 nibbles of 16 bytes, in the order of the elements.
template <typename Decode>
inline void each_nibble(const uint8_t* packed, float* __restrict values, Decode decode) {
  for (int i = 0; i < 16; ++i) values[i] = decode(packed[i] & 15, i);
  for (int i = 0; i < 16; ++i) values[16 + i] = decode(packed[i] >> 4, 16 + i);
}

// Runs of a fixed length, since compilers vectorise those even at modest optimisation levels.
template <float (*kConvert)(uint16_t)>
inline void each_u16(const uint8_t* source, float* __restrict values, int64_t count) {
  constexpr int kRun = 16;
  int64_t start = 0;
  for (; start + kRun <= count; start += kRun) {
    for (int i = 0; i < kRun; ++i) values[start + i] = kConvert(load<uint16_t>(source + 2 * (start + i)));
  }
  for (; start < count; ++start) values[start] = kConvert(load<uint16_t>(source + 2 * start));
}

// Masks from a table: not every baseline has shifts by a vector of amounts, every one has AND and compare.
constexpr std::array<uint32_t, 32> kBit = [] {
  std::array<uint32_t, 32> masks{};
  for (int i = 0; i < 32; ++i) masks[static_cast<size_t>(i)] = 1u << i;
  return masks;
}();

inline int fifth_bit(uint32_t high, int i) { return (high & kBit[static_cast<size_t>(i)]) != 0 ? 16 : 0; }

}  // namespace

void f32(const uint8_t* blocks, float* values, int64_t count) {
  if (count > 0) std::memcpy(values, blocks, static_cast<size_t>(count) * sizeof(float));
}

void f16(const uint8_t* blocks, float* values, int64_t count) { each_u16<half_to_float>(blocks, values, count); }

void bf16(const uint8_t* blocks, float* values, int64_t count) { each_u16<bf16_to_float>(blocks, values, count); }

void q4_0(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q4_0>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    each_nibble(block + 2, y, [d](int n, int) { return d * static_cast<float>(n - 8); });
  });
}

void q4_1(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q4_1>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const float m = load_half(block + 2);
    each_nibble(block + 4, y, [d, m](int n, int) { return d * static_cast<float>(n) + m; });
  });
}

void q5_0(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q5_0>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const uint32_t high = load<uint32_t>(block + 2);
    each_nibble(block + 6, y,
                [d, high](int n, int i) { return d * static_cast<float>((n | fifth_bit(high, i)) - 16); });
  });
}

void q5_1(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q5_1>(blocks, values, count, [](const uint8_t* block, float* y) {
    const float d = load_half(block);
    const float m = load_half(block + 2);
    const uint32_t high = load<uint32_t>(block + 4);
    each_nibble(block + 8, y,
                [d, m, high](int n, int i) { return d * static_cast<float>(n | fifth_bit(high, i)) + m; });
  });
}

void q8_0(const uint8_t* blocks, float* values, int64_t count) {
  each_block<DType::Q8_0>(blocks, values, count, [](const uint8_t* block, float* __restrict y) {
    const float d = load_half(block);
    for (int i = 0; i < 32; ++i) y[i] = d * static_cast<float>(static_cast<int8_t>(block[2 + i]));
  });
}

}  // namespace moescope::rows
