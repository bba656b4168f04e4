// Where the time of steps goes: seconds, bytes and products by op and layer. A backend without a profile reads no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace moescope {

// Parts of a step in the order of the forward pass, finer than the ops of core/backend.h. Names: kProfileOpNames.
enum class ProfileOp : uint8_t {
  Embed,
  AttentionIn,   // norm, q, k, v
  Rope,          // rope and cache write
  Attention,     // scores and weighted values
  AttentionOut,  // output projection, add
  Route,         // norm, router, selection, shared gate
  ExpertsIn,     // gate, up, of the shared expert too; of the shared expert too
  ExpertsOut,    // down, of the shared expert too
  ExpertsAdd,
  FeedForward,  // dense layers
  Head,         // final norm, output matrix
  Answer,       // log-probabilities, sampling
};

constexpr std::array kProfileOpNames = {"embed",         "attention in", "rope",       "attention",
                                        "attention out", "route",        "experts in", "experts out",
                                        "experts add",   "feed forward", "head",       "answer"};
constexpr int kNumProfileOps = static_cast<int>(kProfileOpNames.size());
constexpr int kOutsideLayers = -1;

// What an op needs: bytes of weights, keys and values, each counted once per call; multiply-accumulates of its matrices.
struct ProfileWork {
  int64_t bytes = 0;
  int64_t macs = 0;

  ProfileWork& operator+=(const ProfileWork& other) {
    bytes += other.bytes;
    macs += other.macs;
    return *this;
  }
};

class Profile {
 public:
  explicit Profile(int num_layers);

  // `busy_seconds`: time that threads spent in work, all of them together.
  void add(ProfileOp op, int layer, double seconds, double busy_seconds, const ProfileWork& work);
  void add_step(int64_t rows, double seconds);

  int num_layers() const { return num_layers_; }
  int64_t steps() const { return steps_; }
  int64_t rows() const { return rows_; }
  double step_seconds() const { return step_seconds_; }

  // (ops, num_layers + 1); the last column is what belongs to no layer.
  std::vector<double> calls, seconds, busy_seconds, bytes, macs;

 private:
  int num_layers_;
  int64_t steps_ = 0, rows_ = 0;
  double step_seconds_ = 0;
};

}  // namespace moescope
