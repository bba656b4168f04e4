// Weight rows as unsigned bytes, 64 elements of a row in a register, and the scales of 16 rows side by side: the types that large
// models are stored in. Layouts: core/blocks.h. Only for files that are compiled for AVX-512 F, BW, DQ and VL.
//
// Each type gives, for 256 elements of a row ("a chunk"): kBytes, kRun and kZero as an IntTile has them, kHasMinimum,
// codes(chunk, quarter), and scales(rows, offset, ...), which writes those of the runs that lie at `offset` in each row.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace moescope {
namespace {

constexpr int kChunk = 256;
constexpr int kQuarter = 64;

// Up to 16 rows; missing ones repeat the first.
struct TileRows {
  TileRows(const uint8_t* first, int64_t row_bytes, int num_rows) : first_row(first) {
    for (int r = 0; r < 16; ++r) offsets[r] = static_cast<int32_t>(r < num_rows ? r * row_bytes : 0);
  }
  const uint8_t* row(int r) const { return first_row + offsets[r]; }
  // The words of all rows at a place.
  __m512i words(int64_t place) const {
    return _mm512_i32gather_epi32(_mm512_load_si512(offsets), first_row + place, 1);
  }

  const uint8_t* first_row;
  alignas(64) int32_t offsets[16];
};

// 16 bytes of each row as four words, rows side by side.
inline void four_words(const TileRows& rows, int64_t place, __m512i (&words)[4]) {
  __m512i every_fourth[4];  // rows i, i + 4, i + 8, i + 12
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto sixteen = [&](int row) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.row(row) + place));
    };
    __m512i all = _mm512_castsi128_si512(sixteen(i));
    all = _mm512_inserti32x4(all, sixteen(i + 4), 1);
    all = _mm512_inserti32x4(all, sixteen(i + 8), 2);
    every_fourth[i] = _mm512_inserti32x4(all, sixteen(i + 12), 3);
  }
  const __m512i a = _mm512_unpacklo_epi32(every_fourth[0], every_fourth[1]);
  const __m512i b = _mm512_unpacklo_epi32(every_fourth[2], every_fourth[3]);
  const __m512i c = _mm512_unpackhi_epi32(every_fourth[0], every_fourth[1]);
  const __m512i d = _mm512_unpackhi_epi32(every_fourth[2], every_fourth[3]);
  words[0] = _mm512_unpacklo_epi64(a, b);
  words[1] = _mm512_unpackhi_epi64(a, b);
  words[2] = _mm512_unpacklo_epi64(c, d);
  words[3] = _mm512_unpackhi_epi64(c, d);
}

// The lower halves of words, from fp16.
inline __m512 low_halves(__m512i words) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }

inline __m512i both_halves(const uint8_t* bytes) {
  return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}

inline __m512i shifts(short first, short second) {
  return _mm512_inserti64x4(_mm512_set1_epi16(first), _mm256_set1_epi16(second), 1);
}

// Bits of `a` where `mask` is 0, of `b` where it is 1.
inline __m512i select(__m512i a, __m512i b, __m512i mask) { return _mm512_ternarylogic_epi32(a, b, mask, 0xD8); }

inline __m512i masked(__m512i a, int mask) { return _mm512_and_si512(a, _mm512_set1_epi8(static_cast<char>(mask))); }

// The eight 6-bit scales and minima of Q4_K and Q5_K.
inline void scales_q45_k(const TileRows& rows, int64_t chunk, float* scale, float* minimum) {
  __m512i words[4];
  four_words(rows, chunk, words);
  const __m512 d = low_halves(words[0]), dmin = low_halves(_mm512_srli_epi32(words[0], 16));
  const auto six_bits = [](__m512i four, __m512i six) {
    return select(masked(four, 15), _mm512_srli_epi32(six, 2), _mm512_set1_epi8(48));
  };
  const __m512i bytes[4] = {masked(words[1], 63), six_bits(words[3], words[1]), masked(words[2], 63),
                            six_bits(_mm512_srli_epi32(words[3], 4), words[2])};
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const auto factor = [&](__m512i four) {
      const __m512i byte = _mm512_and_si512(_mm512_srli_epi32(four, 8 * (j % 4)), _mm512_set1_epi32(255));
      return _mm512_cvtepi32_ps(byte);
    };
    _mm512_storeu_ps(scale + 16 * j, _mm512_mul_ps(d, factor(bytes[j / 4])));
    _mm512_storeu_ps(minimum + 16 * j, _mm512_mul_ps(dmin, factor(bytes[2 + j / 4])));
  }
}

struct CodesQ4K {
  static constexpr int kBytes = 144, kRun = 32, kZero = 0;
  static constexpr bool kHasMinimum = true;

  static __m512i codes(const uint8_t* chunk, int quarter) {
    return masked(_mm512_srlv_epi16(both_halves(chunk + 16 + 32 * quarter), shifts(0, 4)), 15);
  }
  static void scales(const TileRows& rows, int64_t chunk, int, float* scale, float* minimum) {
    scales_q45_k(rows, chunk, scale, minimum);
  }
};

struct CodesQ5K {
  static constexpr int kBytes = 176, kRun = 32, kZero = 0;
  static constexpr bool kHasMinimum = true;

  static __m512i codes(const uint8_t* chunk, int quarter) {
    const __m512i four = masked(_mm512_srlv_epi16(both_halves(chunk + 48 + 32 * quarter), shifts(0, 4)), 15);
    // Bits 2 quarter and 2 quarter + 1 become the fifth.
    const short first = static_cast<short>(2 * quarter - 4), second = static_cast<short>(2 * quarter - 3);
    const __m512i bits = both_halves(chunk + 16);
    const __m512i fifth =
        quarter < 2 ? _mm512_sllv_epi16(bits, shifts(-first, -second)) : _mm512_srlv_epi16(bits, shifts(first, second));
    return select(four, fifth, _mm512_set1_epi8(16));
  }
  static void scales(const TileRows& rows, int64_t chunk, int, float* scale, float* minimum) {
    scales_q45_k(rows, chunk, scale, minimum);
  }
};

struct CodesQ6K {
  static constexpr int kBytes = 210, kRun = 16, kZero = 32;
  static constexpr bool kHasMinimum = false;

  static __m512i codes(const uint8_t* chunk, int quarter) {
    const __m512i low = _mm512_loadu_si512(chunk + 64 * (quarter / 2));
    const __m512i high = both_halves(chunk + 128 + 32 * (quarter / 2));
    if (quarter % 2 == 0) return select(masked(low, 15), _mm512_sllv_epi16(high, shifts(4, 2)), _mm512_set1_epi8(48));
    return select(masked(_mm512_srli_epi16(low, 4), 15), _mm512_srlv_epi16(high, shifts(0, 2)), _mm512_set1_epi8(48));
  }
  static void scales(const TileRows& rows, int64_t chunk, int, float* scale, float*) {
    const __m512 d = low_halves(_mm512_srli_epi32(rows.words(chunk + 206), 16));
    __m512i words[4];
    four_words(rows, chunk + 192, words);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      const __m512i byte = _mm512_srai_epi32(_mm512_slli_epi32(words[j / 4], 24 - 8 * (j % 4)), 24);
      _mm512_storeu_ps(scale + 16 * j, _mm512_mul_ps(d, _mm512_cvtepi32_ps(byte)));
    }
  }
};

// Eight blocks.
struct CodesQ8 {
  static constexpr int kBytes = 8 * 34, kRun = 32, kZero = 128;
  static constexpr bool kHasMinimum = false;

  static __m512i codes(const uint8_t* chunk, int quarter) {
    const auto half = [&](int part) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(chunk + 34 * (2 * quarter + part) + 2));
    };
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(half(0)), half(1), 1);
    return _mm512_xor_si512(both, _mm512_set1_epi8(static_cast<char>(0x80)));
  }
  static void scales(const TileRows& rows, int64_t chunk, int num_quarters, float* scale, float*) {
    for (int j = 0; j < 2 * num_quarters; ++j) _mm512_storeu_ps(scale + 16 * j, low_halves(rows.words(chunk + 34 * j)));
  }
};

}  // namespace
}  // namespace moescope
