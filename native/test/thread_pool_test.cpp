// The pool of threads: every item once, errors and cancellation, many small jobs. Also run under TSan.
#include "cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "core/devices.h"
#include "test/check.h"

using namespace moescope;

namespace {

// Sizes around the number of threads, and many more than that.
constexpr int kSizes[] = {0, 1, 2, 3, 4, 5, 63, 200000};

}  // namespace

CASE("every item is done once, by a thread of the pool") {
  for (int num_threads : {1, 2, 4, 7}) {
    ThreadPool pool(num_threads);
    CHECK_EQ(pool.num_threads(), num_threads);
    for (int size : kSizes) {
      std::vector<std::atomic<int>> done(size);
      std::atomic<bool> known_thread = true;
      pool.parallel_for(size, [&](int64_t item, int thread) {
        done[item].fetch_add(1);
        if (thread < 0 || thread >= num_threads) known_thread.store(false);
      });
      CHECK(known_thread.load());
      CHECK(std::all_of(done.begin(), done.end(), [](const auto& times) { return times.load() == 1; }));
    }
  }
}

CASE("two items at a time never have the same thread number") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> alone = true;
  pool.parallel_for(4000, [&](int64_t, int thread) {
    if (inside[thread].fetch_add(1) != 0) alone.store(false);
    std::this_thread::yield();
    inside[thread].fetch_sub(1);
  });
  CHECK(alone.load());
}

CASE("what a job wrote is there when it returns, without locks of its own") {
  ThreadPool pool(4);
  std::vector<int64_t> values(500), sums(500);  // plain memory: TSan watches the hand-over
  for (int round = 0; round < 50; ++round) {
    pool.parallel_for(500, [&](int64_t item, int) { values[item] = item * round; });
    pool.parallel_for(500, [&](int64_t item, int) { sums[item] = values[499 - item] + values[item]; });
    CHECK(std::all_of(sums.begin(), sums.end(), [&](int64_t sum) { return sum == 499 * round; }));
  }
}

CASE("a worker that has claimed an item is waited for, awake and asleep") {
  ThreadPool pool(2);
  for (int milliseconds : {0, 5}) {
    std::atomic<int> begun = 0;
    std::atomic<bool> finished = false;
    pool.parallel_for(2, [&](int64_t, int thread) {
      begun.fetch_add(1);
      while (begun.load() < 2) std::this_thread::yield();  // each has one
      if (thread == 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
      finished.store(true);
    });
    CHECK(finished.load());
  }
}

CASE("thousands of tiny jobs back to back") {
  ThreadPool pool(4);
  std::atomic<int64_t> sum = 0;
  int64_t expected = 0;
  for (int job = 0; job < 20000; ++job) {
    const int size = job % 5;
    expected += size * (size - 1) / 2;
    pool.parallel_for(size, [&](int64_t item, int) { sum.fetch_add(item, std::memory_order_relaxed); });
  }
  CHECK_EQ(sum.load(), expected);
}

CASE("an exception ends the job early and comes out, and the pool goes on") {
  for (int num_threads : {1, 4}) {
    ThreadPool pool(num_threads);
    for (int round = 0; round < 200; ++round) {
      std::atomic<int> done = 0;
      std::string message;
      try {
        pool.parallel_for(1000000, [&](int64_t item, int) {
          done.fetch_add(1);
          if (item == 10) throw std::runtime_error("item 10");
        });
      } catch (const std::runtime_error& error) {
        message = error.what();
      }
      CHECK_EQ(message, std::string("item 10"));
      CHECK(done.load() < 1000000);
    }
    std::atomic<int> done = 0;
    pool.parallel_for(100, [&](int64_t, int) { done.fetch_add(1); });
    CHECK_EQ(done.load(), 100);
  }
}

CASE("when every item throws, one exception comes out and its kind stays") {
  ThreadPool pool(4);
  for (int round = 0; round < 100; ++round) {
    CHECK_FAILS(pool.parallel_for(50, [](int64_t, int) { fail(ErrorCode::Invariant, "broken"); }), Invariant);
  }
}

CASE("a cancel flag ends a job with Aborted, one item included, and is forgotten when it is taken back") {
  for (int num_threads : {1, 4}) {
    ThreadPool pool(num_threads);
    std::atomic<bool> cancel = true;
    pool.set_cancel(&cancel);
    std::atomic<int> done = 0;
    const auto count = [&](int64_t, int) { done.fetch_add(1); };
    CHECK_FAILS(pool.parallel_for(1, count), Aborted);
    CHECK_FAILS(pool.parallel_for(1000, count), Aborted);
    CHECK_EQ(done.load(), 0);
    pool.parallel_for(0, count);  // nothing to cancel

    cancel.store(false);
    CHECK_FAILS(pool.parallel_for(1000000,
                                  [&](int64_t item, int) {
                                    done.fetch_add(1);
                                    if (item == 20) cancel.store(true);
                                  }),
                Aborted);
    CHECK(done.load() < 1000000);

    pool.set_cancel(nullptr);
    done.store(0);
    pool.parallel_for(1000, count);
    CHECK_EQ(done.load(), 1000);
  }
}

CASE("threads that take turns share a pool") {
  ThreadPool pool(3);
  std::mutex turn;
  std::vector<std::thread> callers;
  std::vector<int64_t> sums(4);
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (int job = 0; job < 300; ++job) {
        const std::lock_guard<std::mutex> lock(turn);
        std::vector<int64_t> parts(pool.num_threads());
        pool.parallel_for(20, [&](int64_t item, int thread) { parts[thread] += item; });
        sums[caller] += std::accumulate(parts.begin(), parts.end(), int64_t{0});
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (int64_t sum : sums) CHECK_EQ(sum, 300 * 190);
}

CASE("pools come and go, with and without work") {
  for (int round = 0; round < 100; ++round) {
    ThreadPool pool(1 + round % 5);
    if (round % 2 == 0) continue;
    std::atomic<int> done = 0;
    pool.parallel_for(7, [&](int64_t, int) { done.fetch_add(1); });
    CHECK_EQ(done.load(), 7);
  }
}

CASE("two pools work at the same time") {
  std::vector<std::thread> callers;
  std::atomic<int> done = 0;
  for (int caller = 0; caller < 2; ++caller) {
    callers.emplace_back([&] {
      ThreadPool pool(3);
      for (int job = 0; job < 200; ++job) pool.parallel_for(10, [&](int64_t, int) { done.fetch_add(1); });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(done.load(), 4000);
}

CASE("at least one core is available") {
  CHECK(available_cores() >= 1);
  CHECK(available_cores() <= static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}
