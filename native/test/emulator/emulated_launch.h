// launch.h for g++: the launch is enqueued and runs when its stream is waited for.
#pragma once

#include <functional>

#include "block.h"
#include "cuda/runtime.h"

namespace moescope::emulator {

// Runs when somebody waits for the stream; kept for replay where the stream is being captured.
void enqueue(cuda::Stream& stream, std::function<void()> work);

}  // namespace moescope::emulator

namespace moescope::cuda {

template <typename Params>
void launch_here(Stream& stream, const char* name, void (*kernel)(Params), unsigned x, unsigned y, unsigned z,
                 int threads, size_t shared_bytes, const Params& params) {
  emulator::enqueue(stream, [=] {
    emulator::run_grid(name, {x, y, z}, threads, shared_bytes, [&] { kernel(params); });
  });
}

}  // namespace moescope::cuda
