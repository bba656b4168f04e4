#include "core/config.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace moescope {

namespace {

void expect(bool holds, const char* rule) {
  if (!holds) fail(ErrorCode::BadFile, "The model's config breaks a rule: ", rule, ".");
}

}  // namespace

void validate(const ModelConfig& config) {
  expect(config.num_layers > 0, "at least one layer");
  expect(config.hidden_size > 0 && config.vocab_size > 0 && config.max_context > 0,
         "hidden size, vocabulary and context above 0");
  expect(config.num_attention_heads > 0 && config.num_key_value_heads > 0, "at least one head");
  expect(config.num_attention_heads % config.num_key_value_heads == 0, "query heads are a multiple of key/value heads");
  expect(config.head_dim > 0 && config.head_dim % 2 == 0, "an even head_dim");
  expect(std::isfinite(config.rms_norm_eps) && config.rms_norm_eps > 0, "a finite rms_norm_eps above 0");
  const auto fits = [&](int heads) { return int64_t{heads} * config.head_dim <= std::numeric_limits<int>::max(); };
  expect(fits(config.num_attention_heads) && fits(config.num_key_value_heads), "heads * head_dim below 2^31");
  expect(config.rope_inv_freq.size() == static_cast<size_t>(config.head_dim / 2), "one rope frequency per pair");
  for (float frequency : config.rope_inv_freq) expect(std::isfinite(frequency), "finite rope frequencies");
  expect(std::isfinite(config.rope_attention_factor), "a finite rope attention factor");
  expect(config.is_moe_layer.size() == static_cast<size_t>(config.num_layers), "a kind for every layer");
  const int num_moe_layers = config.num_moe_layers();
  if (num_moe_layers < config.num_layers) expect(config.intermediate_size > 0, "a dense FFN width above 0");
  if (num_moe_layers > 0) {
    expect(config.num_experts > 0 && config.num_experts < 65535, "1 to 65534 experts");
    expect(config.num_experts_per_token > 0 && config.num_experts_per_token <= config.num_experts,
           "1 to num_experts experts per token");
    expect(config.moe_intermediate_size > 0 && config.shared_expert_intermediate_size >= 0,
           "an expert FFN width above 0");
  }
}

}  // namespace moescope
