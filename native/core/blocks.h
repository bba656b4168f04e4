// Storage types of weights, and how each becomes fp32. This page lists every layout; the code follows it line by line.
//
// A row of a matrix is a run of blocks without padding. In a block, numbers are little-endian; `x[n]@k` is n of them
// from byte k on, u8 unless it says otherwise; d, m and dmin are IEEE halves; i is the index of an element.
//
// clang-format off
// 32 elements. n: nibble of byte i % 16 of qs, the low one for i < 16, the high one for i >= 16; h: bit i of qh
//   Q4_0     18 B  d@0 qs[16]@2                    d * (n - 8)
//   Q4_1     20 B  d@0 m@2 qs[16]@4                d * n + m
//   Q5_0     22 B  d@0 u32 qh@2 qs[16]@6           d * (n + 16 h - 16)
//   Q5_1     24 B  d@0 m@2 u32 qh@4 qs[16]@8       d * (n + 16 h) + m
//   Q8_0     34 B  d@0 i8 q[32]@2                  d * q[i]
//   IQ4_NL   18 B  d@0 qs[16]@2                    d * T[n]                        T = kIq4Values of codebooks.h
//   MXFP4    17 B  e@0 qs[16]@1                    2^(e - 128) * F[n]              F = kFp4Doubled of codebooks.h
//
// 64 elements in four groups of 16. g = i / 16; n: nibble of byte 8g + i % 8 of qs, low for i % 16 < 8, else high
//   NVFP4    36 B  e[4]@0 qs[32]@4                 E4M3(e[g]) / 2 * F[n], bit 7 of e ignored, and 0 if e = 127
//
// 256 elements. j = i / 32, l = i % 32 (groups of 32); s = i / 16 (groups of 16); a = i / 128, r = j % 4;
// q: bits 2r and 2r + 1 of qs[32a + l]
//   Q2_K     84 B  sc[16]@0 qs[64]@16 d@80 dmin@82
//                  d * (sc[s] & 15) * q - dmin * (sc[s] >> 4)
//   Q3_K    110 B  hm[32]@0 qs[64]@32 sc[12]@96 d@108
//                  d * (S - 32) * (q + 4 * bit j of hm[l] - 4)
//                  S = nibble s / 8 of sc[s % 8], plus 16 * bit pair s / 4 of sc[8 + s % 4]
//   Q4_K    144 B  d@0 dmin@2 sc[12]@4 qs[128]@16
//                  d * S * n - dmin * M, n = nibble j % 2 of qs[32 (j / 2) + l]
//                  j < 4:  S = sc[j] & 63, M = sc[j + 4] & 63
//                  j >= 4: S = low nibble of sc[j + 4] + 16 * (sc[j - 4] >> 6), M = high nibble + 16 * (sc[j] >> 6)
//   Q5_K    176 B  d@0 dmin@2 sc[12]@4 qh[32]@16 qs[128]@48
//                  d * S * (n + 16 * bit j of qh[l]) - dmin * M, the rest as in Q4_K
//   Q6_K    210 B  ql[128]@0 qh[64]@128 i8 sc[16]@192 d@208
//                  d * sc[s] * (n + 16 * bit pair r of qh[32a + l] - 32), n = nibble r / 2 of ql[64a + 32 (r % 2) + l]
//   IQ4_XS  136 B  d@0 u16 sh@2 sl[4]@4 qs[128]@8
//                  d * (S - 32) * T[n], n = nibble l / 16 of qs[16j + l % 16]
//                  S = nibble j of sl, plus 16 * bit pair j of sh
//   TQ1_0    54 B  qs[48]@0 qh[4]@48 d@52
//                  d * (t - 1), t = 3 * (3^k * byte mod 256) / 256 rounded down: digit k of five in a byte (four in qh)
//                  elements: for each digit the bytes qs[0..31], then for each digit qs[32..47], then for each digit qh
//   TQ2_0    66 B  qs[64]@0 d@64
//                  d * (q - 1)
//
// 256 elements as points of a codebook G of codebooks.h. p = i / 8 (in IQ3 i / 4): the point, k = i % 8 (i % 4): the
// coordinate; x = G[code][k], negative where bit k of the point's sign bits is set. Where eight elements have seven
// sign bits, the eighth makes the number of set bits even. S: nibble s of sc (in IQ3_S nibble j)
//   IQ2_XXS  66 B  d@0, then for each j c[4], u32 w
//                  d * ((w >> 28) + 1/2) / 4 * x, code c[p % 4], signs the seven bits of w from 7 (p % 4) on
//   IQ2_XS   74 B  d@0 u16 c[32]@2 sc[8]@66
//                  d * (S + 1/2) / 4 * x, code c[p] & 511, signs c[p] >> 9
//   IQ2_S    82 B  d@0 c[32]@2 sg[32]@34 qh[8]@66 sc[8]@74
//                  d * (S + 1/2) / 4 * x, code c[p] + 256 * bit pair p % 4 of qh[j], signs sg[p]
//   IQ3_XXS  98 B  d@0 c[64]@2 u32 w[8]@66
//                  d * ((w[j] >> 28) + 1/2) / 2 * x, code c[p], signs of eight elements as in IQ2_XXS
//   IQ3_S   110 B  d@0 c[64]@2 qh[8]@66 sg[32]@74 sc[4]@106
//                  d * (2S + 1) * x, code c[p] + 256 * bit p % 8 of qh[j], signs nibble p of sg
//   IQ1_S    50 B  d@0 c[32]@2 u16 qh[8]@34        code c[p] + 256 * the three bits of qh[j] from 3 (p % 4) on
//                  d * (2S + 1) * (G[code][k] +- 1/8), S = bits 12 to 14 of qh[j], minus if bit 15 is set
//   IQ1_M    56 B  c[32]@0 qh[16]@32 u16 sc[4]@48  code c[p] + 256 * (N & 7), N = nibble p of qh
//                  d * (2S + 1) * (G[code][k] +- 1/8), S = three bits of sc[s / 4] from 3 (s % 4) on, minus if N & 8
//                  the four nibbles of d are the top ones of sc, the lowest first
// clang-format on
//
// Every product here has at most 24 significant bits, so it is exact in fp32, and types with a minimum round once, in
// the last addition. So fused multiply-add, or another association of factors, gives the same bits on every backend
// (but integers that are multiplied first lose the sign of a zero).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace moescope {

static_assert(std::endian::native == std::endian::little, "weights are read in place: the host must be little-endian");

// In the order of DType in src/native/binding.ts.
enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ4_NL,
  IQ4_XS,
  TQ1_0,
  TQ2_0,
  MXFP4,
  NVFP4,
};

inline constexpr int kDTypeCount = 26;

struct BlockShape {
  int elements;
  int bytes;
};

// Elements and bytes of one block.
constexpr BlockShape block_shape(DType type) {
  constexpr std::array<BlockShape, kDTypeCount> kShapes = {{
      {1, 4},    {1, 2},     {1, 2},                                                     // F32 F16 BF16
      {32, 18},  {32, 20},   {32, 22},   {32, 24},   {32, 34},                           // Q4_0 Q4_1 Q5_0 Q5_1 Q8_0
      {256, 84}, {256, 110}, {256, 144}, {256, 176}, {256, 210},                         // Q2_K Q3_K Q4_K Q5_K Q6_K
      {256, 50}, {256, 56},  {256, 66},  {256, 74},  {256, 82},  {256, 98}, {256, 110},  // IQ1_S .. IQ3_S
      {32, 18},  {256, 136}, {256, 54},  {256, 66},  {32, 17},   {64, 36},               // IQ4_NL .. NVFP4
  }};
  return kShapes[static_cast<size_t>(type)];
}

// The name that GGUF and safetensors use, e.g. "Q4_K".
const char* dtype_name(DType type);

// The type of that exact name; nothing for any other text.
std::optional<DType> parse_dtype(std::string_view name);

// Writes `elements` values of a row from its blocks, which may lie at any address. Throws INVALID_ARGUMENT unless
// `elements` is a whole number of blocks.
void dequantize_row(DType type, const void* blocks, float* values, int64_t elements);

}  // namespace moescope
