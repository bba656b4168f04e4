#include "core/forward.h"

namespace moescope {

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

  backend.embed(batch, a.x);
  for (int layer = 0; layer < config.num_layers; ++layer) {
    backend.attend(layer, batch, a.x);
    if (config.is_moe_layer[layer]) {
      backend.route(layer, batch, a.x, a.h, routes, taps);
      backend.experts(layer, rows, a.x, a.h, routes);
    } else {
      backend.feed_forward(layer, rows, a.x);
    }
    if (taps.hidden != nullptr) {
      backend.read_back(a.x, rows, taps.hidden + (layer * taps.num_rows + taps.first_row) * config.hidden_size);
    }
  }
  backend.head(a.x, heads);
}

}  // namespace moescope
