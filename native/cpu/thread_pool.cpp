#include "cpu/thread_pool.h"

#include "core/error.h"
#include "cpu/workers.h"

namespace moescope {

ThreadPool::ThreadPool(int num_threads)
    : num_threads_(num_threads), workers_(num_threads > 1 ? Workers::shared(num_threads - 1) : nullptr) {}

ThreadPool::~ThreadPool() = default;

void ThreadPool::parallel_for(int64_t num_items, const std::function<void(int64_t, int)>& work) {
  Job job;
  job.work = &work;
  job.num_items = num_items;
  job.max_workers = num_threads_ - 1;
  job.cancel = cancel_;
  job.is_measured = measured_;
  if (num_items > 1 && workers_ != nullptr) {
    workers_->run(job);
  } else {
    job.run(0);
  }
  busy_nanoseconds_ += job.busy_nanoseconds.load(std::memory_order_relaxed);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace moescope
