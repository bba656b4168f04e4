// Grids, and what the lane that runs asks of its block.
#include <numeric>
#include <sstream>

#include "block_state.h"
#include "checked_pointer.h"
#include "core/error.h"

namespace moescope::emulator {

namespace {

uint64_t random_state = 1;
thread_local Block* current = nullptr;

}  // namespace

// splitmix64 (Steele, Lea and Flood 2014).
uint64_t random_bits() {
  uint64_t z = random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void set_seed(uint64_t seed) { random_state = seed; }

void run_grid(const char* kernel_name, Dim grid, int threads, size_t shared_bytes,
              const std::function<void()>& kernel) {
  if (current != nullptr) fail(ErrorCode::Internal, "Kernel ", kernel_name, " was started within another.");
  const int64_t num_blocks = static_cast<int64_t>(grid.x) * grid.y * grid.z;
  std::vector<int64_t> order(num_blocks);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = num_blocks; i > 1; --i) std::swap(order[i - 1], order[random_bits() % static_cast<uint64_t>(i)]);
  grid_dim = grid;
  block_dim = {static_cast<unsigned>(threads), 1, 1};
  Block block(kernel_name, threads, shared_bytes, kernel);
  struct Leave {
    ~Leave() {
      current = nullptr;
      is_in_kernel = false;
    }
  } leave;
  current = &block;
  for (int64_t at : order) {
    block.run({static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
               static_cast<unsigned>(at / grid.x / grid.y)});
  }
}

void meet_warp(unsigned mask, const char* operation, const std::source_location& where, void* arguments,
               void (*finish)(WarpArguments, unsigned)) {
  current->meet_warp(mask, operation, where, arguments, finish);
}

void meet_block(const char* operation, const std::source_location& where) { current->meet_block(operation, where); }

unsigned lane_index() { return static_cast<unsigned>(current->running()) % kLanes; }

char* arena_part(size_t offset, size_t bytes) {
  if (offset + bytes > current->shared_bytes()) {
    std::ostringstream text;
    text << "takes " << offset + bytes << " bytes of shared memory, the launch gave " << current->shared_bytes();
    fail_lane(text.str().c_str());
  }
  return current->arena() + offset;
}

void check_shared(const void* address, size_t bytes, const char* operation) {
  const char* place = static_cast<const char*>(address);
  const bool is_inside = place >= current->arena() && place + bytes <= current->arena() + current->shared_bytes();
  if (is_inside && reinterpret_cast<uintptr_t>(address) % 16 == 0) return;
  fail_lane((std::string(operation) + (is_inside ? " needs 16-byte alignment in" : " went outside of") +
             " its block's shared memory")
                .c_str());
}

void copy_later(void* shared, const void* global) {
  constexpr size_t kBytes = 16;
  check_shared(shared, kBytes, "cp_async_16");
  std::memset(shared, 0xFF, kBytes);
  current->lane().open_group.push_back({static_cast<char*>(shared), static_cast<const char*>(global)});
}

void close_copy_group() {
  Lane& lane = current->lane();
  lane.groups.push_back(std::move(lane.open_group));
  lane.open_group.clear();
}

void wait_for_copies(int groups_pending) {
  std::vector<std::vector<Copy>>& groups = current->lane().groups;
  while (static_cast<int>(groups.size()) > groups_pending) {
    for (const Copy& copy : groups.front()) {
      if (copy.global == nullptr)
        std::memset(copy.shared, 0, 16);
      else
        std::memcpy(copy.shared, copy.global, 16);
    }
    groups.erase(groups.begin());
  }
}

void fail_lane(const char* what) {
  if (current == nullptr) fail(ErrorCode::Internal, "Host code ", what, ".");
  fail(ErrorCode::Internal, current->place(current->running()), " ", what, ".");
}

}  // namespace moescope::emulator
