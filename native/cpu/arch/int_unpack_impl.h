// Weight rows to an IntTile: for each storage type the scales of a block of 16 rows side by side, then the bytes of each row in order,
// then four bytes of each row side by side. Plain loops of fixed length, which compilers vectorise; the including file defines
// `interleave_64`, `nibbles_16` and `five_bits_32` before, as byte_layout_portable.h
// does. Layouts: core/blocks.h. Scales are products that fp32 holds exactly.
#pragma once

#include <array>
#include <cstring>

#include "core/codebooks.h"
#include "core/half.h"
#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

constexpr int kRows = kTileColumns;

// One block of each of 16 rows.
using BlockRows = std::array<const uint8_t*, kRows>;

// Scales and minima of a block's runs: run b of row r at 16 b + r.
struct ScalesOut {
  float* scale;
  float* minimum;
};

void halves_at(const BlockRows& blocks, int offset, float* values) {
  uint16_t bits[kRows];
  for (int row = 0; row < kRows; ++row) std::memcpy(&bits[row], blocks[row] + offset, sizeof bits[row]);
  for (int row = 0; row < kRows; ++row) values[row] = half_to_float(bits[row]);
}

void words_at(const BlockRows& blocks, int offset, uint32_t* values) {
  for (int row = 0; row < kRows; ++row) std::memcpy(&values[row], blocks[row] + offset, sizeof values[row]);
}

template <int kOffset>
void scales_d(const BlockRows& blocks, ScalesOut out) {
  halves_at(blocks, kOffset, out.scale);
}

void scales_d_m(const BlockRows& blocks, ScalesOut out) {
  float m[kRows];
  halves_at(blocks, 0, out.scale);
  halves_at(blocks, 2, m);
  for (int row = 0; row < kRows; ++row) out.minimum[row] = -m[row];
}

void scales_q2_k(const BlockRows& blocks, ScalesOut out) {
  float d[kRows], dmin[kRows];
  halves_at(blocks, 80, d);
  halves_at(blocks, 82, dmin);
  for (int part = 0; part < 4; ++part) {
    uint32_t four[kRows];
    words_at(blocks, 4 * part, four);
    for (int run = 0; run < 4; ++run) {
      for (int row = 0; row < kRows; ++row) {
        const int byte = static_cast<int>(four[row] >> (8 * run) & 0xFFu), place = 16 * (4 * part + run) + row;
        out.scale[place] = d[row] * static_cast<float>(byte & 15);
        out.minimum[place] = dmin[row] * static_cast<float>(byte >> 4);
      }
    }
  }
}

void scales_q3_k(const BlockRows& blocks, ScalesOut out) {
  float d[kRows];
  uint32_t words[3][kRows];
  halves_at(blocks, 108, d);
  for (int part = 0; part < 3; ++part) words_at(blocks, 96 + 4 * part, words[part]);
  for (int run = 0; run < 16; ++run) {
    const uint32_t* low_word = words[run / 4 % 2];
    const int low_shift = 8 * (run % 4) + 4 * (run / 8), high_shift = 8 * (run % 4) + 2 * (run / 4);
    for (int row = 0; row < kRows; ++row) {
      const uint32_t scale = (low_word[row] >> low_shift & 15u) | (words[2][row] >> high_shift & 3u) << 4;
      out.scale[16 * run + row] = d[row] * static_cast<float>(static_cast<int>(scale) - 32);
    }
  }
}

// The eight 6-bit scales and minima of Q4_K and Q5_K.
void scales_q45_k(const BlockRows& blocks, ScalesOut out) {
  float d[kRows], dmin[kRows];
  uint32_t words[3][kRows];
  halves_at(blocks, 0, d);
  halves_at(blocks, 2, dmin);
  for (int part = 0; part < 3; ++part) words_at(blocks, 4 + 4 * part, words[part]);
  for (int j = 0; j < 8; ++j) {
    const int shift = 8 * (j % 4);
    for (int row = 0; row < kRows; ++row) {
      const uint32_t first = words[0][row] >> shift, second = words[1][row] >> shift, third = words[2][row] >> shift;
      const uint32_t s = j < 4 ? first & 63u : (third & 15u) | (first >> 6 & 3u) << 4;
      const uint32_t m = j < 4 ? second & 63u : (third >> 4 & 15u) | (second >> 6 & 3u) << 4;
      out.scale[16 * j + row] = d[row] * static_cast<float>(static_cast<int>(s));
      out.minimum[16 * j + row] = dmin[row] * static_cast<float>(static_cast<int>(m));
    }
  }
}

void scales_q6_k(const BlockRows& blocks, ScalesOut out) {
  float d[kRows];
  halves_at(blocks, 208, d);
  for (int part = 0; part < 4; ++part) {
    uint32_t four[kRows];
    words_at(blocks, 192 + 4 * part, four);
    for (int run = 0; run < 4; ++run) {
      for (int row = 0; row < kRows; ++row) {
        const int scale = static_cast<int8_t>(four[row] >> (8 * run) & 0xFFu);
        out.scale[16 * (4 * part + run) + row] = d[row] * static_cast<float>(scale);
      }
    }
  }
}

void scales_iq4_xs(const BlockRows& blocks, ScalesOut out) {
  float d[kRows];
  uint32_t high[kRows], low[kRows];
  halves_at(blocks, 0, d);
  words_at(blocks, 0, high);  // d, then the high bits
  words_at(blocks, 4, low);
  for (int j = 0; j < 8; ++j) {
    for (int row = 0; row < kRows; ++row) {
      const uint32_t scale = (low[row] >> (4 * j) & 15u) | (high[row] >> (16 + 2 * j) & 3u) << 4;
      out.scale[16 * j + row] = d[row] * static_cast<float>(static_cast<int>(scale) - 32);
    }
  }
}

template <int kOffset>
void values_nibbles(const uint8_t* block, uint8_t* q) {
  nibbles_16(block + kOffset, q);
}

template <int kOffset>
void values_five_bits(const uint8_t* block, uint8_t* q) {
  uint32_t high;
  std::memcpy(&high, block + kOffset, sizeof high);
  five_bits_32(block + kOffset + 4, high, q);
}

void values_q8_0(const uint8_t* block, uint8_t* q) {
  for (int i = 0; i < 32; ++i) q[i] = block[2 + i] ^ 0x80;
}

// The levels of IQ4 as unsigned bytes: plus 128.
constexpr std::array<uint8_t, 16> kIq4Bytes = [] {
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(static_cast<int>(kIq4Values[i]) + 128);
  return bytes;
}();

void values_iq4_nl(const uint8_t* block, uint8_t* q) {
  nibbles_16(block + 2, q);
  for (int i = 0; i < 32; ++i) q[i] = kIq4Bytes[q[i]];
}

void values_iq4_xs(const uint8_t* block, uint8_t* q) {
  for (int j = 0; j < 8; ++j) nibbles_16(block + 8 + 16 * j, q + 32 * j);
  for (int i = 0; i < 256; ++i) q[i] = kIq4Bytes[q[i]];
}

void values_q2_k(const uint8_t* block, uint8_t* q) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* packed = block + 16 + 32 * half;
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 32; ++l) q[128 * half + 32 * r + l] = (packed[l] >> (2 * r)) & 3;
    }
  }
}

void values_q3_k(const uint8_t* block, uint8_t* q) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* packed = block + 32 + 32 * half;
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 32; ++l) {
        const int two = (packed[l] >> (2 * r)) & 3, third = (block[l] >> (4 * half + r)) & 1;
        q[128 * half + 32 * r + l] = static_cast<uint8_t>(two | third << 2);
      }
    }
  }
}

void values_q4_k(const uint8_t* block, uint8_t* q) {
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* packed = block + 16 + 32 * pair;
    for (int l = 0; l < 32; ++l) q[64 * pair + l] = packed[l] & 15;
    for (int l = 0; l < 32; ++l) q[64 * pair + 32 + l] = packed[l] >> 4;
  }
}

void values_q5_k(const uint8_t* block, uint8_t* q) {
  const uint8_t* high = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* packed = block + 48 + 32 * pair;
    for (int l = 0; l < 32; ++l) {
      q[64 * pair + l] = static_cast<uint8_t>((packed[l] & 15) | ((high[l] >> (2 * pair)) & 1) << 4);
    }
    for (int l = 0; l < 32; ++l) {
      q[64 * pair + 32 + l] = static_cast<uint8_t>((packed[l] >> 4) | ((high[l] >> (2 * pair + 1)) & 1) << 4);
    }
  }
}

void values_q6_k(const uint8_t* block, uint8_t* out) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    uint8_t* q = out + 128 * half;
    for (int l = 0; l < 32; ++l) q[l] = static_cast<uint8_t>((low[l] & 15) | (high[l] & 3) << 4);
    for (int l = 0; l < 32; ++l) q[32 + l] = static_cast<uint8_t>((low[32 + l] & 15) | ((high[l] >> 2) & 3) << 4);
    for (int l = 0; l < 32; ++l) q[64 + l] = static_cast<uint8_t>((low[l] >> 4) | ((high[l] >> 4) & 3) << 4);
    for (int l = 0; l < 32; ++l) q[96 + l] = static_cast<uint8_t>((low[32 + l] >> 4) | (high[l] >> 6) << 4);
  }
}

// All blocks of up to 16 rows, 256 elements of each row at a time. Missing rows repeat the first.
template <DType kType, void (*kScales)(const BlockRows&, ScalesOut), void (*kValues)(const uint8_t*, uint8_t*)>
void unpack_rows(const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length, const IntTileView& tile) {
  constexpr BlockShape kBlock = block_shape(kType);
  constexpr int kChunk = 256;
  alignas(64) uint8_t values[kRows * kChunk];
  float unused_minimum[kRows * kChunk / kActivationRun];
  const int runs_per_block = kBlock.elements / tile.run;
  for (int64_t start = 0; start < length; start += kChunk) {
    const int count = static_cast<int>(length - start < kChunk ? length - start : kChunk);
    for (int done = 0; done < count; done += kBlock.elements) {
      const int64_t block = (start + done) / kBlock.elements, run = block * runs_per_block * kRows;
      BlockRows blocks;
      for (int row = 0; row < kRows; ++row) {
        blocks[row] = rows + (row < num_rows ? row : 0) * row_bytes + block * kBlock.bytes;
      }
      kScales(blocks, {tile.scale + run, tile.minimum != nullptr ? tile.minimum + run : unused_minimum});
      for (int row = 0; row < kRows; ++row) kValues(blocks[row], values + row * kChunk + done);
    }
    uint8_t* q = tile.q + start * kRows;
    int done = 0;
    for (; done + 64 <= count; done += 64) interleave_64(values + done, kChunk, q + done * kRows);
    for (int row = 0; row < kRows; ++row) {
      for (int i = done; i < count; i += 4) std::memcpy(q + i * kRows + 4 * row, values + row * kChunk + i, 4);
    }
  }
}

// Does nothing for a type without this form: see has_int_form().
void unpack(DType dtype, const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length,
            const IntTileView& tile) {
  switch (dtype) {
#define MOESCOPE_UNPACK(type, scales, values) \
  case DType::type: return unpack_rows<DType::type, scales, values>(rows, row_bytes, num_rows, length, tile)
    MOESCOPE_UNPACK(Q4_0, scales_d<0>, values_nibbles<2>);
    MOESCOPE_UNPACK(Q4_1, scales_d_m, values_nibbles<4>);
    MOESCOPE_UNPACK(Q5_0, scales_d<0>, values_five_bits<2>);
    MOESCOPE_UNPACK(Q5_1, scales_d_m, values_five_bits<4>);
    MOESCOPE_UNPACK(Q8_0, scales_d<0>, values_q8_0);
    MOESCOPE_UNPACK(Q2_K, scales_q2_k, values_q2_k);
    MOESCOPE_UNPACK(Q3_K, scales_q3_k, values_q3_k);
    MOESCOPE_UNPACK(Q4_K, scales_q45_k, values_q4_k);
    MOESCOPE_UNPACK(Q5_K, scales_q45_k, values_q5_k);
    MOESCOPE_UNPACK(Q6_K, scales_q6_k, values_q6_k);
    MOESCOPE_UNPACK(IQ4_NL, scales_d<0>, values_iq4_nl);
    MOESCOPE_UNPACK(IQ4_XS, scales_iq4_xs, values_iq4_xs);
#undef MOESCOPE_UNPACK
    default: return;
  }
}

}  // namespace
}  // namespace moescope
