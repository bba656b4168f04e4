// Weight rows to bf16, for machines with AVX-512 BF16. Layouts: core/blocks.h. Where a group of weights shares scale and minimum and
// has at most five bits, the values of all codes are computed first and then looked up; others are scaled one by one. Each value is that
// of dequantize_row(), rounded to bf16, ties to even; subnormals become zero.
//
// Element i of a row goes to out[i / 32 * 512 + i % 32]: a step of 32 elements of 16 rows lies together.
#pragma once

#include "core/codebooks.h"
#include "cpu/arch/bf16_unpack_k_avx512.h"
#include "cpu/arch/bf16_words_avx512.h"

namespace moescope {
namespace {

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

inline void unpack_q8_0(const uint8_t* block, uint16_t* out) {
  const __m512 d = half_at(block);
  const __m512 first = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block + 2)));
  const __m512 second = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(load_16(block + 18)));
  store(out, to_bf16(_mm512_mul_ps(first, d), _mm512_mul_ps(second, d)));
}

// Some rows of a tile of 16: `count` elements of each from element `first` on, both whole blocks.
struct UnpackedRows {
  const uint8_t* rows;
  int64_t row_bytes;
  int num_rows;
  int64_t first;
  int64_t count;
};
using RowUnpack = void (*)(const UnpackedRows& part, uint16_t* high, uint16_t* low);

// The same block of the next tile. Parts of 16 rows lie apart, and the machine does not follow so many.
template <int kBytes>
inline void prefetch_block(const uint8_t* block) {
#pragma GCC unroll 4
  for (int i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(block + i), _MM_HINT_T0);
}

template <DType kType, void (*kUnpack)(const uint8_t*, uint16_t*)>
void unpack_blocks(const UnpackedRows& part, uint16_t* high, uint16_t*) {
  constexpr BlockShape kBlock = block_shape(kType);
  const uint8_t* row = part.rows + part.first / kBlock.elements * kBlock.bytes;
  for (int r = 0; r < part.num_rows; ++r, row += part.row_bytes, high += kBf16Step) {
    const uint8_t* block = row;
    for (int64_t i = 0; i < part.count; i += kBlock.elements, block += kBlock.bytes) {
      prefetch_block<kBlock.bytes>(block + kBf16TileRows * part.row_bytes);
      kUnpack(block, high + i / kBf16Step * kStepWords);
    }
  }
}

// Calls unpack(row's first element, high, low) for rows of types without blocks.
template <typename Unpack>
inline void each_row(const UnpackedRows& part, int bytes, uint16_t* high, uint16_t* low, const Unpack& unpack) {
  const uint8_t* row = part.rows + part.first * bytes;
  for (int r = 0; r < part.num_rows; ++r, row += part.row_bytes) unpack(row, high + r * kBf16Step, low + r * kBf16Step);
}

inline __mmask32 first_words(int64_t count) { return count >= 32 ? ~0u : (1u << count) - 1; }

void unpack_bf16(const UnpackedRows& part, uint16_t* high, uint16_t* low) {
  each_row(part, 2, high, low, [&](const uint8_t* row, uint16_t* out, uint16_t*) {
    for (int64_t i = 0; i < part.count; i += kBf16Step) {
      _mm_prefetch(reinterpret_cast<const char*>(row + kBf16TileRows * part.row_bytes + 2 * i), _MM_HINT_T0);
      store(out + i / kBf16Step * kStepWords, _mm512_maskz_loadu_epi16(first_words(part.count - i), row + 2 * i));
    }
  });
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

void unpack_f16(const UnpackedRows& part, uint16_t* high, uint16_t* low) {
  each_row(part, 2, high, low, [&](const uint8_t* row, uint16_t* high_out, uint16_t* low_out) {
    for (int64_t i = 0; i < part.count; i += kBf16Step) {
      const __m512i halves = _mm512_maskz_loadu_epi16(first_words(part.count - i), row + 2 * i);
      const int64_t place = i / kBf16Step * kStepWords;
      split(_mm512_cvtph_ps(_mm512_castsi512_si256(halves)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)),
            high_out + place, low_out + place);
    }
  });
}

// The types without kernels of their own.
template <DType kType>
void unpack_any(const UnpackedRows& part, uint16_t* high, uint16_t*) {
  constexpr BlockShape kBlock = block_shape(kType);
  alignas(64) float values[256];
  for (int r = 0; r < part.num_rows; ++r, high += kBf16Step) {
    const uint8_t* row = part.rows + r * part.row_bytes;
    for (int64_t done = 0; done < part.count; done += 256) {
      const int64_t some = part.count - done < 256 ? part.count - done : 256;
      dequantize_row(kType, row + (part.first + done) / kBlock.elements * kBlock.bytes, values, some);
      for (int64_t i = 0; i < some; i += kBf16Step) {
        store(high + (done + i) / kBf16Step * kStepWords,
              to_bf16(_mm512_load_ps(values + i), _mm512_load_ps(values + i + 16)));
      }
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
