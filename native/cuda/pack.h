// Weight matrices from the order of the file to that of packed.h, on the device.
#pragma once

#include "cuda/launch.h"
#include "cuda/packed.h"

namespace moescope::cuda {

// Which row of the file a packed row is.
struct RowOrder {
  // 0: the same. Else rows of heads that wide are stored in pairs that rope turns: the first elements of 32 pairs, then their second ones.
  int head_dim = 0;
  bool is_interleaved = false;  // pairs (2i, 2i + 1) of a head, else (i, i + head_dim / 2)

  // Pair of a packed row: `is_second` tells which element of it.
  MOESCOPE_ANYWHERE int64_t file_row(int64_t pair, bool is_second) const {
    const int half = head_dim / 2;
    const int64_t head = pair / half, i = pair % half;
    return head * head_dim + (is_interleaved ? 2 * i + is_second : i + (is_second ? half : 0));
  }
};

struct PackParams {
  static constexpr KernelInfo kInfo{"pack", 256};

  DType type = DType::F32;
  Global<const uint8_t> rows = nullptr;  // as in the file, at any address
  int64_t row_bytes = 0;
  int num_rows = 0;
  int cols = 0;
  RowOrder order;
  Global<uint8_t> packed = nullptr;  // packed_bytes(type, num_rows, cols), zeros before
};

void pack(Stream& stream, const PackParams& params);

}  // namespace moescope::cuda
