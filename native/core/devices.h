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

// The instruction set that its products would use: "avx512vnni", "avx512", "avx2", "neon" or "portable".
const char* cpu_instruction_set(Precision precision);

// Cores that this process may use: affinity mask and cgroup CPU quota, at least 1.
int available_cores();

}  // namespace moescope
