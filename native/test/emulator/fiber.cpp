#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "core/error.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define MOESCOPE_ASAN 1
#else
#define MOESCOPE_ASAN 0
#endif

#if !defined(__x86_64__) && !defined(__aarch64__)
#define MOESCOPE_UCONTEXT 1
#endif
#ifdef MOESCOPE_UCONTEXT
#include <ucontext.h>
#endif

namespace moescope::emulator {

namespace {

// Frames are larger under ASan.
constexpr size_t kStackBytes = MOESCOPE_ASAN ? 256 * 1024 : 64 * 1024;

// Stacks with a page below them that nobody may touch; kept for the next fiber.
class StackPool {
 public:
  ~StackPool() {
    for (char* stack : free_) munmap(stack - page(), kStackBytes + page());
  }

  char* take() {
    if (!free_.empty()) {
      char* stack = free_.back();
      free_.pop_back();
#if MOESCOPE_ASAN
      __asan_unpoison_memory_region(stack, kStackBytes);
#endif
      return stack;
    }
    void* memory =
        mmap(nullptr, kStackBytes + page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail(ErrorCode::OutOfMemory, "The system gives no memory for another fiber's stack.");
    mprotect(memory, page(), PROT_NONE);
    return static_cast<char*>(memory) + page();
  }

  void give_back(char* stack) { free_.push_back(stack); }

 private:
  static size_t page() {
    static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
  }

  std::vector<char*> free_;
};

StackPool& stacks() {
  static thread_local StackPool pool;
  return pool;
}

}  // namespace

struct Fiber::State {
  void (*body)(void*) = nullptr;
  void* argument = nullptr;
  char* stack = nullptr;
  bool is_over = false;
#ifdef MOESCOPE_UCONTEXT
  ucontext_t own, caller;
#else
  void* own = nullptr;  // stack pointers; the registers lie on the stacks
  void* caller = nullptr;
#endif
#if MOESCOPE_ASAN
  void* fake_stack = nullptr;
  void* caller_fake_stack = nullptr;
  const void* caller_stack = nullptr;
  size_t caller_stack_bytes = 0;
#endif
};

namespace {

void fiber_main(Fiber::State* state);

}  // namespace

#ifndef MOESCOPE_UCONTEXT

// Saves the callee's registers and the stack pointer to *from, and takes those that were saved to `to`.
extern "C" void moescope_switch_stack(void** from, void* to);

#if defined(__x86_64__)
asm(R"(
.text
.globl moescope_switch_stack
.hidden moescope_switch_stack
.type moescope_switch_stack,@function
moescope_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size moescope_switch_stack,.-moescope_switch_stack
)");
#else
asm(R"(
.text
.globl moescope_switch_stack
.hidden moescope_switch_stack
.type moescope_switch_stack,%function
moescope_switch_stack:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size moescope_switch_stack,.-moescope_switch_stack
)");
#endif

namespace {

thread_local Fiber::State* starting = nullptr;

void switch_in(Fiber::State& state) { moescope_switch_stack(&state.caller, state.own); }
void switch_out(Fiber::State& state) { moescope_switch_stack(&state.own, state.caller); }

void first_frame() { fiber_main(starting); }

void prepare(Fiber::State& state) {
  // The first switch pops zeros for the registers and returns into first_frame, on a stack as after a call: 8 modulo 16 on x86-64.
  auto* top = reinterpret_cast<uint64_t*>(state.stack + kStackBytes);
#if defined(__x86_64__)
  constexpr int kSaved = 6;
  uint64_t* frame = top - 2 - kSaved;
  frame[kSaved] = reinterpret_cast<uint64_t>(&first_frame);
  frame[kSaved + 1] = 0;
#else
  constexpr int kSaved = 20;
  uint64_t* frame = top - kSaved;
  frame[11] = reinterpret_cast<uint64_t>(&first_frame);
#endif
  state.own = frame;
}

}  // namespace

#else

namespace {

thread_local Fiber::State* starting = nullptr;

void switch_in(Fiber::State& state) { swapcontext(&state.caller, &state.own); }
void switch_out(Fiber::State& state) { swapcontext(&state.own, &state.caller); }

void first_frame() { fiber_main(starting); }

void prepare(Fiber::State& state) {
  getcontext(&state.own);
  state.own.uc_stack.ss_sp = state.stack;
  state.own.uc_stack.ss_size = kStackBytes;
  state.own.uc_link = nullptr;
  makecontext(&state.own, first_frame, 0);
}

}  // namespace

#endif

namespace {

void fiber_main(Fiber::State* state) {
#if MOESCOPE_ASAN
  __sanitizer_finish_switch_fiber(nullptr, &state->caller_stack, &state->caller_stack_bytes);
#endif
  state->body(state->argument);
  state->is_over = true;
#if MOESCOPE_ASAN
  __sanitizer_start_switch_fiber(nullptr, state->caller_stack, state->caller_stack_bytes);
#endif
  switch_out(*state);
  __builtin_unreachable();
}

}  // namespace

Fiber::Fiber(void (*body)(void*), void* argument) : state_(std::make_unique<State>()) {
  state_->body = body;
  state_->argument = argument;
  state_->stack = stacks().take();
  prepare(*state_);
}

Fiber::~Fiber() { stacks().give_back(state_->stack); }

bool Fiber::is_over() const { return state_->is_over; }

void Fiber::resume() {
  starting = state_.get();
#if MOESCOPE_ASAN
  __sanitizer_start_switch_fiber(&state_->caller_fake_stack, state_->stack, kStackBytes);
#endif
  switch_in(*state_);
#if MOESCOPE_ASAN
  __sanitizer_finish_switch_fiber(state_->caller_fake_stack, nullptr, nullptr);
#endif
}

void Fiber::pause() {
#if MOESCOPE_ASAN
  __sanitizer_start_switch_fiber(&state_->fake_stack, state_->caller_stack, state_->caller_stack_bytes);
#endif
  switch_out(*state_);
#if MOESCOPE_ASAN
  __sanitizer_finish_switch_fiber(state_->fake_stack, &state_->caller_stack, &state_->caller_stack_bytes);
#endif
}

}  // namespace moescope::emulator
