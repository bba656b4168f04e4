// Votes, matrix products and matrix loads of a warp, by the lane maps that the PTX ISA documents (8.x, sections on mma.m16n8k16 with
// .bf16, mma.m16n8k32 with .s8, ldmatrix). g is the lane divided by four, t the rest.
#include <array>

#include "emulated_device.h"

namespace moescope::emulator {

namespace {

struct Vote {
  bool own;
  unsigned result;
};

}  // namespace

unsigned ballot(unsigned mask, bool vote, const char* operation, const std::source_location& where) {
  Vote own{vote, 0};
  meet_warp(mask, operation, where, &own, [](WarpArguments lanes, unsigned) {
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] != nullptr && static_cast<Vote*>(lanes[lane])->own) votes |= 1u << lane;
    }
    for (int lane = 0; lane < 32; ++lane) {
      if (lanes[lane] != nullptr) static_cast<Vote*>(lanes[lane])->result = votes;
    }
  });
  return own.result;
}

}  // namespace moescope::emulator

namespace moescope::cuda {

namespace {

constexpr int kRows = 16, kColumns = 8;

template <typename Sum>
struct Product {
  Sum (*d)[4];
  const uint32_t (*a)[4];
  const uint32_t (*b)[2];
};

float element_of(uint32_t bits, int index, float) { return bf16_to_float(static_cast<uint16_t>(bits >> 16 * index)); }
int element_of(uint32_t bits, int index, int) { return static_cast<int8_t>(bits >> 8 * index); }

// d += a b for one warp. `packed`: elements in a register. Register i of a holds row g + 8 (i odd) and the columns from
// packed * t + (i >= 2: 4 * packed) on; register i of b the same rows of its column g; d rows g and g + 8, columns 2t and 2t + 1.
template <typename Sum, int packed>
void multiply(emulator::WarpArguments lanes) {
  constexpr int kDepth = 8 * packed;
  Sum a[kRows][kDepth], b[kDepth][kColumns];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<Product<Sum>*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < packed; ++j) {
        a[g + 8 * (i % 2)][packed * t + j + 4 * packed * (i / 2)] = element_of((*own.a)[i], j, Sum{});
        if (i < 2) b[packed * t + j + 4 * packed * i][g] = element_of((*own.b)[i], j, Sum{});
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<Product<Sum>*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      for (int k = 0; k < kDepth; ++k) (*own.d)[i] += a[row][k] * b[k][column];
    }
  }
}

template <typename Sum, int packed>
void product(Sum (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* operation,
             const std::source_location& where) {
  Product<Sum> own{&d, &a, &b};
  emulator::meet_warp(~0u, operation, where, &own,
                      [](emulator::WarpArguments lanes, unsigned) { multiply<Sum, packed>(lanes); });
}

struct MatrixLoad {
  const uint16_t* row;
  uint32_t (*registers)[4];
};

template <bool is_transposed>
void load(emulator::WarpArguments lanes) {
  std::array<std::array<const uint16_t*, 8>, 4> rows;
  for (int lane = 0; lane < 32; ++lane) rows[lane / 8][lane % 8] = static_cast<MatrixLoad*>(lanes[lane])->row;
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t bits = 0;
      for (int half = 0; half < 2; ++half) {
        const int across = lane / 4, along = 2 * (lane % 4) + half;
        const uint16_t value = is_transposed ? rows[matrix][along][across] : rows[matrix][across][along];
        bits |= static_cast<uint32_t>(value) << 16 * half;
      }
      (*static_cast<MatrixLoad*>(lanes[lane])->registers)[matrix] = bits;
    }
  }
}

}  // namespace

void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const std::source_location where) {
  product<float, 2>(d, a, b, "mma_bf16", where);
}

void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const std::source_location where) {
  product<int, 4>(d, a, b, "mma_s8", where);
}

void load_matrices(uint32_t (&r)[4], const void* row, bool is_transposed, const std::source_location& where) {
  emulator::check_shared(row, 16, "ldmatrix");
  MatrixLoad own{static_cast<const uint16_t*>(row), &r};
  if (is_transposed) {
    emulator::meet_warp(~0u, "ldmatrix_x4_transposed", where, &own,
                        [](emulator::WarpArguments lanes, unsigned) { load<true>(lanes); });
  } else {
    emulator::meet_warp(~0u, "ldmatrix_x4", where, &own,
                        [](emulator::WarpArguments lanes, unsigned) { load<false>(lanes); });
  }
}

}  // namespace moescope::cuda
