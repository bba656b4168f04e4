// What the router records of a step: the device's side of core/backend.h's Taps, by row of the batch, and its way to the host.
#pragma once

#include <vector>

#include "core/backend.h"
#include "cuda/route.h"
#include "cuda/workspace.h"

namespace moescope::cuda {

class TraceBuffers {
 public:
  // Makes room for the rows of a batch; nothing is recorded where the taps want nothing.
  void prepare(Stream& stream, const ModelConfig& config, const Batch& batch, const Taps& taps);
  // Null: nothing is recorded.
  Global<const RouteTaps> taps() const { return is_wanted_ ? device_taps_.as<const RouteTaps>() : nullptr; }

  // Enqueues the copies to the host; deliver() puts them where the taps want them, after the stream was waited for.
  void read(Stream& stream);
  void deliver(const Batch& batch, const Taps& taps) const;

 private:
  // One array of the taps: `width` bytes for each (row, layer).
  struct Part {
    size_t width = 0;
    GrowingBuffer device;
    PinnedBuffer host;
  };
  enum PartName { kExperts, kWeights, kSharedGate, kMargin, kIntervened, kLogits, kNumParts };

  bool is_wanted_ = false;
  size_t row_layers_ = 0;
  Part parts_[kNumParts];
  GrowingBuffer layer_slots_, device_taps_;
  RouteTaps host_taps_;
};

}  // namespace moescope::cuda
