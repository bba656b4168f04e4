// The devices that a model can be bound to. Each function is defined by the backend that it belongs to, so that core and addon
// include none of them.
#pragma once

#include <memory>

#include "core/backend.h"
#include "core/weights.h"

namespace moescope {

// How products with quantised weights are computed; see cpu/backend.h.
enum class Precision : uint8_t { Ref, Fast };

// Runs on `num_threads` threads with the best instruction set of this machine; `config` and `weights` must outlive the backend.
// OutOfMemory where the system gives fewer threads.
std::unique_ptr<Backend> make_cpu_backend(const ModelConfig& config, const Weights& weights, int num_threads,
                                          Precision precision);

// How its products would be computed: an instruction set for `ref`, a way of cpu/fast_kernels.h for `fast`.
const char* cpu_instruction_set(Precision precision);

// What the machine can do at most: bytes read from memory, or multiply-accumulates of factors of a type.
struct Ceiling {
  const char* kind;          // "read", "f32", "bf16" or "int8"
  const char* instructions;  // the instruction set; "memory" for "read"
};

// Those that can be measured here.
std::vector<Ceiling> cpu_ceilings();

// Units per second of ceiling `index` with `threads` threads that work for `seconds`. `read_bytes`: memory that is read over and
// over, all threads together; no cache should hold it. OutOfMemory where it is not to be had.
double measure_cpu_ceiling(int index, int threads, double seconds, size_t read_bytes);

// Cores that this process may use: affinity mask and cgroup CPU quota, at least 1.
int available_cores();

}  // namespace moescope
