// 16 x 16 words of 32 bits, transposed in registers.
#pragma once

#include <immintrin.h>

namespace moescope {
namespace {

inline void transpose_words(__m512i (&rows)[16]) {
  __m512i pairs[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i += 4) {
    rows[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    rows[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    rows[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    rows[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // rows[4 g + w] holds, for its quarter of each 128-bit lane l, words 4 l + w of rows 4 g to 4 g + 3.
#pragma GCC unroll 4
  for (int w = 0; w < 4; ++w) {
    const __m512i a = _mm512_shuffle_i32x4(rows[w], rows[4 + w], 0x88);       // lanes 0 and 2 of groups 0 and 1
    const __m512i b = _mm512_shuffle_i32x4(rows[w], rows[4 + w], 0xDD);       // lanes 1 and 3
    const __m512i c = _mm512_shuffle_i32x4(rows[8 + w], rows[12 + w], 0x88);  // the same of groups 2 and 3
    const __m512i d = _mm512_shuffle_i32x4(rows[8 + w], rows[12 + w], 0xDD);
    pairs[w] = _mm512_shuffle_i32x4(a, c, 0x88);
    pairs[4 + w] = _mm512_shuffle_i32x4(b, d, 0x88);
    pairs[8 + w] = _mm512_shuffle_i32x4(a, c, 0xDD);
    pairs[12 + w] = _mm512_shuffle_i32x4(b, d, 0xDD);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i] = pairs[i];
}

}  // namespace
}  // namespace moescope
