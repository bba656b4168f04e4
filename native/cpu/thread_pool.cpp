#include "cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <system_error>

#ifdef __linux__
#include <sched.h>
#endif

#include "core/devices.h"
#include "core/error.h"

namespace moescope {

ThreadPool::ThreadPool(int num_threads) {
  try {
    for (int thread = 1; thread < num_threads; ++thread) workers_.emplace_back([this, thread] { worker(thread); });
  } catch (const std::system_error& error) {
    const size_t started = workers_.size() + 1;
    close();
    fail(ErrorCode::OutOfMemory, "The system allows ", started, " of ", num_threads, " threads: ", error.what(), ".");
  }
}

ThreadPool::~ThreadPool() { close(); }

void ThreadPool::close() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(Job& job, int thread) {
  if (!measured_.load(std::memory_order_relaxed)) return claim_items(job, thread);
  const auto start = std::chrono::steady_clock::now();
  claim_items(job, thread);
  const auto busy = std::chrono::steady_clock::now() - start;
  busy_nanoseconds_.fetch_add(std::chrono::nanoseconds(busy).count(), std::memory_order_relaxed);
}

void ThreadPool::claim_items(Job& job, int thread) {
  while (!job.stop.load(std::memory_order_relaxed)) {
    const int64_t item = job.next.fetch_add(1, std::memory_order_relaxed);
    if (item >= job.num_items) return;
    try {
      if (cancel_ != nullptr && cancel_->load(std::memory_order_relaxed)) {
        fail(ErrorCode::Aborted, "The operation was cancelled.");
      }
      (*job.work)(item, thread);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(job.error_mutex);
      if (!job.error) job.error = std::current_exception();
      job.stop.store(true, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::worker(int thread) {
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return closing_ || (job_ != nullptr && generation_ != seen); });
    if (closing_) return;
    seen = generation_;
    Job& job = *job_;
    ++busy_;
    lock.unlock();
    run(job, thread);
    lock.lock();
    if (--busy_ == 0) finished_.notify_one();
  }
}

void ThreadPool::parallel_for(int64_t num_items, const std::function<void(int64_t, int)>& work) {
  Job job;
  job.work = &work;
  job.num_items = num_items;
  const bool shared = num_items > 1 && !workers_.empty();
  if (shared) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    wake_.notify_all();
  }
  run(job, 0);
  if (shared) {
    // No worker may join after job_ is gone; those that did join are counted in busy_.
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;
    finished_.wait(lock, [&] { return busy_ == 0; });
  }
  if (job.error) std::rethrow_exception(job.error);
}

namespace {

// The cgroup v2 quota in cores, or a very large number.
double quota_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return 1e9;
  return std::atof(quota.c_str()) / period;
}

}  // namespace

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
#ifdef __linux__
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) cores = CPU_COUNT(&mask);
#endif
  return std::max(1, std::min(cores, static_cast<int>(std::ceil(quota_cores()))));
}

}  // namespace moescope
