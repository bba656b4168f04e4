// One thread for each quad of each row.
#include "cuda/pack.cuh"
#include "cuda/pack.h"

namespace moescope::cuda {

namespace {

__global__ void __launch_bounds__(256) pack_kernel(const PackParams p) {
  const int quads = num_quads(p.cols);
  const int64_t packed_row = static_cast<int64_t>(blockIdx.x) * kGroupRows + threadIdx.x % kGroupRows;
  const int quad = static_cast<int>(blockIdx.y * (blockDim.x / kGroupRows) + threadIdx.x / kGroupRows);
  int64_t row = packed_row;
  if (p.order.head_dim != 0) {
    const int64_t pair = packed_row / kPairRows * kGroupRows + packed_row % kGroupRows;
    if (pair * 2 >= p.num_rows) return;
    row = p.order.file_row(pair, packed_row / kGroupRows % 2 != 0);
  }
  if (row >= p.num_rows || quad >= quads) return;
  const PackedShape shape = packed_shape(p.type);
  const Global<uint8_t> group = p.packed + packed_row / kGroupRows * group_bytes(p.type, quads);
  const PackedPlace place = {group + quad_offset(shape, quad), group + shared_offset(shape, quad),
                             static_cast<int>(packed_row % kGroupRows)};
  const Global<const uint8_t> source = p.rows + row * p.row_bytes;
  with_type(p.type, [&]<DType kType>() { pack_quad<kType>(source, p.cols, quad, place); });
}

}  // namespace

void pack(Stream& stream, const PackParams& params) {
  constexpr unsigned kQuadsOfBlock = 256 / kGroupRows;
  if (!can_pack(params.type)) {
    fail(ErrorCode::Unsupported, "Expected weights of a type that device cuda multiplies, got ",
         dtype_name(params.type), ".");
  }
  const unsigned quads = static_cast<unsigned>(num_quads(params.cols));
  launch(stream, pack_kernel,
         Grid{static_cast<unsigned>(packed_groups(params.num_rows)), (quads + kQuadsOfBlock - 1) / kQuadsOfBlock}, 256,
         0, params);
}

}  // namespace moescope::cuda
