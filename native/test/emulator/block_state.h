// One block of a launch: its lanes, who can run, who waits for whom.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "block.h"
#include "fiber.h"

namespace moescope::emulator {

constexpr int kLanes = 32;

uint64_t random_bits();

// Where threads wait for one another.
struct Rendezvous {
  const char* operation = nullptr;
  const char* file = nullptr;
  unsigned line = 0;
  unsigned mask = 0;     // of the warp; 0: the whole block
  unsigned arrived = 0;  // lanes of the warp, or a number of threads
  void* arguments[kLanes] = {};

  bool is(const char* other, const std::source_location& where, unsigned other_mask) const {
    return mask == other_mask && line == where.line() && std::strcmp(operation, other) == 0 &&
           std::strcmp(file, where.file_name()) == 0;
  }
};

struct Copy {
  char* shared;
  const char* global;
};

struct Lane {
  std::unique_ptr<Fiber> fiber;
  bool is_over = false;
  // What the lane waits in, or waited in last.
  const char* operation = nullptr;
  const char* file = nullptr;
  unsigned line = 0;
  unsigned mask = 0;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open_group;

  bool has_copies() const {
    return !open_group.empty() || std::any_of(groups.begin(), groups.end(), [](const auto& g) { return !g.empty(); });
  }
};

// How the next lane is drawn: bugs of missing barriers need lanes far apart in some order, which one policy alone rarely gives.
struct Policy {
  bool one_warp_first = false;
  enum class LaneOrder { Random, Ascending, Descending } lanes = LaneOrder::Random;
};

class Block {
 public:
  Block(const char* kernel_name, int threads, size_t shared_bytes, const std::function<void()>& kernel);

  void run(Dim index);

  void meet_warp(unsigned mask, const char* operation, const std::source_location& where, void* arguments,
                 void (*finish)(WarpArguments, unsigned));
  void meet_block(const char* operation, const std::source_location& where);
  std::string place(int thread) const;
  char* arena() const { return arena_.get(); }
  size_t shared_bytes() const { return shared_bytes_; }
  Lane& lane() { return lanes_[running_]; }
  int running() const { return running_; }

 private:
  struct Deleter {
    void operator()(char* memory) const;
  };

  static void lane_main(void* block);
  int draw_lane();
  void wait(const char* operation, const std::source_location& where, unsigned mask);
  void release(int thread) { ready_[thread / kLanes] |= 1u << (thread % kLanes); }
  [[noreturn]] void fail_deadlock() const;
  std::string state_of(int thread) const;

  const char* kernel_name_;
  size_t shared_bytes_;
  const std::function<void()>& kernel_;
  Dim index_;
  std::unique_ptr<char[], Deleter> arena_;
  std::vector<Lane> lanes_;
  std::vector<std::vector<Rendezvous>> warps_;
  std::vector<Rendezvous> barriers_;
  std::vector<unsigned> ready_;  // lanes that can run, a mask for each warp
  std::vector<int> warp_order_;
  Policy policy_;
  int running_ = 0;
  int64_t rendezvous_left_ = 0;
  std::exception_ptr error_;
};

}  // namespace moescope::emulator
