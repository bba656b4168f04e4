// How weight matrices lie on the card: the bytes of the file, in an order in which a warp reads 512 of them at once and in which
// both the vector path (dot4, one lane a row) and the matrix path (mma) find their registers without a shuffle.
//
// Rows are taken in groups of 32 and elements in quads of 128; a quad is four units of 32. The record of (group, quad) is
//
//   low     a unit's low four bits (Q8_0: all eight) of each row   chunks of 16 bytes, (chunk, lane)
//   high    the bits above them                                    chunks of 16 bytes, (chunk, lane)
//   scales  those of the quad's units                              parts by lane
//
// and, for blocks of 256, two records are followed by what they share, by lane. lane = row % 32.
// A unit has eight words; element i of it is byte i % 4 of word i / 4.
//   low    words 0 to 3 in the low nibbles of its 16 bytes, words 4 to 7 in the high ones; Q8_0: two chunks, words 0 to 3 and 4 to 7
//   high   one bit an element: one word a unit, bit 8 b + w for byte b of word w;
//          two bits: two words a unit, bits 8 b + 2 (w % 4) and the next of word w / 4
//   scales  Q4_0 Q5_0 Q8_0  d[4]          Q4_1 Q5_1  (d, m)[4]         halves
//           Q4_K Q5_K  u8[4]: S and above it the low two bits of M, then, behind those of all lanes, u16: the high four bits of the
//                      four M;    shared: d, dmin
//           Q6_K       i8[4][2];  shared: d
// BF16 and F16 have no lanes by row but the fragments of mma_bf16, m16n8k16, whose A operand they are: chunks (step, tile, lane),
// eight steps of 16 elements, two tiles of 16 rows. Step s has the elements 32 (s / 2) + 8 t + 4 (s % 2) + p, p < 4, of thread t of four
// as its columns 2t, 2t + 1, 2t + 8, 2t + 9: so a thread's activations for two steps are 16 bytes side by side.
// F32: chunks of four elements, (chunk, lane).
//
// Rows are filled up with zeros to a multiple of 64, elements to one of 128. A matrix of whole quads and 64 rows takes as many bytes as
// in the file.
#pragma once

#include <cstdint>

#include "core/blocks.h"
#include "cuda/global.h"

namespace moescope::cuda {

constexpr int kUnit = 32;   // elements that share a scale, and one exact integer sum
constexpr int kQuad = 128;  // elements of a record
constexpr int kQuadUnits = kQuad / kUnit;
constexpr int kGroupRows = 32;             // rows of a record
constexpr int kPairRows = 2 * kGroupRows;  // rows that one block of threads multiplies

// Bytes of a row in a record, and of what two records share.
struct PackedShape {
  int low, high, scales, shared;

  MOESCOPE_ANYWHERE constexpr int quad_bytes() const { return (low + high + scales) * kGroupRows; }
  MOESCOPE_ANYWHERE constexpr int pair_bytes() const { return 2 * quad_bytes() + shared * kGroupRows; }
};

// `low` is 0 for types that have no such form.
MOESCOPE_ANYWHERE constexpr PackedShape packed_shape(DType type) {
  switch (type) {
    case DType::F32: return {4 * kQuad, 0, 0, 0};
    case DType::F16:
    case DType::BF16: return {2 * kQuad, 0, 0, 0};
    case DType::Q4_0: return {64, 0, 8, 0};
    case DType::Q4_1: return {64, 0, 16, 0};
    case DType::Q5_0: return {64, 16, 8, 0};
    case DType::Q5_1: return {64, 16, 16, 0};
    case DType::Q8_0: return {128, 0, 8, 0};
    case DType::Q4_K: return {64, 0, 6, 4};
    case DType::Q5_K: return {64, 16, 6, 4};
    case DType::Q6_K: return {64, 32, 8, 2};
    default: return {0, 0, 0, 0};
  }
}

constexpr bool can_pack(DType type) { return packed_shape(type).low != 0; }

// Types whose products are exact integer sums over units, with activations rounded to 8 bits.
MOESCOPE_ANYWHERE constexpr bool is_integer_type(DType type) {
  return type != DType::F32 && type != DType::F16 && type != DType::BF16;
}

MOESCOPE_ANYWHERE constexpr int num_quads(int64_t cols) { return static_cast<int>((cols + kQuad - 1) / kQuad); }

// Where the record of a quad begins in its group, and where what it shares with its neighbour does.
MOESCOPE_ANYWHERE constexpr int64_t quad_offset(PackedShape shape, int quad) {
  return static_cast<int64_t>(quad / 2) * shape.pair_bytes() + quad % 2 * shape.quad_bytes();
}
MOESCOPE_ANYWHERE constexpr int64_t shared_offset(PackedShape shape, int quad) {
  return static_cast<int64_t>(quad / 2) * shape.pair_bytes() + 2 * shape.quad_bytes();
}

// Blocks of 256 come in whole pairs of quads.
MOESCOPE_ANYWHERE constexpr int64_t group_bytes(DType type, int quads) {
  const PackedShape shape = packed_shape(type);
  return shape.shared == 0 ? static_cast<int64_t>(quads) * shape.quad_bytes()
                           : static_cast<int64_t>((quads + 1) / 2) * shape.pair_bytes();
}
MOESCOPE_ANYWHERE constexpr int64_t packed_groups(int64_t rows) { return (rows + kPairRows - 1) / kPairRows * 2; }
MOESCOPE_ANYWHERE constexpr int64_t packed_bytes(DType type, int64_t rows, int64_t cols) {
  return packed_groups(rows) * group_bytes(type, num_quads(cols));
}

// A matrix (rows, cols) on the device.
struct PackedMatrix {
  DType type = DType::F32;
  Global<const uint8_t> data = nullptr;
  int rows = 0;
  int cols = 0;

  MOESCOPE_ANYWHERE int quads() const { return num_quads(cols); }
  MOESCOPE_ANYWHERE Global<const uint8_t> group(int64_t index) const {
    return data + index * group_bytes(type, quads());
  }
};

}  // namespace moescope::cuda
