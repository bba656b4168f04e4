// The threads of the process, and the jobs that they may join.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace moescope {

// A loop that its caller and some workers run together. It lives on the caller's stack.
struct Job {
  const std::function<void(int64_t, int)>* work = nullptr;
  int64_t num_items = 0;
  int max_workers = 0;
  const std::atomic<bool>* cancel = nullptr;
  bool is_measured = false;

  std::atomic<int64_t> next{0};
  std::atomic<bool> stop{false};
  std::atomic<int64_t> busy_nanoseconds{0};
  std::exception_ptr error;
  std::mutex error_mutex;

  // Guarded by the workers' mutex, but for the caller's look at `active`.
  int joined = 0;
  std::atomic<int> active{0};
  bool caller_sleeps = false;

  // Claims items until there is none.
  void run(int thread);

 private:
  void claim_items(int thread);
};

class Workers {
 public:
  // Those of the process, at least `count`; OutOfMemory where the system gives fewer. They end with the last owner.
  static std::shared_ptr<Workers> shared(int count);

  Workers() = default;
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  // Runs the job on the caller and on workers that are free. Whoever has claimed nothing is not waited for.
  void run(Job& job);

 private:
  void grow(int count);
  void loop();
  Job* joinable();
  void finish(Job& job);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  std::vector<std::thread> threads_;
  std::vector<Job*> jobs_;
  std::atomic<uint64_t> generation_{0};  // of jobs_; changed with the mutex held
  std::atomic<bool> may_spin_{false};
  int sleepers_ = 0;
  bool closing_ = false;
};

}  // namespace moescope
