#include "cuda/backend.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/hooks.h"
#include "cuda/embed.h"
#include "cuda/matmul.h"

namespace moescope::cuda {

CudaBackend::CudaBackend(const ModelConfig& config, const Weights& weights, int device)
    : config_(config),
      device_((select_device(device), device)),
      weights_(config, weights),
      forms_(weights),
      pages_(std::make_shared<DevicePageMemory>(device)),
      inv_freq_(config.rope_inv_freq.size() * sizeof(float)) {
  int moe_layers = 0;
  for (uint8_t is_moe : config.is_moe_layer) moe_layers_.push_back(is_moe ? moe_layers++ : -1);
  copy_to_device(stream_, inv_freq_.data(), config.rope_inv_freq.data(), inv_freq_.bytes());
  stream_.synchronize();
}

void CudaBackend::check_cancel() {
  if (cancel_ == nullptr || !cancel_->load()) return;
  stream_.synchronize();
  fail(ErrorCode::Aborted, "The operation was cancelled.");
}

Backend::Activations CudaBackend::activations(int rows) {
  select_device(device_);
  const size_t bytes = static_cast<size_t>(rows) * config_.hidden_size * sizeof(float);
  x_.reserve(bytes);
  h_.reserve(bytes);
  trace_is_ready_ = false;
  normed_layer_ = -1;
  return {static_cast<float*>(x_.data()), static_cast<float*>(h_.data())};
}

void CudaBackend::begin(const Batch& batch) {
  batch_.prepare(stream_, config_, batch);
  const size_t rows = batch.rows.size();
  host_status_.assign(rows * config_.num_moe_layers(), 0);
  status_.reserve(host_status_.size() * sizeof(int32_t));
  if (!host_status_.empty()) fill_bytes(stream_, status_.data(), 0, host_status_.size() * sizeof(int32_t));
  const int half = config_.head_dim / 2;
  rope_table(stream_, batch_.rows(),
             {.places = batch_.places(),
              .inv_freq = inv_freq_.as<const float>(),
              .half = half,
              .attention_factor = config_.rope_attention_factor,
              .table = rope_.reserve<float>(rows * half * 2)});
}

void CudaBackend::embed(const Batch& batch, float* x) {
  begin(batch);
  cuda::embed(stream_, batch_.rows(),
              {.type = weights_.embed.type,
               .table = weights_.embed.rows,
               .row_bytes = weights_.embed.row_bytes,
               .hidden = config_.hidden_size,
               .vocab = config_.vocab_size,
               .tokens = batch_.tokens(),
               .x = x});
}

void CudaBackend::load_inputs(const Batch& batch, float* x) {
  begin(batch);
  const size_t bytes = static_cast<size_t>(config_.hidden_size) * sizeof(float);
  for (size_t row = 0; row < batch.inputs.size(); ++row) {
    copy_to_device(stream_, x + row * config_.hidden_size, batch.inputs[row], bytes);
  }
}

RmsNormParams CudaBackend::norm_params(const float* x, Global<const float> norm) const {
  RmsNormParams params;
  params.x = x;
  params.weight = norm;
  params.hidden = config_.hidden_size;
  params.eps = config_.rms_norm_eps;
  return params;
}

LeftSide CudaBackend::normed(int rows, const float* x, Global<const float> norm, float* out) {
  RmsNormParams params = norm_params(x, norm);
  params.side = normed_side_.reserve(forms_.normed, rows, config_.hidden_size);
  params.out = out;
  rms_norm(stream_, rows, params);
  return params.side;
}

void CudaBackend::attend(int layer, const Batch& batch, float* x) {
  check_cancel();
  const DeviceLayer& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size());
  const bool is_normed = normed_layer_ == layer;
  const CacheView cache = batch_.cache(layer);
  AttendInParams in;
  in.rows = rows;
  in.q_weights = weights.q, in.k_weights = weights.k, in.v_weights = weights.v;
  in.is_interleaved = config_.rope_layout == RopeLayout::Interleaved;
  in.q_bias = weights.q_bias, in.k_bias = weights.k_bias, in.v_bias = weights.v_bias;
  in.x = is_normed ? normed_side_.reserve(forms_.normed, rows, config_.hidden_size)
                   : normed(rows, x, weights.attn_norm, nullptr);
  in.rope = rope_.as<const float>();
  in.q_scale = static_cast<float>(1 / std::sqrt(static_cast<double>(config_.head_dim)));
  in.places = batch_.places();
  in.cache = cache;
  in.q = q_.reserve<float>(static_cast<size_t>(rows) * config_.q_size());
  if (cache.type == CacheType::Q8_0) {
    in.k = k_.reserve<float>(static_cast<size_t>(rows) * config_.kv_size());
    in.v = v_.reserve<float>(static_cast<size_t>(rows) * config_.kv_size());
  }
  attend_in(stream_, in);
  if (cache.type == CacheType::Q8_0) {
    write_cache(stream_, rows, {.k = in.k, .v = in.v, .places = in.places, .cache = cache});
  }

  AttendParams params;
  params.rows = rows;
  params.heads = config_.num_attention_heads;
  params.q = in.q;
  params.places = in.places;
  params.cache = cache;
  params.max_spans = batch_.max_spans();
  params.partial =
      partial_.reserve<float>(static_cast<size_t>(rows) * params.heads * params.max_spans * (config_.head_dim + 2));
  params.side = context_side_.reserve(forms_.context, rows, config_.q_size());
  cuda::attend(stream_, params);
  MatmulParams out;
  out.rows = rows;
  out.count = 1;
  out.products[0].weights = weights.o;
  out.products[0].x = params.side;
  out.products[0].residual = x;
  matmul(stream_, out);
}

void CudaBackend::feed_forward(int layer, int rows, float* x) {
  const DeviceLayer& weights = weights_.layers[layer];
  GateUpParams in;
  in.rows = rows;
  in.gate = weights.dense.gate;
  in.up = weights.dense.up;
  in.h = normed(rows, x, weights.ffn_norm, nullptr);
  in.inner = inner_side_.reserve(forms_.inner, rows, config_.intermediate_size);
  gate_up(stream_, in);
  MatmulParams out;
  out.rows = rows;
  out.count = 1;
  out.products[0].weights = weights.dense.down;
  out.products[0].x = in.inner;
  out.products[0].residual = x;
  matmul(stream_, out);
}

void CudaBackend::experts(int layer, const Batch& batch, float* x, const float*, const Routes&, const Taps& taps) {
  const DeviceLayer& weights = weights_.layers[layer];
  const int rows = static_cast<int>(batch.rows.size()), width = batch_.route_width();
  const size_t hidden = static_cast<size_t>(config_.hidden_size), assignments = static_cast<size_t>(rows) * width;
  ExpertsParams params;
  params.rows = rows;
  params.top_k = width;
  params.hidden = config_.hidden_size;
  params.experts = weights.experts;
  params.is_mixed = weights.has_mixed_experts;
  params.intermediate = config_.moe_intermediate_size;
  params.run = run_.as<const uint16_t>();
  params.weights = gate_weights_.as<const float>();
  params.shared = weights.shared;
  params.shared_gate = shared_gate_.as<const float>();
  params.num_experts = config_.num_experts;
  params.group_starts = group_starts_.reserve<int32_t>(config_.num_experts + 1);
  params.group_list = group_list_.reserve<int32_t>(assignments);
  params.h = normed_side_.reserve(forms_.normed, rows, config_.hidden_size);
  params.inner = inner_side_.reserve(forms_.inner, static_cast<int64_t>(assignments), config_.moe_intermediate_size);
  params.out = expert_out_.reserve<float>(assignments * hidden);
  if (params.has_shared()) {
    params.shared_inner = shared_inner_side_.reserve(forms_.inner, rows, config_.shared_expert_intermediate_size);
    params.shared_out = shared_out_.reserve<float>(rows * hidden);
  }
  experts_in(stream_, params);
  experts_out(stream_, params);
  if (taps.expert_norms != nullptr && taps.layer_slots[layer] >= 0) record_norms(layer, batch, params, taps);

  CombineParams sum;
  sum.experts = params;
  sum.x = x;
  // The next layer's norm in the same launch, unless somebody may change the residual stream before it.
  if (taps.hooks == nullptr && layer + 1 < config_.num_layers) {
    sum.next = norm_params(x, weights_.layers[layer + 1].attn_norm);
    sum.next.side = params.h;
    normed_layer_ = layer + 1;
  }
  combine(stream_, sum);
}

void CudaBackend::read_rows(const float* x, int first, int count, float* host) {
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  copy_to_host(stream_, host, x + first * hidden, count * hidden * sizeof(float));
  stream_.synchronize();
}

void CudaBackend::write_rows(const float* host, int first, int count, float* x) {
  const size_t hidden = static_cast<size_t>(config_.hidden_size);
  copy_to_device(stream_, x + first * hidden, host, count * hidden * sizeof(float));
  stream_.synchronize();
}

}  // namespace moescope::cuda
