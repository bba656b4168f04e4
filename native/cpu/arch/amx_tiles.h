// AMX instructions on tiles of 16 rows of 64 bytes. Only for files that are compiled for AMX.
#pragma once

#include <cstdint>

namespace moescope {
namespace {

// The instructions by hand: gcc 12's intrinsics do not tell the compiler which memory they read, so that it may drop or move the
// stores before them.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Tiles for blocks of `num_x` rows of activations.
inline void configure(int num_x) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    const bool is_weights = tile == 4 || tile == 7;
    config.row_bytes[tile] = static_cast<uint16_t>(is_weights ? 64 : 4 * num_x);
    config.rows[tile] = 16;
  }
  asm volatile("ldtilecfg %0" ::"m"(config) : "memory");
}

inline void release() { asm volatile("tilerelease" ::: "memory"); }

template <int kTile>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"n"(kTile) : "memory");
}
template <int kTile>
inline void tile_load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "n"(kTile) : "memory");
}
template <int kTile>
inline void tile_store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "n"(kTile) : "memory");
}
template <int kTotal, int kWeights, int kActivations>
inline void multiply_add() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"n"(kTotal), "n"(kWeights), "n"(kActivations) : "memory");
}

}  // namespace
}  // namespace moescope
