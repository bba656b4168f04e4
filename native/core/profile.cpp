#include "core/profile.h"

namespace moescope {

Profile::Profile(int num_layers) : num_layers_(num_layers) {
  for (std::vector<double>* column : {&calls, &seconds, &busy_seconds, &bytes, &macs}) {
    column->resize(static_cast<size_t>(kNumProfileOps) * (num_layers + 1));
  }
}

void Profile::add(ProfileOp op, int layer, double op_seconds, double op_busy_seconds, const ProfileWork& work) {
  const int column = layer == kOutsideLayers ? num_layers_ : layer;
  const size_t cell = static_cast<size_t>(op) * (num_layers_ + 1) + column;
  calls[cell] += 1;
  seconds[cell] += op_seconds;
  busy_seconds[cell] += op_busy_seconds;
  bytes[cell] += static_cast<double>(work.bytes);
  macs[cell] += static_cast<double>(work.macs);
}

void Profile::add_step(int64_t rows, double seconds) {
  ++steps_;
  rows_ += rows;
  step_seconds_ += seconds;
}

}  // namespace moescope
