// The steps of unpacking that a machine may do better, in plain C++.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

// 64 bytes of each of 16 rows, `stride` apart, to four bytes of each row side by side.
void interleave_64(const uint8_t* values, int64_t stride, uint8_t* q) {
  for (int row = 0; row < kTileColumns; ++row) {
    for (int i = 0; i < 64; i += 4) std::memcpy(q + i * kTileColumns + 4 * row, values + row * stride + i, 4);
  }
}

// 16 bytes to 32 nibbles, low ones first; eight at a time, so that no compiler makes single bytes of it.
void nibbles_16(const uint8_t* packed, uint8_t* q) {
  for (int part = 0; part < 2; ++part) {
    uint64_t eight;
    std::memcpy(&eight, packed + 8 * part, sizeof eight);
    const uint64_t low = eight & 0x0F0F0F0F0F0F0F0Fu, high = eight >> 4 & 0x0F0F0F0F0F0F0F0Fu;
    std::memcpy(q + 8 * part, &low, sizeof low);
    std::memcpy(q + 16 + 8 * part, &high, sizeof high);
  }
}

// The same, and bit i of `high` becomes bit 4 of q[i]: each byte of `high` is spread over eight bytes, which keep their own bit.
void five_bits_32(const uint8_t* packed, uint32_t high, uint8_t* q) {
  nibbles_16(packed, q);
  for (int part = 0; part < 4; ++part) {
    const uint64_t spread = (high >> (8 * part) & 0xFFu) * 0x0101010101010101u & 0x8040201008040201u;
    const uint64_t ones = (spread + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;  // 1 where the byte is not 0
    uint64_t eight;
    std::memcpy(&eight, q + 8 * part, sizeof eight);
    eight |= ones << 4;
    std::memcpy(q + 8 * part, &eight, sizeof eight);
  }
}

}  // namespace
}  // namespace moescope
