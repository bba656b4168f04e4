#include "cuda/trace_buffers.h"

#include <cstring>

namespace moescope::cuda {

void TraceBuffers::prepare(Stream& stream, const ModelConfig& config, const Batch& batch, const Taps& taps) {
  is_wanted_ = taps.topk_experts != nullptr && taps.num_layers > 0;
  if (!is_wanted_) return;
  row_layers_ = batch.rows.size() * taps.num_layers;
  const size_t top_k = static_cast<size_t>(taps.top_k);
  parts_[kExperts].width = top_k * sizeof(uint16_t);
  parts_[kWeights].width = top_k * sizeof(float);
  parts_[kSharedGate].width = taps.shared_gate == nullptr ? 0 : sizeof(float);
  parts_[kMargin].width = sizeof(float);
  parts_[kIntervened].width = sizeof(uint8_t);
  parts_[kLogits].width = taps.router_logits == nullptr ? 0 : config.num_experts * sizeof(float);
  for (Part& part : parts_) {
    const size_t bytes = part.width * row_layers_;
    part.device.reserve(bytes);
    if (part.host.bytes() < bytes) part.host = PinnedBuffer(bytes);
    if (bytes > 0) fill_bytes(stream, part.device.data(), 0, bytes);
  }
  layer_slots_.reserve(taps.layer_slots.size() * sizeof(int32_t));
  copy_to_device(stream, layer_slots_.data(), taps.layer_slots.data(), taps.layer_slots.size() * sizeof(int32_t));

  host_taps_ = {.layer_slots = layer_slots_.as<const int32_t>(),
                .topk_experts = parts_[kExperts].device.as<uint16_t>(),
                .topk_weights = parts_[kWeights].device.as<float>(),
                .margin = parts_[kMargin].device.as<float>(),
                .intervened = parts_[kIntervened].device.as<uint8_t>(),
                .num_layers = taps.num_layers,
                .top_k = taps.top_k};
  if (parts_[kSharedGate].width > 0) host_taps_.shared_gate = parts_[kSharedGate].device.as<float>();
  if (parts_[kLogits].width > 0) host_taps_.router_logits = parts_[kLogits].device.as<float>();
  device_taps_.reserve(sizeof(RouteTaps));
  copy_to_device(stream, device_taps_.data(), &host_taps_, sizeof(RouteTaps));
}

void TraceBuffers::read(Stream& stream) {
  if (!is_wanted_) return;
  for (Part& part : parts_) {
    const size_t bytes = part.width * row_layers_;
    if (bytes > 0) copy_to_host(stream, part.host.as<std::byte>(), part.device.data(), bytes);
  }
}

void TraceBuffers::deliver(const Batch& batch, const Taps& taps) const {
  if (!is_wanted_) return;
  void* const places[kNumParts] = {taps.topk_experts, taps.topk_weights, taps.shared_gate,
                                   taps.margin,       taps.intervened,   taps.router_logits};
  for (int name = 0; name < kNumParts; ++name) {
    const size_t row_bytes = parts_[name].width * taps.num_layers;
    if (row_bytes == 0) continue;
    for (size_t row = 0; row < batch.rows.size(); ++row) {
      if (batch.rows[row].trace_row < 0) continue;
      std::byte* to = static_cast<std::byte*>(places[name]) + batch.rows[row].trace_row * row_bytes;
      const std::byte* from = parts_[name].host.as<std::byte>() + row * row_bytes;
      if (name != kIntervened) {
        std::memcpy(to, from, row_bytes);
        continue;
      }
      // A callback may have said so already.
      for (size_t layer = 0; layer < row_bytes; ++layer) to[layer] |= from[layer];
    }
  }
}

}  // namespace moescope::cuda
