#include "cpu/ceilings.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <system_error>
#include <thread>

#include "core/devices.h"
#include "core/error.h"

namespace moescope {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRoundsPerLook = 20'000;  // of a peak loop, some 0.1 ms, between two looks at the clock
constexpr size_t kBlockBytes = size_t{1} << 20;

// Units of work per second of `threads` threads that call `work(thread)` for `seconds`; `work` returns what it did.
double rate_of(int threads, double seconds, const std::function<double(int thread)>& work) {
  std::atomic<int> ready{0};
  std::atomic<bool> abandoned{false};
  std::vector<double> rates(threads);
  const auto run = [&](int thread) {
    work(thread);  // warms up, and has pages that the thread alone uses mapped
    ready.fetch_add(1);
    while (ready.load() < threads) {
      if (abandoned.load()) return;
      std::this_thread::yield();
    }
    const auto start = Clock::now();
    double done = 0, elapsed = 0;
    while (elapsed < seconds) {
      done += work(thread);
      elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    }
    rates[thread] = done / elapsed;
  };
  std::vector<std::thread> others;
  try {
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  } catch (const std::system_error&) {
    abandoned.store(true);
  }
  run(0);
  for (std::thread& other : others) other.join();
  if (abandoned.load()) fail(ErrorCode::OutOfMemory, "The system does not allow ", threads, " threads.");
  double total = 0;
  for (double rate : rates) total += rate;
  return total;
}

std::atomic<uint64_t> sink{0};  // keeps the loops' results alive

double read_rate(int threads, double seconds, size_t bytes) {
  const size_t share = bytes / static_cast<size_t>(threads) / kBlockBytes * kBlockBytes;
  if (share == 0) fail(ErrorCode::InvalidArgument, "Expected at least a MiB of memory for each thread.");
  std::vector<std::unique_ptr<std::byte[]>> memory(threads);
  for (auto& part : memory) {
    part.reset(new (std::nothrow) std::byte[share]);
    if (part == nullptr) fail(ErrorCode::OutOfMemory, "The system has no ", bytes, " bytes to read from.");
  }
  std::vector<char> written(threads);
  std::vector<size_t> next(threads);
  return rate_of(threads, seconds, [&](int thread) {
    std::byte* part = memory[thread].get();
    // The first call writes: pages that were never written are all one page of zeros.
    if (!written[thread]) {
      std::fill_n(part, share, std::byte{1});
      written[thread] = 1;
      return 0.0;
    }
    sink.fetch_xor(read_memory(part + next[thread], kBlockBytes), std::memory_order_relaxed);
    next[thread] = (next[thread] + kBlockBytes) % share;
    return static_cast<double>(kBlockBytes);
  });
}

}  // namespace

std::vector<Ceiling> cpu_ceilings() {
  std::vector<Ceiling> ceilings = {{"read", "memory"}};
  for (const PeakLoop& loop : peak_loops()) ceilings.push_back({loop.kind, loop.instructions});
  return ceilings;
}

double measure_cpu_ceiling(int index, int threads, double seconds, size_t read_bytes) {
  if (index == 0) return read_rate(threads, seconds, read_bytes);
  const std::vector<PeakLoop> loops = peak_loops();
  if (index < 0 || index > static_cast<int>(loops.size())) {
    fail(ErrorCode::InvalidArgument, "Expected a ceiling from 0 to ", loops.size(), ", got ", index, ".");
  }
  const PeakLoop& loop = loops[index - 1];
  return rate_of(threads, seconds, [&](int) {
    sink.fetch_xor(loop.run(kRoundsPerLook), std::memory_order_relaxed);
    return static_cast<double>(kRoundsPerLook) * static_cast<double>(loop.macs_per_round);
  });
}

}  // namespace moescope
