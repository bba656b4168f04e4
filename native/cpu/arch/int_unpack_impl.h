// Weight rows to bytes, scales and minima, one function per storage type: plain loops of fixed length that compilers vectorise.
// Layouts: core/blocks.h. Scales are products that fp32 holds exactly, as in dequantisation.
#pragma once

#include <array>
#include <cstring>

#include "core/codebooks.h"
#include "core/half.h"
#include "cpu/arch/int_kernels.h"

namespace moescope {
namespace {

// The levels of IQ4 as unsigned bytes: plus 128.
constexpr std::array<uint8_t, 16> kIq4Bytes = [] {
  std::array<uint8_t, 16> bytes{};
  for (size_t i = 0; i < 16; ++i) bytes[i] = static_cast<uint8_t>(static_cast<int>(kIq4Values[i]) + 128);
  return bytes;
}();

// Where one row goes: bytes in order, scale and minimum of run b at index 16 b.
struct RowOut {
  uint8_t* q;
  float* scale;
  float* minimum;
};

float half_at(const uint8_t* source) {
  uint16_t bits;
  std::memcpy(&bits, source, sizeof bits);
  return half_to_float(bits);
}

uint32_t word_at(const uint8_t* source) {
  uint32_t bits;
  std::memcpy(&bits, source, sizeof bits);
  return bits;
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

// Bit i of `high` becomes bit 4 of q[i]: each byte of `high` is spread over eight bytes, of which each keeps its own bit.
void add_fifth_bits(uint32_t high, uint8_t* __restrict q) {
  for (int part = 0; part < 4; ++part) {
    const uint64_t spread = (high >> (8 * part) & 0xFFu) * 0x0101010101010101u & 0x8040201008040201u;
    const uint64_t ones = (spread + 0x7F7F7F7F7F7F7F7Fu) >> 7 & 0x0101010101010101u;  // 1 where the byte is not 0
    uint64_t eight;
    std::memcpy(&eight, q + 8 * part, sizeof eight);
    eight |= ones << 4;
    std::memcpy(q + 8 * part, &eight, sizeof eight);
  }
}

void unpack_q4_0(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  nibbles_16(block + 2, out.q);
}

void unpack_q4_1(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  *out.minimum = -half_at(block + 2);
  nibbles_16(block + 4, out.q);
}

void unpack_q5_0(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  nibbles_16(block + 6, out.q);
  add_fifth_bits(word_at(block + 2), out.q);
}

void unpack_q5_1(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  *out.minimum = -half_at(block + 2);
  nibbles_16(block + 8, out.q);
  add_fifth_bits(word_at(block + 4), out.q);
}

void unpack_q8_0(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  for (int i = 0; i < 32; ++i) out.q[i] = block[2 + i] ^ 0x80;
}

void unpack_iq4_nl(const uint8_t* block, RowOut out) {
  *out.scale = half_at(block);
  nibbles_16(block + 2, out.q);
  for (int i = 0; i < 32; ++i) out.q[i] = kIq4Bytes[out.q[i]];
}

void unpack_q2_k(const uint8_t* block, RowOut out) {
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int run = 0; run < 16; ++run) {
    out.scale[16 * run] = d * static_cast<float>(block[run] & 15);
    out.minimum[16 * run] = dmin * static_cast<float>(block[run] >> 4);
  }
  for (int half = 0; half < 2; ++half) {
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 32; ++l) out.q[128 * half + 32 * r + l] = (block[16 + 32 * half + l] >> (2 * r)) & 3;
    }
  }
}

void unpack_q3_k(const uint8_t* block, RowOut out) {
  const float d = half_at(block + 108);
  const uint8_t* packed = block + 96;
  for (int run = 0; run < 16; ++run) {
    const int low = (packed[run % 8] >> (4 * (run / 8))) & 15, high = (packed[8 + run % 4] >> (2 * (run / 4))) & 3;
    out.scale[16 * run] = d * static_cast<float>((low | high << 4) - 32);
  }
  for (int half = 0; half < 2; ++half) {
    for (int r = 0; r < 4; ++r) {
      for (int l = 0; l < 32; ++l) {
        const int two = (block[32 + 32 * half + l] >> (2 * r)) & 3, third = (block[l] >> (4 * half + r)) & 1;
        out.q[128 * half + 32 * r + l] = static_cast<uint8_t>(two | third << 2);
      }
    }
  }
}

// The eight 6-bit scales and minima of Q4_K and Q5_K.
void unpack_six_bit(const uint8_t* packed, float d, float dmin, RowOut out) {
  for (int j = 0; j < 8; ++j) {
    const int s = j < 4 ? packed[j] & 63 : (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    const int m = j < 4 ? packed[j + 4] & 63 : (packed[j + 4] >> 4) | (packed[j] >> 6) << 4;
    out.scale[16 * j] = d * static_cast<float>(s);
    out.minimum[16 * j] = dmin * static_cast<float>(m);
  }
}

void unpack_q4_k(const uint8_t* block, RowOut out) {
  unpack_six_bit(block + 4, half_at(block), half_at(block + 2), out);
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* packed = block + 16 + 32 * pair;
    for (int l = 0; l < 32; ++l) out.q[64 * pair + l] = packed[l] & 15;
    for (int l = 0; l < 32; ++l) out.q[64 * pair + 32 + l] = packed[l] >> 4;
  }
}

void unpack_q5_k(const uint8_t* block, RowOut out) {
  unpack_six_bit(block + 4, half_at(block), half_at(block + 2), out);
  const uint8_t* high = block + 16;
  for (int pair = 0; pair < 4; ++pair) {
    const uint8_t* packed = block + 48 + 32 * pair;
    for (int l = 0; l < 32; ++l) {
      out.q[64 * pair + l] = static_cast<uint8_t>((packed[l] & 15) | ((high[l] >> (2 * pair)) & 1) << 4);
    }
    for (int l = 0; l < 32; ++l) {
      out.q[64 * pair + 32 + l] = static_cast<uint8_t>((packed[l] >> 4) | ((high[l] >> (2 * pair + 1)) & 1) << 4);
    }
  }
}

void unpack_q6_k(const uint8_t* block, RowOut out) {
  const float d = half_at(block + 208);
  for (int run = 0; run < 16; ++run) {
    out.scale[16 * run] = d * static_cast<float>(static_cast<int8_t>(block[192 + run]));
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + 64 * half;
    const uint8_t* high = block + 128 + 32 * half;
    uint8_t* q = out.q + 128 * half;
    for (int l = 0; l < 32; ++l) q[l] = static_cast<uint8_t>((low[l] & 15) | (high[l] & 3) << 4);
    for (int l = 0; l < 32; ++l) q[32 + l] = static_cast<uint8_t>((low[32 + l] & 15) | ((high[l] >> 2) & 3) << 4);
    for (int l = 0; l < 32; ++l) q[64 + l] = static_cast<uint8_t>((low[l] >> 4) | ((high[l] >> 4) & 3) << 4);
    for (int l = 0; l < 32; ++l) q[96 + l] = static_cast<uint8_t>((low[32 + l] >> 4) | (high[l] >> 6) << 4);
  }
}

void unpack_iq4_xs(const uint8_t* block, RowOut out) {
  const float d = half_at(block);
  const int high = block[2] | block[3] << 8;
  for (int j = 0; j < 8; ++j) {
    const int scale = ((block[4 + j / 2] >> (4 * (j % 2))) & 15) | ((high >> (2 * j)) & 3) << 4;
    out.scale[16 * j] = d * static_cast<float>(scale - 32);
    nibbles_16(block + 8 + 16 * j, out.q + 32 * j);
  }
  for (int i = 0; i < 256; ++i) out.q[i] = kIq4Bytes[out.q[i]];
}

// Rows in order to four elements of 16 rows side by side.
void interleave(const uint8_t* values, int64_t stride, int64_t length, uint8_t* q) {
  for (int row = 0; row < kTileColumns; ++row) {
    for (int64_t i = 0; i < length; i += 4) std::memcpy(q + i * kTileColumns + 4 * row, values + row * stride + i, 4);
  }
}

// All blocks of up to 16 rows, 256 elements of each row at a time.
template <DType kType, void (*kUnpackBlock)(const uint8_t*, RowOut)>
void unpack_rows(const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length, const IntTileView& tile) {
  constexpr BlockShape kBlock = block_shape(kType);
  constexpr int kChunk = 256;
  alignas(64) uint8_t values[kTileColumns * kChunk] = {};
  float unused_minimum[kTileColumns * kChunk / kActivationRun];
  const int runs_per_block = kBlock.elements / tile.run;
  for (int64_t start = 0; start < length; start += kChunk) {
    const int count = static_cast<int>(length - start < kChunk ? length - start : kChunk);
    const int64_t first_run = start / tile.run * kTileColumns;
    float* minimum = tile.minimum != nullptr ? tile.minimum + first_run : unused_minimum;
    for (int row = 0; row < num_rows; ++row) {
      const uint8_t* block = rows + row * row_bytes + start / kBlock.elements * kBlock.bytes;
      RowOut out = {values + row * kChunk, tile.scale + first_run + row, minimum + row};
      for (int done = 0; done < count; done += kBlock.elements) {
        kUnpackBlock(block, out);
        block += kBlock.bytes;
        out.q += kBlock.elements;
        out.scale += runs_per_block * kTileColumns;
        out.minimum += runs_per_block * kTileColumns;
      }
    }
    interleave(values, kChunk, count, tile.q + start * kTileColumns);
  }
}

// Does nothing for a type without this form: see int_form() in cpu/int_kernels.cpp.
void unpack(DType dtype, const uint8_t* rows, int64_t row_bytes, int num_rows, int64_t length,
            const IntTileView& tile) {
  switch (dtype) {
#define MOESCOPE_UNPACK(type, function) \
  case DType::type: return unpack_rows<DType::type, function>(rows, row_bytes, num_rows, length, tile)
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
#undef MOESCOPE_UNPACK
    default: return;
  }
}

}  // namespace
}  // namespace moescope
