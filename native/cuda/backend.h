// The CUDA backend: core/backend.h's ops as launches on one stream. Weights, activations, routes, keys and values stay on the card; an op
// only enqueues, and head() waits, so that a step crosses the bus once in each direction. A callback waits for its layer. One op per file,
// named as in core/backend.h; its host side is here.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/backend.h"
#include "cuda/attend.h"
#include "cuda/batch.h"
#include "cuda/experts.h"
#include "cuda/head.h"
#include "cuda/page_memory.h"
#include "cuda/trace_buffers.h"
#include "cuda/weights.h"
#include "cuda/workspace.h"

namespace moescope::cuda {

class CudaBackend final : public Backend {
 public:
  // `config` and `weights` must outlive the backend.
  CudaBackend(const ModelConfig& config, const Weights& weights, int device);

  Activations activations(int rows) override;
  void embed(const Batch& batch, float* x) override;
  void load_inputs(const Batch& batch, float* x) override;
  void attend(int layer, const Batch& batch, float* x) override;
  void route(int layer, const Batch& batch, const float* x, float* h, Routes& routes, const Taps& taps) override;
  void experts(int layer, const Batch& batch, float* x, const float* h, const Routes& routes,
               const Taps& taps) override;
  void feed_forward(int layer, int rows, float* x) override;
  void head(const Batch& batch, const float* x, const std::vector<HeadRequest>& requests, const Taps& taps) override;
  void read_rows(const float* x, int first, int count, float* host) override;
  void write_rows(const float* host, int first, int count, float* x) override;
  void set_cancel(const std::atomic<bool>* cancel) override { cancel_ = cancel; }
  // Ops are not timed on this device.
  void set_profile(Profile*) override {}
  std::shared_ptr<PageMemory> page_memory() override { return pages_; }

 private:
  void check_cancel();
  // Puts the rows of a new batch on the device.
  void begin(const Batch& batch);
  // The normed residual stream in the forms of products; the last op may have left it there.
  LeftSide normed(int rows, const float* x, Global<const float> norm, float* out);
  RmsNormParams norm_params(const float* x, Global<const float> norm) const;
  // A callback over values of the device, (rows, width): there and back through host memory.
  void call_back(HookPoint point, int layer, int rows, int width, void* values, const Taps& taps);
  // Routers' failures: the first row that could not be routed, or the failure of its sequence where callbacks watch it.
  void check_routes(const Batch& batch, const Taps& taps) const;
  void record_inputs(int layer, const Batch& batch, const float* h, const Taps& taps);
  void record_norms(int layer, const Batch& batch, const ExpertsParams& experts, const Taps& taps);
  // Logits and answers of up to kHeadRows rows of the batch.
  void answer_rows(const Batch& batch, const float* x, const std::vector<int>& rows, const HeadRequest* requests,
                   int num_requests, const Taps& taps);

  const ModelConfig& config_;
  int device_;
  Stream stream_;
  DeviceWeights weights_;
  ModelForms forms_;
  std::vector<int> moe_layers_;  // (layers)  index among the MoE layers
  std::shared_ptr<DevicePageMemory> pages_;
  const std::atomic<bool>* cancel_ = nullptr;

  DeviceBatch batch_;
  TraceBuffers trace_;
  bool trace_is_ready_ = false;  // and so is where it is recorded
  int normed_layer_ = -1;        // whose attn_norm the left side holds already
  std::vector<int32_t> host_status_;

  DeviceBuffer inv_freq_;
  GrowingBuffer x_, h_, rope_, q_, k_, v_, partial_;
  GrowingBuffer logits_, raw_logits_, shared_gate_, run_, gate_weights_, status_, group_starts_, group_list_;
  GrowingBuffer expert_out_, shared_out_, head_x_, vocab_logits_;
  SideBuffer normed_side_, context_side_, inner_side_, shared_inner_side_, head_side_;
};

}  // namespace moescope::cuda
