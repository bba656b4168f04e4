// In the grids of experts_in and experts_out the blocks of the shared expert follow those of the routed items: an item is one row of
// activations, or a tile of those of one expert; the shared expert takes two rows together, or a tile.
#include "cuda/experts.h"
#include "cuda/gated.cuh"
#include "cuda/norm_row.cuh"

namespace moescope::cuda {

namespace {

struct GroupParams {
  static constexpr KernelInfo kInfo{"group_by_expert", 1024};

  ExpertsParams experts;
};

__device__ inline bool runs(const ExpertsParams& p, int assignment) {
  return p.run[assignment] != kNoExpert && p.weights[assignment] != 0;
}

// Which of the blocks of a grid this is: part `part` of a routed item, or of a tile of rows of the shared expert. Of tiles, those of one part
// come together: they share its weights.
struct ExpertBlock {
  bool is_shared;
  int part;
  int index;
};

__device__ inline ExpertBlock this_block(const ExpertsParams& p, int parts, int shared_parts) {
  const int64_t block = blockIdx.x, items = p.routed_items(), routed = items * parts;
  if (block >= routed) {
    return {true, static_cast<int>((block - routed) % shared_parts), static_cast<int>((block - routed) / shared_parts)};
  }
  if (p.is_grouped()) return {false, static_cast<int>(block / items), static_cast<int>(block % items)};
  return {false, static_cast<int>(block % parts), static_cast<int>(block / parts)};
}

__device__ inline ExpertBlock this_unit(const ExpertsParams& p) {
  return this_block(p, p.inner.quads * kQuadUnits, p.shared_inner.quads * kQuadUnits);
}

__device__ inline ExpertBlock this_pair(const ExpertsParams& p) {
  const int pairs = static_cast<int>(packed_groups(p.hidden)) / 2;
  return this_block(p, pairs, pairs);
}

// Which rows meet which expert: rows of h, and what they are called between the two products.
struct ExpertWork {
  int expert;
  InputRows rows, inner;  // none: nothing to do
};

// The index-th tile over all experts' rows.
__device__ inline ExpertWork tile_of(const ExpertsParams& p, int index) {
  for (int expert = 0; expert < p.num_experts; ++expert) {
    const int start = p.group_starts[expert], count = p.group_starts[expert + 1] - start;
    const int tiles = (count + kTileColumns - 1) / kTileColumns;
    if (index < tiles) {
      const int first = start + index * kTileColumns, left = start + count - first;
      const int width = left < kTileColumns ? left : kTileColumns;
      return {expert, {p.group_list, first, width, p.top_k}, {p.group_list, first, width}};
    }
    index -= tiles;
  }
  return {};
}

template <int kRows>
__device__ inline ExpertWork work_of(const ExpertsParams& p, const ExpertBlock& block) {
  if (block.is_shared) {
    const int first = block.index * kRows;
    const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
    return {0, rows, rows};
  }
  if (p.is_grouped()) return tile_of(p, block.index);
  if (!runs(p, block.index)) return {};
  return {p.run[block.index], {nullptr, block.index / p.top_k, 1}, {nullptr, block.index, 1}};
}

__device__ inline bool has_unit(const ExpertsParams& p, const ExpertBlock& block) {
  return block.part < packed_groups(block.is_shared ? p.shared.gate.rows : p.intermediate);
}

// Each finds its place anew after the products: what lives through them takes registers from them.
template <int kRows>
__device__ inline void store_inner(const ExpertsParams& p, const Shared<float>& sums) {
  const ExpertBlock block = this_unit(p);
  const InputRows inner = work_of<kRows>(p, block).inner;
  if (block.is_shared) {
    store_gated(p.shared_inner, inner, block.part, has_unit(p, block), sums);
  } else {
    store_gated(p.inner, inner, block.part, has_unit(p, block), sums);
  }
}

template <int kRows>
__device__ inline void store_out(const ExpertsParams& p, const Shared<float>& sums) {
  const ExpertBlock block = this_pair(p);
  const InputRows rows = work_of<kRows>(p, block).inner;
  const Global<float> out = block.is_shared ? p.shared_out : p.out;
  for (int place = static_cast<int>(threadIdx.x); place < rows.count * kPairRows; place += kProductThreads) {
    const int column = block.part * kPairRows + place % kPairRows;
    if (column < p.hidden) out[static_cast<int64_t>(rows[place / kPairRows]) * p.hidden + column] = sums[place];
  }
}

// kRows: of the shared expert. kRoutedRows: 1, or a tile where rows are grouped.
template <int kRows, int kRoutedRows, bool kIsMixed>
__global__ void __launch_bounds__(kProductThreads, kIsMixed ? 1 : product_blocks(kRows))
    experts_in_kernel(const ExpertsParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  const ExpertBlock block = this_unit(p);
  const ExpertWork work = work_of<kRows>(p, block);
  if (work.rows.count == 0) return;
  const PackedFeedForward ffn = block.is_shared ? p.shared : PackedFeedForward(p.experts[work.expert]);
  if (!has_unit(p, block)) {
    // Nothing to multiply: the unit fills a row up.
  } else if (kRows == kRoutedRows || !block.is_shared) {
    gate_and_up<kRoutedRows, kIsMixed>(ffn.gate, ffn.up, block.part, p.h, work.rows, sums);
  } else {
    gate_and_up<kRows, kIsMixed>(ffn.gate, ffn.up, block.part, p.h, work.rows, sums);
  }
  store_inner<kRows>(p, sums);
}

template <int kRows, int kRoutedRows>
__global__ void __launch_bounds__(kProductThreads, product_blocks(kRows)) experts_out_kernel(const ExpertsParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  const ExpertBlock block = this_pair(p);
  const ExpertWork work = work_of<kRows>(p, block);
  if (work.rows.count == 0) return;
  const PackedMatrix down = block.is_shared ? p.shared.down : PackedMatrix(p.experts[work.expert].down);
  const GroupPair weights = {down.type, down.quads(), {down.group(2 * block.part), down.group(2 * block.part + 1)}};
  if (!block.is_shared) {
    multiply_pair<kRoutedRows>(weights, p.inner, work.inner, sums);
  } else {
    multiply_pair<kRows>(weights, p.shared_inner, work.inner, sums);
  }
  store_out<kRows>(p, sums);
}

// One warp for each expert in turn; places are found by ballots, so the order is ascending whatever runs first.
__global__ void __launch_bounds__(GroupParams::kInfo.max_threads) group_kernel(const GroupParams params) {
  const ExpertsParams& p = params.experts;
  constexpr int kWarps = GroupParams::kInfo.max_threads / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize, warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int assignments = p.rows * p.top_k;
  const auto goes_to = [&](int assignment, int expert) {
    return assignment < assignments && runs(p, assignment) && p.run[assignment] == expert;
  };
  for (int expert = warp; expert < p.num_experts; expert += kWarps) {
    int count = 0;
    for (int first = 0; first < assignments; first += kWarpSize) {
      count += __popc(__ballot_sync(kAllLanes, goes_to(first + lane, expert)));
    }
    if (lane == 0) p.group_starts[expert + 1] = count;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    p.group_starts[0] = 0;
    for (int expert = 0; expert < p.num_experts; ++expert) p.group_starts[expert + 1] += p.group_starts[expert];
  }
  __syncthreads();
  for (int expert = warp; expert < p.num_experts; expert += kWarps) {
    int next = p.group_starts[expert];
    for (int first = 0; first < assignments; first += kWarpSize) {
      const bool is_own = goes_to(first + lane, expert);
      const unsigned own = __ballot_sync(kAllLanes, is_own);
      if (is_own) p.group_list[next + __popc(own & ((1u << lane) - 1))] = first + lane;
      next += __popc(own);
    }
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
__global__ void __launch_bounds__(kProductThreads, 1) gate_up_kernel(const GateUpParams p) {
  SharedArena arena;
  const Shared<float> sums = take_sums<kRows>(arena);
  const int first = static_cast<int>(blockIdx.y) * kRows, unit = static_cast<int>(blockIdx.x);
  const InputRows rows = {nullptr, first, p.rows - first < kRows ? p.rows - first : kRows};
  const bool has_sums = unit < packed_groups(p.gate.rows);
  if (has_sums) gate_and_up<kRows, kIsMixed>(p.gate, p.up, unit, p.h, rows, sums);
  store_gated(p.inner, rows, unit, has_sums, sums);
}

int row_tiles(int rows, int tile_rows) { return (rows + tile_rows - 1) / tile_rows; }

// Blocks for all parts of the routed experts and of the shared one.
Grid expert_grid(const ExpertsParams& params, int64_t parts, int64_t shared_parts, int shared_rows) {
  const int64_t shared = params.has_shared() ? row_tiles(params.rows, shared_rows) * shared_parts : 0;
  return {static_cast<unsigned>(params.routed_items() * parts + shared)};
}

template <int kRows, int kRoutedRows, bool kIsMixed>
void launch_in(Stream& stream, const ExpertsParams& params) {
  const Grid grid = expert_grid(params, params.inner.quads * kQuadUnits, params.shared_inner.quads * kQuadUnits, kRows);
  launch(stream, experts_in_kernel<kRows, kRoutedRows, kIsMixed>, grid, kProductThreads, product_bytes(kRows), params);
}

template <int kRows, int kRoutedRows>
void launch_out(Stream& stream, const ExpertsParams& params) {
  const int64_t pairs = packed_groups(params.hidden) / 2;
  launch(stream, experts_out_kernel<kRows, kRoutedRows>, expert_grid(params, pairs, pairs, kRows), kProductThreads,
         product_bytes(kRows), params);
}

}  // namespace

void experts_in(Stream& stream, const ExpertsParams& params) {
  if (params.is_mixed) return launch_in<1, 1, true>(stream, params);
  if (params.is_grouped()) {
    launch(stream, group_kernel, Grid{1}, GroupParams::kInfo.max_threads, 0, GroupParams{params});
    return launch_in<kTileColumns, kTileColumns, false>(stream, params);
  }
  if (params.rows == 1) return launch_in<1, 1, false>(stream, params);
  if (params.rows < kFewestTileRows) return launch_in<kMaxVectorRows, 1, false>(stream, params);
  launch_in<kTileColumns, 1, false>(stream, params);
}

void experts_out(Stream& stream, const ExpertsParams& params) {
  if (params.is_grouped()) return launch_out<kTileColumns, kTileColumns>(stream, params);
  if (params.rows == 1) return launch_out<1, 1>(stream, params);
  if (params.rows < kFewestTileRows) return launch_out<kMaxVectorRows, 1>(stream, params);
  launch_out<kTileColumns, 1>(stream, params);
}

void combine(Stream& stream, const CombineParams& params) {
  launch(stream, combine_kernel, Grid{static_cast<unsigned>(params.experts.rows)}, RmsNormParams::kThreads,
         CombineParams::kInfo.max_shared_bytes, params);
}

void gate_up(Stream& stream, const GateUpParams& params) {
  const auto launch_rows = [&](void (*kernel)(GateUpParams), int rows) {
    launch(stream, kernel,
           Grid{static_cast<unsigned>(params.inner.quads * kQuadUnits),
                static_cast<unsigned>(row_tiles(params.rows, rows))},
           kProductThreads, product_bytes(rows), params);
  };
  if (params.gate.type != params.up.type) return launch_rows(gate_up_kernel<1, true>, 1);
  if (params.rows == 1) return launch_rows(gate_up_kernel<1, false>, 1);
  if (params.rows < kFewestTileRows) return launch_rows(gate_up_kernel<kMaxVectorRows, false>, kMaxVectorRows);
  launch_rows(gate_up_kernel<kTileColumns, false>, kTileColumns);
}

}  // namespace moescope::cuda
