// x = rows of the embedding table, as the file has them.
#pragma once

#include "core/blocks.h"
#include "cuda/launch.h"

namespace moescope::cuda {

struct EmbedParams {
  static constexpr KernelInfo kInfo{"embed", 256};

  DType type = DType::F32;                // one that can_pack() accepts
  Global<const uint8_t> table = nullptr;  // (vocab) rows of row_bytes
  int64_t row_bytes = 0;
  int hidden = 0;
  int vocab = 0;
  Global<const int32_t> tokens = nullptr;  // (rows), below vocab
  Global<float> x = nullptr;               // (rows, hidden)
};

void embed(Stream& stream, int rows, const EmbedParams& params);

}  // namespace moescope::cuda
