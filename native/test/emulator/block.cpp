#include <bit>
#include <new>
#include <numeric>
#include <sstream>

#include "block_state.h"
#include "checked_pointer.h"
#include "core/error.h"

namespace moescope::emulator {

namespace {

constexpr int kWarp = 32;
constexpr int64_t kAccessesBetweenRendezvous = int64_t{1} << 28;
constexpr int64_t kRendezvousPerBlock = int64_t{1} << 26;
constexpr size_t kArenaAlignment = 128;

unsigned random_below(size_t bound) { return static_cast<unsigned>(random_bits() % bound); }

}  // namespace

Block::Block(const char* kernel_name, int threads, size_t shared_bytes, const std::function<void()>& kernel)
    : kernel_name_(kernel_name), shared_bytes_(shared_bytes), kernel_(kernel), lanes_(threads) {
  arena_.reset(new (std::align_val_t{kArenaAlignment}) char[std::max<size_t>(shared_bytes, 1)]);
}

void Block::Deleter::operator()(char* memory) const { ::operator delete[](memory, std::align_val_t{kArenaAlignment}); }

void Block::lane_main(void* block) {
  Block& self = *static_cast<Block*>(block);
  const int thread = self.running_;
  try {
    self.kernel_();
    if (self.lanes_[thread].has_copies()) fail_lane("ended with asynchronous copies that it did not wait for");
  } catch (...) {
    self.error_ = std::current_exception();
  }
  self.lanes_[thread].is_over = true;
}

int Block::draw_lane() {
  const int num_warps = static_cast<int>(ready_.size());
  const int first = policy_.one_warp_first ? 0 : static_cast<int>(random_below(num_warps));
  for (int i = 0; i < num_warps; ++i) {
    const int warp = warp_order_[(first + i) % num_warps];
    const unsigned ready = ready_[warp];
    if (ready == 0) continue;
    int lane = 0;
    if (policy_.lanes == Policy::LaneOrder::Ascending) {
      lane = std::countr_zero(ready);
    } else if (policy_.lanes == Policy::LaneOrder::Descending) {
      lane = kLanes - 1 - std::countl_zero(ready);
    } else {
      const int turn = static_cast<int>(random_below(kLanes));
      lane = (std::countr_zero(std::rotr(ready, turn)) + turn) % kLanes;
    }
    return warp * kLanes + lane;
  }
  return -1;
}

void Block::run(Dim index) {
  index_ = index;
  const int threads = static_cast<int>(lanes_.size());
  std::memset(arena_.get(), 0xFF, shared_bytes_);
  warps_.assign(threads / kLanes, {});
  ready_.assign(threads / kLanes, ~0u);
  barriers_.clear();
  warp_order_.resize(threads / kLanes);
  std::iota(warp_order_.begin(), warp_order_.end(), 0);
  for (size_t i = warp_order_.size(); i > 1; --i) std::swap(warp_order_[i - 1], warp_order_[random_below(i)]);
  policy_.one_warp_first = random_below(2) == 0;
  policy_.lanes = static_cast<Policy::LaneOrder>(random_below(3));
  rendezvous_left_ = kRendezvousPerBlock;
  for (Lane& lane : lanes_) {
    lane = {};
    lane.fiber = std::make_unique<Fiber>(&Block::lane_main, this);
  }
  int num_over = 0;
  block_index = index;
  while (num_over < threads) {
    const int thread = draw_lane();
    if (thread < 0) fail_deadlock();
    ready_[thread / kLanes] &= ~(1u << (thread % kLanes));
    running_ = thread;
    thread_index = {static_cast<unsigned>(thread), 0, 0};
    accesses_left = kAccessesBetweenRendezvous;
    is_in_kernel = true;
    lanes_[thread].fiber->resume();
    is_in_kernel = false;
    if (error_ != nullptr) std::rethrow_exception(error_);
    num_over += lanes_[thread].is_over;
  }
}

void Block::wait(const char* operation, const std::source_location& where, unsigned mask) {
  Lane& lane = this->lane();
  lane.operation = operation;
  lane.file = where.file_name();
  lane.line = where.line();
  lane.mask = mask;
  if (--rendezvous_left_ < 0) fail_lane("met others so often that its loop seems to have no end");
  lane.fiber->pause();
}

void Block::meet_warp(unsigned mask, const char* operation, const std::source_location& where, void* arguments,
                      void (*finish)(WarpArguments, unsigned)) {
  const int thread = running_, warp = thread / kLanes, lane = thread % kLanes;
  if ((mask >> lane & 1) == 0) {
    fail_lane((std::string("called ") + operation + " with a mask that leaves it out").c_str());
  }
  std::vector<Rendezvous>& open = warps_[warp];
  auto meeting = std::find_if(open.begin(), open.end(), [&](const auto& r) { return r.is(operation, where, mask); });
  if (meeting == open.end()) {
    open.push_back({operation, where.file_name(), where.line(), mask, 0, {}});
    meeting = open.end() - 1;
  }
  meeting->arrived |= 1u << lane;
  meeting->arguments[lane] = arguments;
  // The last one releases all, itself too, and waits for its turn like the others.
  if (meeting->arrived == mask) {
    const Rendezvous complete = *meeting;
    open.erase(meeting);
    if (finish != nullptr) finish(complete.arguments, mask);
    for (int other = 0; other < kLanes; ++other) {
      if (mask >> other & 1) release(warp * kLanes + other);
    }
  }
  wait(operation, where, mask);
}

void Block::meet_block(const char* operation, const std::source_location& where) {
  auto meeting =
      std::find_if(barriers_.begin(), barriers_.end(), [&](const auto& r) { return r.is(operation, where, 0); });
  if (meeting == barriers_.end()) {
    barriers_.push_back({operation, where.file_name(), where.line(), 0, 0, {}});
    meeting = barriers_.end() - 1;
  }
  if (++meeting->arrived == lanes_.size()) {
    barriers_.erase(meeting);
    for (size_t thread = 0; thread < lanes_.size(); ++thread) release(static_cast<int>(thread));
  }
  wait(operation, where, 0);
}

std::string Block::place(int thread) const {
  std::ostringstream text;
  text << "Kernel " << kernel_name_ << ", block (" << index_.x << ", " << index_.y << ", " << index_.z << "), thread "
       << thread;
  return text.str();
}

std::string Block::state_of(int thread) const {
  const Lane& lane = lanes_[thread];
  if (lane.is_over) return "has ended";
  std::ostringstream text;
  text << "waits in " << lane.operation << " at " << lane.file << ":" << lane.line;
  return text.str();
}

void Block::fail_deadlock() const {
  for (int thread = 0; thread < static_cast<int>(lanes_.size()); ++thread) {
    const Lane& waiting = lanes_[thread];
    if (waiting.is_over) continue;
    for (int other = 0; other < static_cast<int>(lanes_.size()); ++other) {
      const bool is_wanted =
          waiting.mask == 0 || (other / kLanes == thread / kLanes && waiting.mask >> other % kLanes & 1);
      const Lane& missing = lanes_[other];
      const bool has_come = !missing.is_over && missing.mask == waiting.mask && missing.line == waiting.line &&
                            std::strcmp(missing.operation, waiting.operation) == 0 &&
                            std::strcmp(missing.file, waiting.file) == 0;
      if (!is_wanted || has_come) continue;
      fail(ErrorCode::Internal, place(thread), " ", state_of(thread), " for thread ", other, ", which ",
           state_of(other), ".");
    }
  }
  fail(ErrorCode::Internal, place(0), ": no lane can run.");
}

}  // namespace moescope::emulator
