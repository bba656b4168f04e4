// LoadPlan and PlanConfig of src/native/binding.ts.
#include "addon/convert.h"

namespace moescope {

namespace {

constexpr int64_t kMaxInt = 0x7fffffff;
constexpr int64_t kMaxSafeInteger = (int64_t{1} << 53) - 1;

int to_size(const Napi::Object& object, const char* name) {
  return static_cast<int>(to_integer(object.Get(name), name, 0, kMaxInt));
}

ModelConfig to_config(const Napi::Object& object) {
  ModelConfig config;
  config.architecture = to_string(object.Get("architecture"), "architecture");
  config.num_layers = to_size(object, "numLayers");
  config.hidden_size = to_size(object, "hiddenSize");
  config.intermediate_size = to_size(object, "intermediateSize");
  config.num_attention_heads = to_size(object, "numAttentionHeads");
  config.num_key_value_heads = to_size(object, "numKeyValueHeads");
  config.head_dim = to_size(object, "headDim");
  config.vocab_size = to_size(object, "vocabSize");
  config.max_context = to_size(object, "maxContext");
  config.rms_norm_eps = static_cast<float>(to_number(object.Get("rmsNormEps"), "rmsNormEps"));
  const std::string layout = to_string(object.Get("ropeLayout"), "ropeLayout");
  if (layout != "half" && layout != "interleaved") {
    fail(ErrorCode::InvalidArgument, "Expected \"half\" or \"interleaved\" for ropeLayout, got ", layout, ".");
  }
  config.rope_layout = layout == "half" ? RopeLayout::Half : RopeLayout::Interleaved;
  config.rope_inv_freq = to_vector<float>(object.Get("ropeInvFreq"), "ropeInvFreq");
  config.rope_attention_factor =
      static_cast<float>(to_number(object.Get("ropeAttentionFactor"), "ropeAttentionFactor"));
  config.is_moe_layer = to_vector<uint8_t>(object.Get("isMoeLayer"), "isMoeLayer");
  for (uint8_t& moe : config.is_moe_layer) moe = moe != 0;
  config.num_experts = to_size(object, "numExperts");
  config.num_experts_per_token = to_size(object, "numExpertsPerToken");
  config.norm_topk_prob = to_boolean(object.Get("normTopkProb"), "normTopkProb");
  config.moe_intermediate_size = to_size(object, "moeIntermediateSize");
  config.shared_expert_intermediate_size = to_size(object, "sharedExpertIntermediateSize");
  return config;
}

TensorEntry to_tensor(const Napi::Object& object) {
  TensorEntry entry;
  entry.role = to_string(object.Get("role"), "role");
  entry.name = to_string(object.Get("name"), "name");
  entry.file = to_size(object, "file");
  entry.offset = static_cast<uint64_t>(to_integer(object.Get("offset"), "offset", 0, kMaxSafeInteger));
  entry.dtype = to_dtype(object.Get("dtype"));
  entry.rows = to_integer(object.Get("rows"), "rows", 0, kMaxInt);
  entry.cols = to_integer(object.Get("cols"), "cols", 1, kMaxInt);
  return entry;
}

}  // namespace

LoadPlan to_load_plan(const Napi::Value& value) {
  const Napi::Object object = to_object(value, "plan");
  LoadPlan plan;
  plan.config = to_config(to_object(object.Get("config"), "plan.config"));
  const Napi::Array files = to_array(object.Get("files"), "plan.files");
  for (uint32_t index = 0; index < files.Length(); ++index) {
    plan.files.push_back(to_string(files.Get(index), "plan.files"));
  }
  const Napi::Array tensors = to_array(object.Get("tensors"), "plan.tensors");
  for (uint32_t index = 0; index < tensors.Length(); ++index) {
    plan.tensors.push_back(to_tensor(to_object(tensors.Get(index), "plan.tensors")));
  }
  return plan;
}

}  // namespace moescope
