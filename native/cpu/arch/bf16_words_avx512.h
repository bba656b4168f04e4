// Words for unpacking weight rows to bf16: see bf16_unpack_avx512.h. Only for files that are compiled for AVX-512 BF16.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "cpu/arch/bf16_kernels.h"

namespace moescope {
namespace {

constexpr int kStepWords = kBf16TileRows * kBf16Step;

inline __m512 ascending(float first) {
  const __m512 steps = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_ps(steps, _mm512_set1_ps(first));
}

inline __m512 half_at(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return _mm512_cvtph_ps(_mm256_set1_epi16(static_cast<short>(bits)));
}

inline uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

inline __m128i load_16(const uint8_t* bytes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); }
inline __m256i load_32(const uint8_t* bytes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)); }

inline __m512i to_bf16(__m512 first, __m512 second) { return (__m512i)_mm512_cvtne2ps_pbh(second, first); }

// Keeps scales in memory, from where they are broadcast for nothing: gcc would permute registers on a port that is busy.
inline void keep_in_memory(float (&scales)[16]) { asm("" : "+m"(scales)); }

// A table of 16 values, of which the second half is never looked up.
inline __m512i table_16(__m512 values) { return _mm512_castsi256_si512((__m256i)_mm512_cvtneps_pbh(values)); }

inline void store(uint16_t* out, __m512i values) { _mm512_storeu_si512(out, values); }
inline void look_up(__m512i table, __m512i codes, uint16_t* out) { store(out, _mm512_permutexvar_epi16(codes, table)); }

// 16 bytes to 32 codes, low nibbles first.
inline __m512i nibbles_of(const uint8_t* packed) {
  const __m256i bytes = _mm256_cvtepu8_epi16(load_16(packed));
  const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(bytes), _mm256_srli_epi16(bytes, 4), 1);
  return _mm512_and_si512(both, _mm512_set1_epi16(15));
}

inline __m512i with_fifth_bit(__m512i codes, uint32_t bits) {
  return _mm512_mask_add_epi16(codes, bits, codes, _mm512_set1_epi16(16));
}

// Signed bytes, scaled 16 by 16.
inline void scale_32(__m256i bytes, __m512 first_scale, __m512 second_scale, uint16_t* out) {
  const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes)));
  const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1)));
  store(out, to_bf16(_mm512_mul_ps(first, first_scale), _mm512_mul_ps(second, second_scale)));
}

}  // namespace
}  // namespace moescope
