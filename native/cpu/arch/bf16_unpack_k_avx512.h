// Rows of K-quants to bf16: see bf16_unpack_avx512.h. Sixteen scales of a block are computed at once and kept in memory. What counts is
// port 5 of Intel's cores: it alone permutes and widens, and rounding 32 values to bf16 takes it twice.
#pragma once

#include "cpu/arch/bf16_words_avx512.h"

namespace moescope {
namespace {

inline void unpack_q6_k(const uint8_t* block, uint16_t* out) {
  alignas(64) float scales[16];
  const __m512 d = half_at(block + 208);
  _mm512_store_ps(scales, _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block + 192)))));
  keep_in_memory(scales);
  const __m256i low_four = _mm256_set1_epi8(15), two = _mm256_set1_epi8(48), centre = _mm256_set1_epi8(32);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m256i first = load_32(block + 64 * half), second = load_32(block + 64 * half + 32);
    const __m256i high = load_32(block + 128 + 32 * half);
    const __m256i q[4] = {
        _mm256_or_si256(_mm256_and_si256(first, low_four), _mm256_and_si256(_mm256_slli_epi16(high, 4), two)),
        _mm256_or_si256(_mm256_and_si256(second, low_four), _mm256_and_si256(_mm256_slli_epi16(high, 2), two)),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(first, 4), low_four), _mm256_and_si256(high, two)),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(second, 4), low_four),
                        _mm256_and_si256(_mm256_srli_epi16(high, 2), two))};
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const float* scale = scales + 8 * half + 2 * r;
      scale_32(_mm256_sub_epi8(q[r], centre), _mm512_set1_ps(scale[0]), _mm512_set1_ps(scale[1]),
               out + (4 * half + r) * kStepWords);
    }
  }
}

inline void unpack_q3_k(const uint8_t* block, uint16_t* out) {
  // Nibble s / 8 of byte s % 8, and bit pair s / 4 of byte 8 + s % 4.
  const uint32_t low[2] = {word_at(block + 96), word_at(block + 100)}, high = word_at(block + 104);
  alignas(16) uint32_t six_bits[4];
  for (int part = 0; part < 4; ++part) {
    six_bits[part] = (low[part % 2] >> (4 * (part / 2)) & 0x0F0F0F0Fu) | (high >> (2 * part) & 0x03030303u) << 4;
  }
  const __m128i bytes = _mm_sub_epi8(_mm_load_si128(reinterpret_cast<const __m128i*>(six_bits)), _mm_set1_epi8(32));
  alignas(64) float scales[16];
  _mm512_store_ps(scales, _mm512_mul_ps(half_at(block + 108), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))));
  keep_in_memory(scales);
  const __m256i hmask = load_32(block);
  for (int j = 0; j < 8; ++j) {
    const __m128i shift = _mm_cvtsi32_si128(2 * (j % 4));
    const __m256i two =
        _mm256_and_si256(_mm256_srl_epi16(load_32(block + 32 + 32 * (j / 4)), shift), _mm256_set1_epi8(3));
    const __mmask32 is_low = _mm256_testn_epi8_mask(hmask, _mm256_set1_epi8(static_cast<char>(1 << j)));
    const __m256i q = _mm256_mask_sub_epi8(two, is_low, two, _mm256_set1_epi8(4));
    scale_32(q, _mm512_set1_ps(scales[2 * j]), _mm512_set1_ps(scales[2 * j + 1]), out + j * kStepWords);
  }
}

inline void unpack_q2_k(const uint8_t* block, uint16_t* out) {
  const __m128i packed = load_16(block), four = _mm_set1_epi8(15);
  alignas(64) float scales[16], minima[16];
  const auto floats = [](__m128i bytes) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)); };
  _mm512_store_ps(scales, _mm512_mul_ps(half_at(block + 80), floats(_mm_and_si128(packed, four))));
  _mm512_store_ps(minima, _mm512_mul_ps(half_at(block + 82), floats(_mm_and_si128(_mm_srli_epi16(packed, 4), four))));
  keep_in_memory(scales);
  keep_in_memory(minima);
  for (int j = 0; j < 8; ++j) {
    const __m128i shift = _mm_cvtsi32_si128(2 * (j % 4));
    const __m256i q =
        _mm256_and_si256(_mm256_srl_epi16(load_32(block + 16 + 32 * (j / 4)), shift), _mm256_set1_epi8(3));
    __m512 values[2];
    for (int part = 0; part < 2; ++part) {
      const __m512 codes = floats(part == 0 ? _mm256_castsi256_si128(q) : _mm256_extracti128_si256(q, 1));
      values[part] = _mm512_fmsub_ps(codes, _mm512_set1_ps(scales[2 * j + part]), _mm512_set1_ps(minima[2 * j + part]));
    }
    store(out + j * kStepWords, to_bf16(values[0], values[1]));
  }
}

// The eight scales, then the eight minima of a block of Q4_K or Q5_K.
inline void scales_q45_k(const uint8_t* block, float (&scales)[16]) {
  // Words: d and dmin; low six bits of scales 0 to 3; of minima 0 to 3; four bits of the other scales and minima, whose upper two are
  // the upper two of the first ones.
  const __m128i words = load_16(block);
  const __m128i six = _mm_and_si128(_mm_srlv_epi32(_mm_shuffle_epi32(words, 0xA5), _mm_setr_epi32(0, 2, 0, 2)),
                                    _mm_setr_epi32(0x3F3F3F3F, 0x30303030, 0x3F3F3F3F, 0x30303030));
  const __m128i four = _mm_srlv_epi32(_mm_shuffle_epi32(words, 0xFF), _mm_setr_epi32(0, 0, 0, 4));
  const __m128i bytes =
      _mm_ternarylogic_epi32(six, four, _mm_setr_epi32(0, 0x0F0F0F0F, 0, 0x0F0F0F0F), 0xF8);  // six | (four & mask)
  // Eight times d, eight times dmin.
  const __m256i halves =
      _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(word_at(block))),
                          _mm256_inserti128_si256(_mm256_set1_epi16(0x0100), _mm_set1_epi16(0x0302), 1));
  _mm512_store_ps(scales, _mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))));
  keep_in_memory(scales);
}

inline __m512 codes_times(__m512 codes, const float* scales, int j) {
  return _mm512_fmsub_ps(codes, _mm512_set1_ps(scales[j]), _mm512_set1_ps(scales[8 + j]));
}

inline void unpack_q4_k(const uint8_t* block, uint16_t* out) {
  alignas(64) float scales[16];
  scales_q45_k(block, scales);
  const __m512 codes = ascending(0);
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    // Codes 0 to 15 of the group of low nibbles, then those of the high ones.
    const __m512i table = to_bf16(codes_times(codes, scales, 2 * pair), codes_times(codes, scales, 2 * pair + 1));
    const __m512i bytes = _mm512_cvtepu8_epi16(load_32(block + 16 + 32 * pair));
    look_up(table, _mm512_and_si512(bytes, _mm512_set1_epi16(15)), out + 2 * pair * kStepWords);
    const __m512i high = _mm512_or_si512(_mm512_srli_epi16(bytes, 4), _mm512_set1_epi16(16));
    look_up(table, high, out + (2 * pair + 1) * kStepWords);
  }
}

inline void unpack_q5_k(const uint8_t* block, uint16_t* out) {
  alignas(64) float scales[16];
  scales_q45_k(block, scales);
  const __m512 low_codes = ascending(0), high_codes = ascending(16);
  // Looking up takes the low five bits of a word: the fifth comes from `fifth`, those above it may be anything.
  const __m512i fifth = _mm512_cvtepu8_epi16(load_32(block + 16)), fifth_bit = _mm512_set1_epi16(16);
  constexpr int kSelect = 0xD8;  // c ? b : a
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    const __m512i bytes = _mm512_cvtepu8_epi16(load_32(block + 48 + 32 * pair));
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {
      const int j = 2 * pair + part;
      const __m512i table = to_bf16(codes_times(low_codes, scales, j), codes_times(high_codes, scales, j));
      const __m512i four = part == 0 ? bytes : _mm512_srli_epi16(bytes, 4);
      const __m512i one = j < 4 ? _mm512_slli_epi16(fifth, 4 - j) : _mm512_srli_epi16(fifth, j - 4);
      look_up(table, _mm512_ternarylogic_epi32(four, one, fifth_bit, kSelect), out + j * kStepWords);
    }
  }
}

}  // namespace
}  // namespace moescope
