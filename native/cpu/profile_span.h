// The time of parts of a step, one after another: each lasts until the next begins or the scope ends.
#pragma once

#include <chrono>

#include "core/profile.h"
#include "cpu/thread_pool.h"

namespace moescope {

class ProfileSpan {
 public:
  ProfileSpan(Profile* profile, const ThreadPool& pool, int layer) : profile_(profile), pool_(pool), layer_(layer) {}
  ProfileSpan(const ProfileSpan&) = delete;
  ProfileSpan& operator=(const ProfileSpan&) = delete;
  ~ProfileSpan() {
    if (profile_ != nullptr && started_) finish();
  }

  // Ends the part before and begins one. `work`: () -> ProfileWork, called only where there is a profile.
  template <typename Work>
  void begin(ProfileOp op, const Work& work) {
    if (profile_ == nullptr) return;
    if (started_) finish();
    op_ = op;
    work_ = work();
    started_ = true;
    busy_before_ = pool_.busy_seconds();
    start_ = Clock::now();
  }
  void begin(ProfileOp op) {
    begin(op, [] { return ProfileWork{}; });
  }

 private:
  using Clock = std::chrono::steady_clock;

  void finish() {
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    profile_->add(op_, layer_, seconds, pool_.busy_seconds() - busy_before_, work_);
  }

  Profile* profile_;
  const ThreadPool& pool_;
  int layer_;
  bool started_ = false;
  ProfileOp op_ = ProfileOp::Embed;
  ProfileWork work_;
  double busy_before_ = 0;
  Clock::time_point start_;
};

}  // namespace moescope
