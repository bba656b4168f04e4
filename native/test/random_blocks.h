// Random rows of any storage type.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/blocks.h"
#include "test/check.h"

namespace moescope::check {

// Random bits, drawn again for each block until its values are numbers within `limit`.
inline std::vector<uint8_t> random_blocks(DType dtype, int64_t num_rows, int64_t length, Random& random,
                                          float limit = 1e4f) {
  const BlockShape block = block_shape(dtype);
  std::vector<uint8_t> rows(num_rows * length / block.elements * block.bytes);
  std::vector<float> values(block.elements);
  for (size_t start = 0; start < rows.size(); start += block.bytes) {
    const auto is_fine = [&](float value) { return std::abs(value) <= limit; };
    do {
      for (int i = 0; i < block.bytes; ++i) rows[start + i] = static_cast<uint8_t>(random.below(256));
      dequantize_row(dtype, &rows[start], values.data(), block.elements);
    } while (!std::all_of(values.begin(), values.end(), is_fine));
  }
  return rows;
}

inline std::vector<DType> all_types() {
  std::vector<DType> types;
  for (int index = 0; index < kDTypeCount; ++index) types.push_back(static_cast<DType>(index));
  return types;
}

}  // namespace moescope::check
