// In the grids of experts_in and experts_out the blocks of the shared expert follow those of the assignments: each assignment is one row of
// activations, the shared expert takes up to four together.
#include "cuda/experts.h"
#include "cuda/gated.cuh"
#include "cuda/norm_row.cuh"

namespace moescope::cuda {

namespace {

__device__ inline bool runs(const ExpertsParams& p, int assignment) {
  return p.run[assignment] != kNoExpert && p.weights[assignment] != 0;
}

// Which of the blocks of a grid this is: part `part` of an assignment, or of the shared expert for some rows.
struct ExpertBlock {
  bool is_shared;
  int part;
  int index;  // assignment, or tile of rows
};

__device__ inline ExpertBlock this_block(const ExpertsParams& p, int parts, int shared_parts) {
  const int64_t block = blockIdx.x, routed = static_cast<int64_t>(p.rows) * p.top_k * parts;
  if (block < routed) return {false, static_cast<int>(block % parts), static_cast<int>(block / parts)};
  return {true, static_cast<int>((block - routed) % shared_parts), static_cast<int>((block - routed) / shared_parts)};
}

// Whose weights a block multiplies with which rows of activations.
struct ExpertWork {
  PackedFeedForward weights;
  InputRows rows;   // of h; of the inner rows by their own numbers
  int first_inner;  // row between the two products
};

template <int kRows>
__device__ inline ExpertWork work_of(const ExpertsParams& p, const ExpertBlock& block) {
  if (!block.is_shared) {
    return {p.experts[p.run[block.index]], {nullptr, block.index / p.top_k, 1}, block.index};
  }
  const int first = block.index * kRows;
  return {p.shared, {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows}, first};
}

template <int kRows>
__global__ void __launch_bounds__(kProductThreads, 2) experts_in_kernel(const ExpertsParams p) {
  SharedArena arena;
  const Shared<float> sums = arena.take<float>(partial_floats(kRows));
  const ExpertBlock block = this_block(p, p.inner.quads * kQuadUnits, p.shared_inner.quads * kQuadUnits);
  if (!block.is_shared && !runs(p, block.index)) return;
  const ExpertWork work = work_of<kRows>(p, block);
  const LeftSide& inner = block.is_shared ? p.shared_inner : p.inner;
  if (kRows == 1 || !block.is_shared) {
    gated_unit<1>(work.weights.gate, work.weights.up, block.part, p.h, work.rows, inner, work.first_inner, sums);
  } else {
    gated_unit<kRows>(work.weights.gate, work.weights.up, block.part, p.h, work.rows, inner, work.first_inner, sums);
  }
}

// 64 rows of `down`, for some rows of activations.
template <int kRows>
__device__ inline void down_pair(const PackedMatrix& down, int pair, const LeftSide& inner, const InputRows& rows,
                                 const Global<float>& out, const Shared<float>& sums) {
  multiply_pair<kRows>({down.type, down.quads(), {down.group(2 * pair), down.group(2 * pair + 1)}}, inner, rows, sums);
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int column = pair * kPairRows + place % kPairRows;
    if (column < down.rows) out[static_cast<int64_t>(rows[place / kPairRows]) * down.rows + column] = sums[place];
  }
}

template <int kRows>
__global__ void __launch_bounds__(kProductThreads, 2) experts_out_kernel(const ExpertsParams p) {
  SharedArena arena;
  const Shared<float> sums = arena.take<float>(partial_floats(kRows));
  const int pairs = static_cast<int>(packed_groups(p.hidden)) / 2;
  const ExpertBlock block = this_block(p, pairs, pairs);
  if (!block.is_shared && !runs(p, block.index)) return;
  const ExpertWork work = work_of<kRows>(p, block);
  const InputRows rows = {nullptr, work.first_inner, work.rows.count};
  const LeftSide& inner = block.is_shared ? p.shared_inner : p.inner;
  const Global<float> out = block.is_shared ? p.shared_out : p.out;
  if (kRows == 1 || !block.is_shared) {
    down_pair<1>(work.weights.down, block.part, inner, rows, out, sums);
  } else {
    down_pair<kRows>(work.weights.down, block.part, inner, rows, out, sums);
  }
}

// One block for each row.
__global__ void __launch_bounds__(CombineParams::kInfo.max_threads) combine_kernel(const CombineParams p) {
  SharedArena arena;
  const ExpertsParams& experts = p.experts;
  const int row = static_cast<int>(blockIdx.x);
  const int64_t start = static_cast<int64_t>(row) * experts.hidden;
  const bool adds_shared = experts.has_shared() && experts.shared_gate[row] != 0;
  for (int i = static_cast<int>(threadIdx.x); i < experts.hidden; i += RmsNormParams::kThreads) {
    float sum = 0;
    for (int slot = 0; slot < experts.top_k; ++slot) {
      const int64_t assignment = static_cast<int64_t>(row) * experts.top_k + slot;
      if (!runs(experts, static_cast<int>(assignment))) continue;
      sum = fmaf(experts.weights[assignment], experts.out[assignment * experts.hidden + i], sum);
    }
    if (adds_shared) sum = fmaf(experts.shared_gate[row], experts.shared_out[start + i], sum);
    p.x[start + i] += sum;
  }
  if (p.next.weight == nullptr) return;
  __syncthreads();
  norm_row(p.next, row, arena.take<float>(kNormWarps));
}

template <int kRows>
__global__ void __launch_bounds__(kProductThreads, 2) gate_up_kernel(const GateUpParams p) {
  SharedArena arena;
  const int first = static_cast<int>(blockIdx.y) * kRows;
  const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
  gated_unit<kRows>(p.gate, p.up, static_cast<int>(blockIdx.x), p.h, rows, p.inner, first,
                    arena.take<float>(partial_floats(kRows)));
}

int row_tiles(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

template <int kRows>
void launch_in(Stream& stream, const ExpertsParams& params) {
  const int64_t routed = static_cast<int64_t>(params.rows) * params.top_k * params.inner.quads * kQuadUnits;
  const int64_t shared =
      params.has_shared() ? row_tiles(params.rows, kRows) * params.shared_inner.quads * kQuadUnits : 0;
  launch(stream, experts_in_kernel<kRows>, Grid{static_cast<unsigned>(routed + shared)}, kProductThreads,
         arena_bytes<float>(partial_floats(kRows)), params);
}

template <int kRows>
void launch_out(Stream& stream, const ExpertsParams& params) {
  const int64_t pairs = packed_groups(params.hidden) / 2;
  const int64_t shared = params.has_shared() ? row_tiles(params.rows, kRows) : 0;
  const int64_t blocks = (static_cast<int64_t>(params.rows) * params.top_k + shared) * pairs;
  launch(stream, experts_out_kernel<kRows>, Grid{static_cast<unsigned>(blocks)}, kProductThreads,
         arena_bytes<float>(partial_floats(kRows)), params);
}

}  // namespace

void experts_in(Stream& stream, const ExpertsParams& params) {
  if (params.rows == 1) return launch_in<1>(stream, params);
  launch_in<kMaxVectorRows>(stream, params);
}

void experts_out(Stream& stream, const ExpertsParams& params) {
  if (params.rows == 1) return launch_out<1>(stream, params);
  launch_out<kMaxVectorRows>(stream, params);
}

void combine(Stream& stream, const CombineParams& params) {
  launch(stream, combine_kernel, Grid{static_cast<unsigned>(params.experts.rows)}, RmsNormParams::kThreads,
         CombineParams::kInfo.max_shared_bytes, params);
}

void gate_up(Stream& stream, const GateUpParams& params) {
  const unsigned units = static_cast<unsigned>(params.inner.quads * kQuadUnits);
  if (params.rows == 1) {
    launch(stream, gate_up_kernel<1>, Grid{units}, kProductThreads, arena_bytes<float>(partial_floats(1)), params);
  } else {
    launch(stream, gate_up_kernel<kMaxVectorRows>,
           Grid{units, static_cast<unsigned>(row_tiles(params.rows, kMaxVectorRows))}, kProductThreads,
           arena_bytes<float>(partial_floats(kMaxVectorRows)), params);
  }
}

}  // namespace moescope::cuda
