#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#include "core/devices.h"

namespace moescope {

namespace {

// The cgroup's quota in cores, or a very large number. Version 2 has one file, version 1 two.
double quota_cores() {
  std::string quota;
  double period = 0;
  std::ifstream both("/sys/fs/cgroup/cpu.max");
  if (!(both >> quota >> period)) {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  const double allowed = std::atof(quota.c_str());  // "max" and -1: no quota
  return allowed > 0 && period > 0 ? allowed / period : 1e9;
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
