// One block for each row, one thread for each element in turn: the values are dequantize_row()'s bits.
#include "cuda/device.h"
#include "cuda/embed.h"
#include "cuda/file_blocks.cuh"

namespace moescope::cuda {

namespace {

template <DType kType>
__global__ void __launch_bounds__(EmbedParams::kInfo.max_threads) embed_kernel(const EmbedParams p) {
  constexpr BlockShape shape = block_shape(kType);
  const int64_t row = blockIdx.x;
  const Bytes blocks = p.table + p.tokens[row] * p.row_bytes;
  for (int i = static_cast<int>(threadIdx.x); i < p.hidden; i += EmbedParams::kInfo.max_threads) {
    p.x[row * p.hidden + i] = element_value<kType>(blocks + i / shape.elements * shape.bytes, i % shape.elements);
  }
}

template <DType kType>
void embed_as(Stream& stream, int rows, const EmbedParams& params) {
  launch(stream, embed_kernel<kType>, Grid{static_cast<unsigned>(rows)}, EmbedParams::kInfo.max_threads, 0, params);
}

}  // namespace

void embed(Stream& stream, int rows, const EmbedParams& params) {
  switch (params.type) {
    case DType::F32: return embed_as<DType::F32>(stream, rows, params);
    case DType::F16: return embed_as<DType::F16>(stream, rows, params);
    case DType::BF16: return embed_as<DType::BF16>(stream, rows, params);
    case DType::Q4_0: return embed_as<DType::Q4_0>(stream, rows, params);
    case DType::Q4_1: return embed_as<DType::Q4_1>(stream, rows, params);
    case DType::Q5_0: return embed_as<DType::Q5_0>(stream, rows, params);
    case DType::Q5_1: return embed_as<DType::Q5_1>(stream, rows, params);
    case DType::Q8_0: return embed_as<DType::Q8_0>(stream, rows, params);
    case DType::Q4_K: return embed_as<DType::Q4_K>(stream, rows, params);
    case DType::Q5_K: return embed_as<DType::Q5_K>(stream, rows, params);
    case DType::Q6_K: return embed_as<DType::Q6_K>(stream, rows, params);
    default: fail(ErrorCode::Unsupported, "Device cuda has no embedding of type ", dtype_name(params.type), ".");
  }
}

}  // namespace moescope::cuda
