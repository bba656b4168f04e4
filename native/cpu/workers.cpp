#include "cpu/workers.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "core/devices.h"
#include "core/error.h"

namespace moescope {

namespace {

using Clock = std::chrono::steady_clock;

// A step is some dozens of jobs with microseconds between them, and waking a thread takes longer than most of them. So workers look for
// the next job for a while before they sleep. A caller sleeps sooner: what it waits for may have lost its core, and an idle core is what
// the system moves it to.
constexpr auto kWorkerSpin = std::chrono::microseconds(60);
constexpr auto kCallerSpin = std::chrono::microseconds(20);

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `done` came true within the time.
template <typename Done>
bool spin(std::chrono::microseconds time, const Done& done) {
  const auto end = Clock::now() + time;
  do {
    for (int look = 0; look < 8; ++look) {
      if (done()) return true;
      relax();
    }
  } while (Clock::now() < end);
  return false;
}

}  // namespace

void Job::run(int thread) {
  if (!is_measured) return claim_items(thread);
  const auto start = Clock::now();
  claim_items(thread);
  busy_nanoseconds.fetch_add(std::chrono::nanoseconds(Clock::now() - start).count(), std::memory_order_relaxed);
}

void Job::claim_items(int thread) {
  while (!stop.load(std::memory_order_relaxed)) {
    const int64_t item = next.fetch_add(1, std::memory_order_relaxed);
    if (item >= num_items) return;
    try {
      if (cancel != nullptr && cancel->load(std::memory_order_relaxed)) {
        fail(ErrorCode::Aborted, "The operation was cancelled.");
      }
      (*work)(item, thread);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(error_mutex);
      if (!error) error = std::current_exception();
      stop.store(true, std::memory_order_relaxed);
    }
  }
}

std::shared_ptr<Workers> Workers::shared(int count) {
  static std::mutex mutex;
  static std::weak_ptr<Workers> current;
  const std::lock_guard<std::mutex> lock(mutex);
  std::shared_ptr<Workers> workers = current.lock();
  if (workers == nullptr) current = workers = std::make_shared<Workers>();
  workers->grow(count);
  return workers;
}

void Workers::grow(int count) {
  const std::lock_guard<std::mutex> lock(mutex_);
  try {
    while (threads_.size() < static_cast<size_t>(count)) threads_.emplace_back([this] { loop(); });
  } catch (const std::system_error& error) {
    fail(ErrorCode::OutOfMemory, "The system allows ", threads_.size() + 1, " of ", count + 1,
         " threads: ", error.what(), ".");
  }
  // More threads than cores: one that spins would take the core of one that works.
  may_spin_.store(static_cast<int>(threads_.size()) < available_cores(), std::memory_order_relaxed);
}

Workers::~Workers() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Job* Workers::joinable() {
  for (Job* job : jobs_) {
    if (job->joined < job->max_workers && job->next.load(std::memory_order_relaxed) < job->num_items) return job;
  }
  return nullptr;
}

void Workers::loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!closing_) {
    Job* job = joinable();
    if (job == nullptr) {
      const uint64_t seen = generation_.load(std::memory_order_relaxed);
      lock.unlock();
      const auto changed = [&] { return generation_.load(std::memory_order_acquire) != seen; };
      const bool found = may_spin_.load(std::memory_order_relaxed) && spin(kWorkerSpin, changed);
      lock.lock();
      if (found) continue;
      ++sleepers_;
      wake_.wait(lock, changed);
      --sleepers_;
      continue;
    }
    const int thread = ++job->joined;
    job->active.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    job->run(thread);
    lock.lock();
    // The last one's decrement frees the job: nothing of it may be read after.
    const bool caller_sleeps = job->caller_sleeps;
    job->active.fetch_sub(1, std::memory_order_release);
    if (caller_sleeps) finished_.notify_all();
  }
}

void Workers::run(Job& job) {
  int64_t to_wake = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(&job);
    generation_.fetch_add(1, std::memory_order_release);
    to_wake = std::min<int64_t>({sleepers_, job.max_workers, job.num_items - 1});
  }
  for (; to_wake > 0; --to_wake) wake_.notify_one();
  job.run(0);
  finish(job);
}

void Workers::finish(Job& job) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.erase(std::find(jobs_.begin(), jobs_.end(), &job));
  }
  const auto done = [&] { return job.active.load(std::memory_order_acquire) == 0; };
  if (done() || (may_spin_.load(std::memory_order_relaxed) && spin(kCallerSpin, done))) return;
  std::unique_lock<std::mutex> lock(mutex_);
  job.caller_sleeps = true;
  finished_.wait(lock, done);
}

}  // namespace moescope
