// Fixed workers that claim items one at a time, so that a slow or taken core holds up nobody but its own item. The caller works too.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace moescope {

class ThreadPool {
 public:
  explicit ThreadPool(int num_threads);  // OutOfMemory where the system gives fewer
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(item, thread) for every item in [0, num_items), thread in [0, num_threads). Returns when all are done. The first
  // exception ends the job early and is thrown here; a set cancel flag ends it with Aborted. One job at a time.
  void parallel_for(int64_t num_items, const std::function<void(int64_t item, int thread)>& work);

  void set_cancel(const std::atomic<bool>* cancel) { cancel_ = cancel; }

  // While measured, the pool adds up the time that its threads, the caller included, spend in work.
  void set_measured(bool measured) { measured_.store(measured, std::memory_order_relaxed); }
  double busy_seconds() const { return static_cast<double>(busy_nanoseconds_.load(std::memory_order_relaxed)) * 1e-9; }

 private:
  struct Job {
    const std::function<void(int64_t, int)>* work = nullptr;
    int64_t num_items = 0;
    std::atomic<int64_t> next{0};
    std::atomic<bool> stop{false};
    std::exception_ptr error;
    std::mutex error_mutex;
  };

  void run(Job& job, int thread);
  void claim_items(Job& job, int thread);
  void worker(int thread);
  void close();

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  Job* job_ = nullptr;
  uint64_t generation_ = 0;
  int busy_ = 0;
  bool closing_ = false;
  const std::atomic<bool>* cancel_ = nullptr;
  std::atomic<bool> measured_{false};
  std::atomic<int64_t> busy_nanoseconds_{0};
};

}  // namespace moescope
