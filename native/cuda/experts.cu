// In the grids of experts_in and experts_out the blocks of the shared expert follow those of the assignments: each assignment is one row of
// activations, the shared expert takes up to two together.
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

__device__ inline ExpertBlock this_unit(const ExpertsParams& p) {
  return this_block(p, p.inner.quads * kQuadUnits, p.shared_inner.quads * kQuadUnits);
}

__device__ inline bool has_unit(const ExpertsParams& p, const ExpertBlock& block) {
  return block.part < packed_groups(block.is_shared ? p.shared.gate.rows : p.intermediate);
}

// Finds its place anew: what lives through the products takes registers from them.
template <int kRows>
__device__ inline void store_unit_of(const ExpertsParams& p, const Shared<float>& sums) {
  const ExpertBlock block = this_unit(p);
  if (block.is_shared) {
    const int first = block.index * kRows, count = p.rows - first < kRows ? p.rows - first : kRows;
    store_gated(p.shared_inner, first, count, block.part, has_unit(p, block), sums);
  } else {
    store_gated(p.inner, block.index, 1, block.part, has_unit(p, block), sums);
  }
}

template <int kRows, bool kIsMixed>
__global__ void __launch_bounds__(kProductThreads, kIsMixed ? 1 : 2) experts_in_kernel(const ExpertsParams p) {
  SharedArena arena;
  const Shared<float> sums = arena.take<float>(partial_floats(kRows));
  const ExpertBlock block = this_unit(p);
  if (!block.is_shared && !runs(p, block.index)) return;
  const ExpertWork work = work_of<kRows>(p, block);
  const PackedFeedForward& ffn = work.weights;
  if (!has_unit(p, block)) {
    // Nothing to multiply: the unit fills a row up.
  } else if (kRows == 1 || !block.is_shared) {
    gate_and_up<1, kIsMixed>(ffn.gate, ffn.up, block.part, p.h, work.rows, sums);
  } else {
    gate_and_up<kRows, kIsMixed>(ffn.gate, ffn.up, block.part, p.h, work.rows, sums);
  }
  store_unit_of<kRows>(p, sums);
}

// out[row][column] for 64 columns.
__device__ inline void store_out(const Global<float>& out, int hidden, int pair, const InputRows& rows,
                                 const Shared<float>& sums) {
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int column = pair * kPairRows + place % kPairRows;
    if (column < hidden) out[static_cast<int64_t>(rows[place / kPairRows]) * hidden + column] = sums[place];
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
  const PackedMatrix& down = work.weights.down;
  const InputRows rows = {nullptr, work.first_inner, work.rows.count};
  const GroupPair weights = {down.type, down.quads(), {down.group(2 * block.part), down.group(2 * block.part + 1)}};
  if (!block.is_shared) {
    multiply_pair<1>(weights, p.inner, rows, sums);
    store_out(p.out, p.hidden, block.part, rows, sums);
  } else {
    multiply_pair<kRows>(weights, p.shared_inner, rows, sums);
    store_out(p.shared_out, p.hidden, block.part, rows, sums);
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

template <int kRows, bool kIsMixed>
__global__ void __launch_bounds__(kProductThreads, kIsMixed ? 1 : 2) gate_up_kernel(const GateUpParams p) {
  SharedArena arena;
  const Shared<float> sums = arena.take<float>(partial_floats(kRows));
  const int first = static_cast<int>(blockIdx.y) * kRows, unit = static_cast<int>(blockIdx.x);
  const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
  const bool has_sums = unit < packed_groups(p.gate.rows);
  if (has_sums) gate_and_up<kRows, kIsMixed>(p.gate, p.up, unit, p.h, rows, sums);
  store_gated(p.inner, first, rows.count, unit, has_sums, sums);
}

int row_tiles(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

template <int kRows, bool kIsMixed>
void launch_in(Stream& stream, const ExpertsParams& params) {
  const int64_t routed = static_cast<int64_t>(params.rows) * params.top_k * params.inner.quads * kQuadUnits;
  const int64_t shared =
      params.has_shared() ? row_tiles(params.rows, kRows) * params.shared_inner.quads * kQuadUnits : 0;
  launch(stream, experts_in_kernel<kRows, kIsMixed>, Grid{static_cast<unsigned>(routed + shared)}, kProductThreads,
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
  if (params.is_mixed) return launch_in<1, true>(stream, params);
  if (params.rows == 1) return launch_in<1, false>(stream, params);
  launch_in<kMaxVectorRows, false>(stream, params);
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
  const bool is_mixed = params.gate.type != params.up.type;
  const int tile_rows = is_mixed || params.rows == 1 ? 1 : kMaxVectorRows;
  const Grid grid{static_cast<unsigned>(params.inner.quads * kQuadUnits),
                  static_cast<unsigned>(row_tiles(params.rows, tile_rows))};
  const size_t shared = arena_bytes<float>(partial_floats(tile_rows));
  if (is_mixed) return launch(stream, gate_up_kernel<1, true>, grid, kProductThreads, shared, params);
  if (tile_rows == 1) return launch(stream, gate_up_kernel<1, false>, grid, kProductThreads, shared, params);
  launch(stream, gate_up_kernel<kMaxVectorRows, false>, grid, kProductThreads, shared, params);
}

}  // namespace moescope::cuda
