// From a row of blocks as the file has them to the records of packed.h.
#pragma once

#include "cuda/file_blocks.cuh"

namespace moescope::cuda {

// Where the record of a quad is written.
struct PackedPlace {
  Global<uint8_t> record;
  Global<uint8_t> shared;  // what it shares with its neighbour
  int lane;                // row % 32
};

// The codes of one unit.
template <DType kType>
__device__ inline void pack_codes(Bytes block, int first, int unit, PackedPlace place) {
  constexpr PackedShape kShape = packed_shape(kType);
  uint32_t words[8] = {}, high[2] = {};
  for (int i = 0; i < kUnit; ++i) {
    const uint32_t code = static_cast<uint32_t>(raw_code<kType>(block, first + i)) & 255u;
    const int word = i / 4, byte = i % 4;
    if (kType == DType::Q8_0) {
      words[word] |= code << (8 * byte);
      continue;
    }
    words[word % 4] |= (code & 15u) << (8 * byte + 4 * (word / 4));
    if (kShape.high == 16) high[0] |= code >> 4 << (8 * byte + word);
    if (kShape.high == 32) high[word / 4] |= code >> 4 << (8 * byte + 2 * (word % 4));
  }
  constexpr int kChunks = kShape.low / 64;  // of a unit
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const Global<uint32_t> out = as<uint32_t>(place.record + (unit * kChunks + chunk) * 512 + 16 * place.lane);
    for (int word = 0; word < 4; ++word) out[word] = words[4 * chunk + word];
  }
  const Global<uint8_t> above = place.record + kShape.low * kGroupRows;
  if (kShape.high == 16) as<uint32_t>(above)[4 * place.lane + unit] = high[0];
  if (kShape.high == 32) {
    const Global<uint32_t> out = as<uint32_t>(above + unit / 2 * 512 + 16 * place.lane + unit % 2 * 8);
    out[0] = high[0], out[1] = high[1];
  }
}

template <DType kType>
__device__ inline void pack_scales(const Bytes (&blocks)[kQuadUnits], int first, PackedPlace place) {
  constexpr PackedShape kShape = packed_shape(kType);
  const Global<uint8_t> scales = place.record + (kShape.low + kShape.high) * kGroupRows;
  if constexpr (kType == DType::Q4_K || kType == DType::Q5_K) {
    uint32_t low = 0, high = 0;
    for (int unit = 0; unit < kQuadUnits; ++unit) {
      const SixBits factors = six_bits(blocks[0], first / 32 + unit);
      low |= static_cast<uint32_t>(factors.scale | (factors.minimum & 3) << 6) << (8 * unit);
      high |= static_cast<uint32_t>(factors.minimum >> 2) << (4 * unit);
    }
    as<uint32_t>(scales)[place.lane] = low;
    as<uint16_t>(scales + 4 * kGroupRows)[place.lane] = static_cast<uint16_t>(high);
    as<uint32_t>(place.shared)[place.lane] = u32_at(blocks[0]);
  } else if constexpr (kType == DType::Q6_K) {
    for (int half = 0; half < 8; ++half) scales[8 * place.lane + half] = blocks[0][192 + first / 16 + half];
    as<uint16_t>(place.shared)[place.lane] = static_cast<uint16_t>(u16_at(blocks[0] + 208));
  } else {
    constexpr int kBytes = kShape.scales / kQuadUnits;  // d, or d and m
    for (int unit = 0; unit < kQuadUnits; ++unit) {
      if (blocks[unit] == nullptr) continue;
      for (int byte = 0; byte < kBytes; ++byte) {
        scales[kShape.scales * place.lane + kBytes * unit + byte] = blocks[unit][byte];
      }
    }
  }
}

// Byte at which element `e` of a quad begins in the record, for the types that are stored element by element.
template <DType kType>
__device__ inline int element_offset(int row, int e) {
  if constexpr (kType == DType::F32) return e / 4 * 512 + row * 16 + e % 4 * 4;
  const int step = e / 32 * 2 + e % 8 / 4, thread = e % 32 / 8, p = e % 4;
  const int lane = row % 8 * 4 + thread, reg = p / 2 * 2 + row % 16 / 8;
  return (step * 2 + row / 16) * 512 + lane * 16 + reg * 4 + p % 2 * 2;
}

// One row's part of a record, which holds zeros before. `row`: the row in the file, `cols` elements.
template <DType kType>
__device__ inline void pack_quad(Bytes row, int64_t cols, int quad, PackedPlace place) {
  constexpr BlockShape kBlock = block_shape(kType);
  const int64_t start = static_cast<int64_t>(quad) * kQuad;
  const int count = static_cast<int>(cols - start < kQuad ? cols - start : kQuad);
  if constexpr (!is_integer_type(kType)) {
    for (int e = 0; e < count; ++e) {
      const Global<uint8_t> out = place.record + element_offset<kType>(place.lane, e);
      for (int byte = 0; byte < kBlock.bytes; ++byte) out[byte] = row[(start + e) * kBlock.bytes + byte];
    }
  } else {
    Bytes blocks[kQuadUnits] = {};
    for (int unit = 0; unit * kUnit < count; ++unit) {
      const int64_t element = start + unit * kUnit;
      blocks[unit] = row + element / kBlock.elements * kBlock.bytes;
      pack_codes<kType>(blocks[unit], static_cast<int>(element % kBlock.elements), unit, place);
    }
    pack_scales<kType>(blocks, static_cast<int>(start % kBlock.elements), place);
  }
}

// Calls visit.template operator()<type>() for the type, one that can be packed.
template <typename Visit>
__device__ inline void with_type(DType type, Visit visit) {
  switch (type) {
    case DType::F32: return visit.template operator()<DType::F32>();
    case DType::F16: return visit.template operator()<DType::F16>();
    case DType::BF16: return visit.template operator()<DType::BF16>();
    case DType::Q4_0: return visit.template operator()<DType::Q4_0>();
    case DType::Q4_1: return visit.template operator()<DType::Q4_1>();
    case DType::Q5_0: return visit.template operator()<DType::Q5_0>();
    case DType::Q5_1: return visit.template operator()<DType::Q5_1>();
    case DType::Q8_0: return visit.template operator()<DType::Q8_0>();
    case DType::Q4_K: return visit.template operator()<DType::Q4_K>();
    case DType::Q5_K: return visit.template operator()<DType::Q5_K>();
    case DType::Q6_K: return visit.template operator()<DType::Q6_K>();
    default: return;
  }
}

}  // namespace moescope::cuda
