#include "core/forward.h"

#include "core/hooks.h"

namespace moescope {

namespace {

// The residual stream at a hook point, through host memory.
void call_back(HookPoint point, int layer, Backend& backend, const ModelConfig& config, const Batch& batch, float* x,
               const Taps& taps) {
  if (taps.hooks == nullptr || !taps.hooks->wants(point, layer)) return;
  const int rows = static_cast<int>(batch.rows.size());
  std::vector<float> host(static_cast<size_t>(rows) * config.hidden_size);
  backend.read_rows(x, 0, rows, host.data());
  taps.hooks->run(point, layer, config.hidden_size, host.data(), taps);
  backend.write_rows(host.data(), 0, rows, x);
}

void keep_rows(int layer, Backend& backend, const Batch& batch, const float* x) {
  for (const KeptRow& kept : batch.kept) {
    if (kept.layer == layer) backend.read_rows(x, kept.row, 1, kept.values);
  }
}

void record_residual(int layer, Backend& backend, const ModelConfig& config, const Batch& batch, const float* x,
                     const Taps& taps) {
  if (taps.residual == nullptr || taps.residual_slots[layer] < 0) return;
  for (size_t row = 0; row < batch.rows.size(); ++row) {
    const int64_t trace_row = batch.rows[row].trace_row;
    if (trace_row < 0) continue;
    const int64_t place = trace_row * taps.num_residuals + taps.residual_slots[layer];
    backend.read_rows(x, static_cast<int>(row), 1, taps.residual + place * config.hidden_size);
  }
}

}  // namespace

// qwen2_moe, mixtral, llama and qwen2 differ in flags only: q/k/v bias, rope layout, how the router finishes, the shared expert.
//
//   x  = embedding of the tokens
//   x += Wo attention(rope(Wq norm(x)), rope(Wk norm(x)), Wv norm(x))         every layer
//   x += sum_e g_e FFN_e(norm(x)) + sigmoid(ws . norm(x)) FFN_shared(norm(x))  mixture-of-experts layers
//   x += FFN(norm(x))                                                         dense layers
//   logits = Wlm norm(x)                                                      rows that somebody asked for
void forward(Backend& backend, const ModelConfig& config, const Batch& batch, const std::vector<HeadRequest>& heads,
             const Taps& taps) {
  const int rows = static_cast<int>(batch.rows.size());
  const Backend::Activations a = backend.activations(rows);
  Routes routes;
  if (taps.hooks != nullptr) taps.hooks->begin(batch);

  if (batch.first_layer == 0) {
    backend.embed(batch, a.x);
  } else {
    backend.load_inputs(batch, a.x);
  }
  for (int layer = batch.first_layer; layer < config.num_layers; ++layer) {
    keep_rows(layer, backend, batch, a.x);
    call_back(HookPoint::ResidualBefore, layer, backend, config, batch, a.x, taps);
    backend.attend(layer, batch, a.x);
    if (config.is_moe_layer[layer]) {
      backend.route(layer, batch, a.x, a.h, routes, taps);
      backend.experts(layer, batch, a.x, a.h, routes, taps);
    } else {
      backend.feed_forward(layer, rows, a.x);
    }
    call_back(HookPoint::ResidualAfter, layer, backend, config, batch, a.x, taps);
    record_residual(layer, backend, config, batch, a.x, taps);
  }
  backend.head(batch, a.x, heads, taps);
}

}  // namespace moescope
