// Loops divided among the threads of the process. Items are claimed one at a time, so a slow or taken core holds up nobody but its own
// item: the caller works too, and waits only for workers that have claimed something.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

namespace moescope {

class Workers;

// What one backend asks of the workers: how many of them, when to stop, whether to measure. All pools of the process share the workers;
// several may have jobs at the same time, from several callers.
class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // the caller's included; OutOfMemory where the system gives fewer
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls work(item, thread) for every item in [0, num_items), thread in [0, num_threads). Returns when all are done. The first
  // exception ends the job early and is thrown here; a set cancel flag ends it with Aborted. One job of a pool at a time.
  void parallel_for(int64_t num_items, const std::function<void(int64_t item, int thread)>& work);

  void set_cancel(const std::atomic<bool>* cancel) { cancel_ = cancel; }

  // While measured, the pool adds up the time that its threads, the caller included, spend in work.
  void set_measured(bool measured) { measured_ = measured; }
  double busy_seconds() const { return static_cast<double>(busy_nanoseconds_) * 1e-9; }

 private:
  int num_threads_;
  std::shared_ptr<Workers> workers_;  // null for one thread
  const std::atomic<bool>* cancel_ = nullptr;
  bool measured_ = false;
  int64_t busy_nanoseconds_ = 0;
};

}  // namespace moescope
