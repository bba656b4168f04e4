// Weight rows to bf16, for machines with AVX-512 BF16. Layouts: core/blocks.h. Where a group of weights shares scale and minimum and
// has at most five bits, the values of all codes are computed first and then looked up; others are scaled one by one. Each value is that
// of dequantize_row(), rounded to bf16, ties to even; subnormals become zero.
//
// Element i of a row goes to out[i / 32 * 512 + i % 32]: a step of 32 elements of 16 rows lies together.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "core/codebooks.h"
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

inline void unpack_q4_0(const uint8_t* block, uint16_t* out) {
  look_up(table_16(_mm512_mul_ps(half_at(block), ascending(-8))), nibbles_of(block + 2), out);
}

inline void unpack_q4_1(const uint8_t* block, uint16_t* out) {
  look_up(table_16(_mm512_fmadd_ps(half_at(block), ascending(0), half_at(block + 2))), nibbles_of(block + 4), out);
}

inline void unpack_q5_0(const uint8_t* block, uint16_t* out) {
  const __m512 d = half_at(block);
  const __m512i table = to_bf16(_mm512_mul_ps(d, ascending(-16)), _mm512_mul_ps(d, ascending(0)));
  look_up(table, with_fifth_bit(nibbles_of(block + 6), word_at(block + 2)), out);
}

inline void unpack_q5_1(const uint8_t* block, uint16_t* out) {
  const __m512 d = half_at(block), m = half_at(block + 2);
  const __m512i table = to_bf16(_mm512_fmadd_ps(d, ascending(0), m), _mm512_fmadd_ps(d, ascending(16), m));
  look_up(table, with_fifth_bit(nibbles_of(block + 8), word_at(block + 4)), out);
}

inline void unpack_iq4_nl(const uint8_t* block, uint16_t* out) {
  look_up(table_16(_mm512_mul_ps(half_at(block), _mm512_loadu_ps(&kIq4Values[0]))), nibbles_of(block + 2), out);
}

inline void unpack_mxfp4(const uint8_t* block, uint16_t* out) {
  const __m512 scale = _mm512_scalef_ps(_mm512_set1_ps(1), _mm512_set1_ps(static_cast<float>(block[0] - 128)));
  look_up(table_16(_mm512_mul_ps(scale, _mm512_loadu_ps(&kFp4Doubled[0]))), nibbles_of(block + 1), out);
}

inline void unpack_iq4_xs(const uint8_t* block, uint16_t* out) {
  const __m512 levels = _mm512_mul_ps(half_at(block), _mm512_loadu_ps(&kIq4Values[0]));
  const uint32_t high = word_at(block) >> 16, low = word_at(block + 4);
  for (int j = 0; j < 8; ++j) {
    const int scale = static_cast<int>((low >> (4 * j) & 15u) | (high >> (2 * j) & 3u) << 4) - 32;
    const __m512 values = _mm512_mul_ps(levels, _mm512_set1_ps(static_cast<float>(scale)));
    look_up(table_16(values), nibbles_of(block + 8 + 16 * j), out + j * kStepWords);
  }
}

// Signed bytes, scaled 16 by 16.
inline void scale_32(__m256i bytes, __m512 first_scale, __m512 second_scale, uint16_t* out) {
  const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_castsi256_si128(bytes)));
  const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm256_extracti128_si256(bytes, 1)));
  store(out, to_bf16(_mm512_mul_ps(first, first_scale), _mm512_mul_ps(second, second_scale)));
}

inline void unpack_q8_0(const uint8_t* block, uint16_t* out) {
  const __m512 d = half_at(block);
  const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block + 2)));
  const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block + 18)));
  store(out, to_bf16(_mm512_mul_ps(first, d), _mm512_mul_ps(second, d)));
}

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
  const uint32_t first = word_at(block + 4), second = word_at(block + 8), third = word_at(block + 12);
  const __m128i bytes = _mm_setr_epi32(static_cast<int>(first & 0x3F3F3F3Fu),
                                       static_cast<int>((third & 0x0F0F0F0Fu) | (first >> 2 & 0x30303030u)),
                                       static_cast<int>(second & 0x3F3F3F3Fu),
                                       static_cast<int>((third >> 4 & 0x0F0F0F0Fu) | (second >> 2 & 0x30303030u)));
  const __m512 factors = _mm512_mask_blend_ps(0xFF00, half_at(block), half_at(block + 2));
  _mm512_store_ps(scales, _mm512_mul_ps(factors, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))));
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
  const __m256i fifth = load_32(block + 16);
#pragma GCC unroll 4
  for (int pair = 0; pair < 4; ++pair) {
    const __m512i bytes = _mm512_cvtepu8_epi16(load_32(block + 48 + 32 * pair));
    const __m512i nibbles[2] = {_mm512_and_si512(bytes, _mm512_set1_epi16(15)), _mm512_srli_epi16(bytes, 4)};
#pragma GCC unroll 2
    for (int part = 0; part < 2; ++part) {
      const int j = 2 * pair + part;
      const __m512i table = to_bf16(codes_times(low_codes, scales, j), codes_times(high_codes, scales, j));
      const __mmask32 bits = _mm256_test_epi8_mask(fifth, _mm256_set1_epi8(static_cast<char>(1 << j)));
      look_up(table, with_fifth_bit(nibbles[part], bits), out + j * kStepWords);
    }
  }
}

// `count` elements of a row from element `first` on, both whole blocks.
using RowUnpack = void (*)(const uint8_t* row, int64_t first, int64_t count, uint16_t* high, uint16_t* low);

// Rows lie one after another, but the machine follows them less far ahead than memory is away.
template <int kBytes>
inline void prefetch_ahead(const uint8_t* block) {
  constexpr int kAhead = 2048;
#pragma GCC unroll 4
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(block + kAhead + i), _MM_HINT_T0);
}

template <DType kType, void (*kUnpack)(const uint8_t*, uint16_t*)>
void unpack_blocks(const uint8_t* row, int64_t first, int64_t count, uint16_t* high, uint16_t*) {
  constexpr BlockShape kBlock = block_shape(kType);
  const uint8_t* block = row + first / kBlock.elements * kBlock.bytes;
  for (int64_t i = 0; i < count; i += kBlock.elements, block += kBlock.bytes) {
    prefetch_ahead<kBlock.bytes>(block);
    kUnpack(block, high + i / kBf16Step * kStepWords);
  }
}

inline __mmask32 first_words(int64_t count) { return count >= 32 ? ~0u : (1u << count) - 1; }

void unpack_bf16(const uint8_t* row, int64_t first, int64_t count, uint16_t* high, uint16_t*) {
  for (int64_t i = 0; i < count; i += kBf16Step) {
    store(high + i / kBf16Step * kStepWords, _mm512_maskz_loadu_epi16(first_words(count - i), row + 2 * (first + i)));
  }
}

// fp32 numbers as the nearest bf16 numbers, and what is left as others.
inline void split(__m512 first, __m512 second, uint16_t* high, uint16_t* low) {
  const __m512i rounded = to_bf16(first, second);
  store(high, rounded);
  if (low == nullptr) return;
  const auto widened = [](__m256i words) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(words), 16));
  };
  store(low, to_bf16(_mm512_sub_ps(first, widened(_mm512_castsi512_si256(rounded))),
                     _mm512_sub_ps(second, widened(_mm512_extracti64x4_epi64(rounded, 1)))));
}

void unpack_f16(const uint8_t* row, int64_t first, int64_t count, uint16_t* high, uint16_t* low) {
  for (int64_t i = 0; i < count; i += kBf16Step) {
    const __m512i halves = _mm512_maskz_loadu_epi16(first_words(count - i), row + 2 * (first + i));
    const int64_t place = i / kBf16Step * kStepWords;
    split(_mm512_cvtph_ps(_mm512_castsi512_si256(halves)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)),
          high + place, low + place);
  }
}

// The types without kernels of their own.
template <DType kType>
void unpack_any(const uint8_t* row, int64_t first, int64_t count, uint16_t* high, uint16_t*) {
  constexpr BlockShape kBlock = block_shape(kType);
  alignas(64) float values[256];
  for (int64_t done = 0; done < count; done += 256) {
    const int64_t part = count - done < 256 ? count - done : 256;
    dequantize_row(kType, row + (first + done) / kBlock.elements * kBlock.bytes, values, part);
    for (int64_t i = 0; i < part; i += kBf16Step) {
      store(high + (done + i) / kBf16Step * kStepWords,
            to_bf16(_mm512_load_ps(values + i), _mm512_load_ps(values + i + 16)));
    }
  }
}

inline RowUnpack row_unpack(DType dtype) {
  switch (dtype) {
    case DType::F32: return nullptr;
    case DType::F16: return unpack_f16;
    case DType::BF16: return unpack_bf16;
#define MOESCOPE_UNPACK(type, unpack) \
  case DType::type: return unpack_blocks<DType::type, unpack>
      MOESCOPE_UNPACK(Q4_0, unpack_q4_0);
      MOESCOPE_UNPACK(Q4_1, unpack_q4_1);
      MOESCOPE_UNPACK(Q5_0, unpack_q5_0);
      MOESCOPE_UNPACK(Q5_1, unpack_q5_1);
      MOESCOPE_UNPACK(Q8_0, unpack_q8_0);
      MOESCOPE_UNPACK(Q2_K, unpack_q2_k);
      MOESCOPE_UNPACK(Q3_K, unpack_q3_k);
      MOESCOPE_UNPACK(Q4_K, unpack_q4_k);
      MOESCOPE_UNPACK(Q5_K, unpack_q5_k);
      MOESCOPE_UNPACK(Q6_K, unpack_q6_k);
      MOESCOPE_UNPACK(IQ4_NL, unpack_iq4_nl);
      MOESCOPE_UNPACK(IQ4_XS, unpack_iq4_xs);
      MOESCOPE_UNPACK(MXFP4, unpack_mxfp4);
#undef MOESCOPE_UNPACK
    case DType::IQ1_S: return unpack_any<DType::IQ1_S>;
    case DType::IQ1_M: return unpack_any<DType::IQ1_M>;
    case DType::IQ2_XXS: return unpack_any<DType::IQ2_XXS>;
    case DType::IQ2_XS: return unpack_any<DType::IQ2_XS>;
    case DType::IQ2_S: return unpack_any<DType::IQ2_S>;
    case DType::IQ3_XXS: return unpack_any<DType::IQ3_XXS>;
    case DType::IQ3_S: return unpack_any<DType::IQ3_S>;
    case DType::TQ1_0: return unpack_any<DType::TQ1_0>;
    case DType::TQ2_0: return unpack_any<DType::TQ2_0>;
    case DType::NVFP4: return unpack_any<DType::NVFP4>;
  }
  return nullptr;
}

}  // namespace
}  // namespace moescope
