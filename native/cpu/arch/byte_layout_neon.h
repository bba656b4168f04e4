// The steps of unpacking of byte_layout_portable.h on arm64 NEON.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

// 64 bytes of each of 16 rows, `stride` apart, to four bytes of each row side by side: transpositions of 4 x 4 words.
void interleave_64(const uint8_t* values, int64_t stride, uint8_t* q) {
  for (int row = 0; row < kTileColumns; row += 4) {
    for (int i = 0; i < 64; i += 16) {
      uint32x4_t rows[4];
      for (int r = 0; r < 4; ++r) rows[r] = vreinterpretq_u32_u8(vld1q_u8(values + (row + r) * stride + i));
      const uint32x4_t even_01 = vtrn1q_u32(rows[0], rows[1]), odd_01 = vtrn2q_u32(rows[0], rows[1]);
      const uint32x4_t even_23 = vtrn1q_u32(rows[2], rows[3]), odd_23 = vtrn2q_u32(rows[2], rows[3]);
      const auto store = [&](int word, uint64x2_t four_rows) {
        vst1q_u8(q + (i + 4 * word) * kTileColumns + 4 * row, vreinterpretq_u8_u64(four_rows));
      };
      store(0, vtrn1q_u64(vreinterpretq_u64_u32(even_01), vreinterpretq_u64_u32(even_23)));
      store(1, vtrn1q_u64(vreinterpretq_u64_u32(odd_01), vreinterpretq_u64_u32(odd_23)));
      store(2, vtrn2q_u64(vreinterpretq_u64_u32(even_01), vreinterpretq_u64_u32(even_23)));
      store(3, vtrn2q_u64(vreinterpretq_u64_u32(odd_01), vreinterpretq_u64_u32(odd_23)));
    }
  }
}

// 16 bytes to 32 nibbles, low ones first.
void nibbles_16(const uint8_t* packed, uint8_t* q) {
  const uint8x16_t bytes = vld1q_u8(packed);
  vst1q_u8(q, vandq_u8(bytes, vdupq_n_u8(15)));
  vst1q_u8(q + 16, vshrq_n_u8(bytes, 4));
}

// The same, and bit i of `high` becomes bit 4 of q[i].
void five_bits_32(const uint8_t* packed, uint32_t high, uint8_t* q) {
  nibbles_16(packed, q);
  const uint8x8_t places = vcreate_u8(0x8040201008040201u);
  for (int part = 0; part < 4; ++part) {
    const uint8x8_t is_set = vtst_u8(vdup_n_u8(static_cast<uint8_t>(high >> (8 * part))), places);
    vst1_u8(q + 8 * part, vorr_u8(vld1_u8(q + 8 * part), vand_u8(is_set, vdup_n_u8(16))));
  }
}

}  // namespace
}  // namespace moescope
