// A grid on one OS thread: blocks one after another in random order, a fiber for each CUDA thread, lanes run in an order drawn from
// the seed from one rendezvous to the next. A rendezvous that can never be complete is an Error that names kernel, block, thread and
// what each side waits in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <source_location>

namespace moescope::emulator {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

// Of the lane that runs.
inline thread_local Dim thread_index, block_index, block_dim, grid_dim;

// Draws that decide the order of blocks and lanes from now on.
void set_seed(uint64_t seed);

// Runs `kernel` for every block; throws the first Error of a lane, or that of a rendezvous that failed.
void run_grid(const char* kernel_name, Dim grid, int threads, size_t shared_bytes, const std::function<void()>& kernel);

// The arguments of the lanes of a warp, by lane; those of lanes outside the mask are null.
using WarpArguments = void* const*;

// Waits until every lane of `mask` came here with the same mask; the last one runs `finish` for all. Arguments stay on the lanes'
// own stacks, which is why results may be written into them.
void meet_warp(unsigned mask, const char* operation, const std::source_location& where, void* arguments,
               void (*finish)(WarpArguments lanes, unsigned mask));
// Waits until every thread of the block came to this place.
void meet_block(const char* operation, const std::source_location& where);

unsigned lane_index();

// The block's arena: a part at `offset`, an Error if it does not fit into what the launch gave.
char* arena_part(size_t offset, size_t bytes);
// Throws unless [address, address + bytes) lies in the arena and is aligned to 16.
void check_shared(const void* address, size_t bytes, const char* operation);

// cp.async of the lane that runs: the destination holds 0xFF until the wait. `global` null: zeros.
void copy_later(void* shared, const void* global);
void close_copy_group();
void wait_for_copies(int groups_pending);

// Throws an Error that begins with kernel, block and thread.
[[noreturn]] void fail_lane(const char* what);

}  // namespace moescope::emulator
