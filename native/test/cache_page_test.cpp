// Keys and values as a page stores them: rounded once, in places of their own, and no farther off than the type must be.
#include "core/cache_page.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "core/half.h"
#include "cpu/arch/kernels.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;

namespace {

struct Head {
  CacheType type;
  int head_dim;
  std::vector<std::byte> bytes = std::vector<std::byte>(cache_head_bytes(type, head_dim));
  std::vector<float> room = std::vector<float>(static_cast<size_t>(head_dim) * kTilePositions);

  float key(int slot, int d) {
    return kPortableKernels.read_keys(type, bytes.data(), head_dim, room.data())[d * kTilePositions + slot];
  }
  float value(int slot, int d) {
    return kPortableKernels.read_values(type, bytes.data(), head_dim, room.data())[slot * head_dim + d];
  }
};

std::vector<float> random_row(Random& random, int head_dim) {
  std::vector<float> row;
  for (int d = 0; d < head_dim; ++d)
    row.push_back(static_cast<float>((6 * random.uniform() - 3) * (d % 32 == 5 ? 40 : 1)));
  return row;
}

// Half a step of a group's 127 levels, and the rounding of the half-precision scale: 2^-11 of the number.
float q8_0_bound(const std::vector<float>& row, int d) {
  float largest = 0;
  const size_t from = static_cast<size_t>(d / 32) * 32;
  for (size_t i = from; i < std::min(row.size(), from + 32); ++i) largest = std::max(largest, std::fabs(row[i]));
  return largest / 127 * 0.5f * 1.001f + std::fabs(row[d]) * 0x1p-11f + largest / 127 * 0x1p-11f;
}

}  // namespace

CASE("every slot keeps its key and its value, each rounded once to the cache's type") {
  for (CacheType type : {CacheType::F32, CacheType::BF16, CacheType::F16, CacheType::Q8_0}) {
    for (int head_dim : {6, 32, 40, 64, 128}) {
      Random random(5);
      Head head{type, head_dim};
      std::vector<std::vector<float>> keys, values;
      for (int slot = 0; slot < kTilePositions; ++slot) {
        keys.push_back(random_row(random, head_dim));
        values.push_back(random_row(random, head_dim));
        write_key(type, keys.back().data(), head_dim, slot, head.bytes.data());
        write_value(type, values.back().data(), head_dim, slot, head.bytes.data());
      }
      int wrong = 0;
      for (int slot = 0; slot < kTilePositions; ++slot) {
        for (int d = 0; d < head_dim; ++d) {
          for (const bool is_key : {true, false}) {
            const std::vector<float>& row = is_key ? keys[slot] : values[slot];
            const float read = is_key ? head.key(slot, d) : head.value(slot, d);
            if (type == CacheType::F32) wrong += read != row[d];
            if (type == CacheType::BF16) wrong += read != bf16_to_float(float_to_bf16(row[d]));
            if (type == CacheType::F16) wrong += read != half_to_float(float_to_half(row[d]));
            if (type == CacheType::Q8_0) wrong += !(std::fabs(read - row[d]) <= q8_0_bound(row, d));
          }
        }
      }
      CHECK_EQ(wrong, 0);
    }
  }
}

CASE("a number that is not finite makes its group of a q8_0 cache NaN and no other") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Head head{CacheType::Q8_0, 64};
    std::vector<float> row(64, 1.0f);
    row[40] = bad;
    write_key(head.type, row.data(), 64, 3, head.bytes.data());
    write_value(head.type, row.data(), 64, 3, head.bytes.data());
    CHECK(std::isnan(head.key(3, 40)) && std::isnan(head.key(3, 63)) && std::isnan(head.value(3, 32)));
    CHECK(std::fabs(head.key(3, 31) - 1) < 1e-3f && std::fabs(head.value(3, 0) - 1) < 1e-3f);
  }
}

CASE("zeros stay zeros, and a q8_0 page takes 34 bytes for 32 elements") {
  Head head{CacheType::Q8_0, 64};
  const std::vector<float> row(64, 0.0f);
  write_key(head.type, row.data(), 64, 0, head.bytes.data());
  CHECK_EQ(head.key(0, 7), 0.0f);
  CHECK_EQ(cache_head_bytes(CacheType::Q8_0, 64), size_t{2} * 64 * kTilePositions * 34 / 32);
}

CASE("a page is read to the same bits in every instruction set, whatever bytes it holds") {
  Random random(6);
  for (CacheType type : {CacheType::F32, CacheType::BF16, CacheType::F16, CacheType::Q8_0}) {
    for (int head_dim : {6, 32, 40, 64, 128}) {
      Head head{type, head_dim};
      for (std::byte& byte : head.bytes) byte = static_cast<std::byte>(random.below(256));
      for (auto read : {&Kernels::read_keys, &Kernels::read_values}) {
        const float* found = (kPortableKernels.*read)(type, head.bytes.data(), head_dim, head.room.data());
        for (int v = 0; v < num_kernel_variants(); ++v) {
          std::vector<float> room(head.room.size());
          const float* values = (kernel_variant(v).*read)(type, head.bytes.data(), head_dim, room.data());
          int wrong = 0;
          for (size_t i = 0; i < room.size(); ++i) {
            // The sign of a NaN that a product makes is not defined.
            const bool both_nan = std::isnan(values[i]) && std::isnan(found[i]);
            wrong += !both_nan && std::memcmp(values + i, found + i, sizeof(float)) != 0;
          }
          CHECK_EQ(wrong, 0);
        }
      }
    }
  }
}
