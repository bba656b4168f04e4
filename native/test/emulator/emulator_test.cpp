// The emulator itself: what it must run, what it must refuse, and races that it must make visible.
#include <algorithm>
#include <cmath>
#include <string>

#include "block.h"
#include "cuda/device.h"
#include "cuda/launch.h"
#include "device_values.h"
#include "test/check.h"

using namespace moescope;
using namespace moescope::check;
using cuda::arena_bytes;
using cuda::Global;
using cuda::Grid;
using cuda::Shared;
using cuda::SharedArena;

namespace {

constexpr int kThreads = 64;
constexpr int kSeeds = 32;

struct Params {
  static constexpr cuda::KernelInfo kInfo{"probe", 256, 4096};
  Global<int> out = nullptr;
  Global<const float> in = nullptr;
  int n = 0;
};

int thread() { return static_cast<int>(threadIdx.x); }

// What the kernel leaves in `count` ints, or throws.
std::vector<int> outcome(void (*kernel)(Params), int count = kThreads, int threads = kThreads,
                         size_t shared_bytes = 4096, Grid grid = {}) {
  cuda::Stream stream;
  const cuda::DeviceBuffer out = on_device(stream, std::vector<int>(count, -7));
  cuda::launch(stream, kernel, grid, threads, shared_bytes, {.out = out.as<int>(), .n = count});
  return on_host<int>(stream, out);
}

// The message of the error that the kernel ends with; empty if it ends well.
std::string complaint(void (*kernel)(Params), int threads = kThreads, size_t shared_bytes = 4096) {
  try {
    outcome(kernel, kThreads, threads, shared_bytes);
  } catch (const Error& error) {
    CHECK_EQ(static_cast<int>(error.code()), static_cast<int>(ErrorCode::Internal));
    return error.what();
  }
  return "";
}

void check_says(const char* what, const std::string& message, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    if (message.find(part) == std::string::npos) report(__FILE__, __LINE__, what, ": got \"", message, "\"");
  }
}

// Whether the kernel gives `expected` with every seed.
bool is_always(void (*kernel)(Params), const std::vector<int>& expected) {
  bool same = true;
  for (int seed = 0; seed < kSeeds; ++seed) {
    emulator::set_seed(seed);
    same = same && outcome(kernel) == expected;
  }
  return same;
}

std::vector<int> reversed() {
  std::vector<int> expected(kThreads);
  for (int i = 0; i < kThreads; ++i) expected[i] = kThreads - 1 - i;
  return expected;
}

template <bool has_barrier>
void reverse_in_block(Params p) {
  SharedArena arena;
  const Shared<int> values = arena.take<int>(kThreads);
  values[thread()] = thread();
  if (has_barrier) __syncthreads();
  p.out[thread()] = values[kThreads - 1 - thread()];
}

template <bool has_barrier>
void reverse_in_warp(Params p) {
  SharedArena arena;
  const Shared<int> values = arena.take<int>(kThreads);
  values[thread()] = thread();
  if (has_barrier) __syncwarp();
  const int mirrored = thread() / 32 * 32 + 31 - thread() % 32;
  p.out[thread()] = values[mirrored];
}

}  // namespace

CASE("a barrier makes the writes of a block visible, and without it some order of lanes gives another result") {
  CHECK(is_always(reverse_in_block<true>, reversed()));
  CHECK(!is_always(reverse_in_block<false>, reversed()));
}

CASE("a warp's barrier likewise: lanes do not run in step") {
  std::vector<int> expected(kThreads);
  for (int i = 0; i < kThreads; ++i) expected[i] = i / 32 * 32 + 31 - i % 32;
  CHECK(is_always(reverse_in_warp<true>, expected));
  CHECK(!is_always(reverse_in_warp<false>, expected));
}

CASE("blocks run in an order of the seed, and one seed repeats itself") {
  const auto kernel = [](Params p) {
    if (thread() == 0) p.out[0] = static_cast<int>(blockIdx.x);
  };
  std::vector<int> last;
  for (int seed = 0; seed < kSeeds; ++seed) {
    emulator::set_seed(seed);
    last.push_back(outcome(kernel, 1, 32, 0, {.x = 8})[0]);
    emulator::set_seed(seed);
    CHECK_EQ(outcome(kernel, 1, 32, 0, {.x = 8})[0], last.back());
  }
  CHECK(*std::min_element(last.begin(), last.end()) != *std::max_element(last.begin(), last.end()));
}

CASE("shuffles, votes and sums over a warp") {
  const auto kernel = [](Params p) {
    const int lane = thread() % 32;
    const int next = __shfl_sync(~0u, lane, lane + 1);
    const int partner = __shfl_xor_sync(~0u, lane, 5);
    const unsigned odd = __ballot_sync(~0u, lane % 2 == 1);
    const float sum = cuda::warp_sum(static_cast<float>(lane));
    const float largest = cuda::warp_max(static_cast<float>(lane % 7));
    const bool is_right = next == (lane + 1) % 32 && partner == (lane ^ 5) && odd == 0xaaaaaaaau && sum == 496 &&
                          largest == 6 && __any_sync(~0u, lane == 3) && !__all_sync(~0u, lane == 3);
    p.out[thread()] = is_right;
  };
  CHECK(is_always(kernel, std::vector<int>(kThreads, 1)));
}

CASE("part of a warp can meet under its own mask") {
  const auto kernel = [](Params p) {
    const int lane = thread() % 32;
    p.out[thread()] = lane < 8 ? __shfl_sync(0xffu, lane, 7) : 0;
  };
  std::vector<int> expected(kThreads, 0);
  for (int i = 0; i < kThreads; ++i) expected[i] = i % 32 < 8 ? 7 : 0;
  CHECK(is_always(kernel, expected));
}

CASE("a barrier that some threads never reach names kernel, block, thread and what each waits for") {
  const std::string left = complaint([](Params) {
    if (thread() != 5) __syncthreads();
  });
  check_says("a thread that ended", left,
             {"Kernel probe, block (0, 0, 0), thread ", "waits in __syncthreads at ",
              "emulator_test.cpp:", "for thread 5, which has ended"});
  const std::string divergent = complaint([](Params) {
    if (thread() < 32) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  });
  check_says("two places", divergent, {"which waits in __syncthreads"});
}

CASE("a warp whose lanes part is named") {
  check_says("an early end", complaint([](Params) {
               if (thread() % 32 == 9) return;
               __syncwarp();
             }),
             {"waits in __syncwarp", "thread ", "which has ended"});
  check_says("other operations", complaint([](Params p) {
               const int lane = thread() % 32;
               p.out[thread()] = lane == 0 ? __shfl_xor_sync(~0u, lane, 1) : __shfl_sync(~0u, lane, 1);
             }),
             {"__shfl_xor_sync", "__shfl_sync"});
  check_says("a mask without the caller", complaint([](Params) { __syncwarp(1u); }), {"a mask that leaves it out"});
  check_says("a lane outside of the mask", complaint([](Params p) {
               if (thread() % 32 < 4) p.out[thread()] = __shfl_sync(0xfu, 1, 9);
             }),
             {"reads a lane outside of its mask"});
}

CASE("loops without an end are errors") {
  check_says("a wait for memory",
             complaint(
                 [](Params p) {
                   while (p.out[0] != 1) {
                   }
                 },
                 32),
             {"its loop seems to have no end"});
}

CASE("memory: bounds, null, alignment, the arena's size, and host code that touches the device") {
  check_says("one too far", complaint([](Params p) { p.out[thread() + 1] = 0; }),
             {"touched 4 bytes at offset 256 of 256 bytes of device memory"});
  check_says("before the start", complaint([](Params p) { p.out[-1 - thread()] = 0; }), {"at offset -"});
  check_says("null", complaint([](Params p) { p.out[0] = static_cast<int>(p.in[0]); }), {"through a null pointer"});
  check_says("alignment", complaint([](Params p) { p.out[0] = cuda::as<int4>(p.out + 1)[0].x; }),
             {"not aligned to 16"});
  check_says("a neighbour in the arena", complaint([](Params p) {
               SharedArena arena;
               const Shared<int> first = arena.take<int>(4), second = arena.take<int>(4);
               second[0] = 1;
               p.out[0] = first[4];
             }),
             {"of 16 bytes of shared memory"});
  check_says("a small arena", complaint([](Params) { SharedArena().take<float>(9); }, kThreads, 32),
             {"takes 36 bytes of shared memory, the launch gave 32"});
  cuda::Stream stream;
  const cuda::DeviceBuffer buffer(16);
  CHECK_FAILS(buffer.as<int>()[0], Internal);
}

CASE("device and shared memory that nobody wrote is poison") {
  const auto kernel = [](Params p) {
    SharedArena arena;
    const Shared<float> values = arena.take<float>(4);
    p.out[thread()] = std::isnan(values[thread() % 4]) && std::isnan(cuda::as<const float>(p.out)[thread()]);
  };
  cuda::Stream stream;
  const cuda::DeviceBuffer out(kThreads * sizeof(int));
  cuda::launch(stream, +kernel, {}, kThreads, 64, {.out = out.as<int>()});
  CHECK(on_host<int>(stream, out) == std::vector<int>(kThreads, 1));
}

CASE("launches that a card would refuse are refused") {
  CHECK_FAILS(outcome([](Params) {}, 1, 48), Internal);
  CHECK_FAILS(outcome([](Params) {}, 1, 512), Internal);
  CHECK_FAILS(outcome([](Params) {}, 1, 32, 8192), Internal);
  CHECK_FAILS(outcome([](Params) {}, 1, 32, 0, {.x = 1, .y = 70000}), Internal);
}

CASE("after an error the emulator goes on") {
  CHECK(!complaint([](Params p) { p.out[1000] = 1; }).empty());
  CHECK(is_always(reverse_in_block<true>, reversed()));
}
