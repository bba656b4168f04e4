// What this machine can do at most: bytes read from memory and multiply-accumulates per second. Figures of speed are fractions of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope {

// Loops that keep one execution unit busy from registers, or read memory once. Each returns something that depends on all it did.
struct PeakLoop {
  const char* kind;          // "f32", "bf16" or "int8": of the factors
  const char* instructions;  // as instruction sets are named elsewhere
  int64_t macs_per_round;
  uint64_t (*run)(int64_t rounds);
};

// Those that this machine can run, the fastest of each kind last.
std::vector<PeakLoop> peak_loops();

// Sums the words of a block; `bytes` is a multiple of 512.
uint64_t read_memory(const std::byte* block, size_t bytes);

}  // namespace moescope
