// Stackful fibers: each has a stack of its own, and running one is a switch of registers (8 ns on x86-64 and aarch64, ucontext
// elsewhere). A fiber that is dropped in the middle loses its stack without unwinding.
#pragma once

#include <cstddef>
#include <memory>

namespace moescope::emulator {

class Fiber {
 public:
  // `body(argument)` must not throw; when it returns, the fiber is over.
  Fiber(void (*body)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs the fiber until it pauses or is over. Called from outside of fibers.
  void resume();
  // Back to whoever resumed this fiber. Called from within it.
  void pause();
  bool is_over() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

}  // namespace moescope::emulator
