#include "addon/trace_blocks.h"

#include <algorithm>

#include "addon/convert.h"

namespace moescope {

namespace {

CaptureLevel to_capture_level(const std::string& name) {
  if (name == "topk") return CaptureLevel::Topk;
  if (name == "logits") return CaptureLevel::Logits;
  if (name == "hidden") return CaptureLevel::Hidden;
  fail(ErrorCode::InvalidArgument, "Expected topk, logits or hidden for level, got ", name, ".");
}

// A view of one of the block's arrays, which keeps the block.
template <typename T>
Napi::Value view_of(Napi::Env env, const std::shared_ptr<TraceBlock>& block, std::vector<T>& values) {
  const size_t length = values.size();
  if (length == 0) return Napi::TypedArrayOf<T>::New(env, 0, typed_array_type<T>());
  auto owner = std::make_unique<std::shared_ptr<TraceBlock>>(block);
  const auto buffer = Napi::ArrayBuffer::New(
      env, values.data(), length * sizeof(T), [](Napi::Env, void*, std::shared_ptr<TraceBlock>* held) { delete held; },
      owner.get());
  owner.release();
  return Napi::TypedArrayOf<T>::New(env, length, buffer, 0, typed_array_type<T>());
}

}  // namespace

std::shared_ptr<TraceBlock> to_trace_block(const Napi::Value& value, const ModelConfig& config) {
  constexpr int64_t kMaxRows = int64_t{1} << 30;
  const Napi::Object options = to_object(value, "options");
  const CaptureLevel level = to_capture_level(to_string(options.Get("level"), "level"));
  const int64_t rows = to_integer(options.Get("rows"), "rows", 1, kMaxRows);
  const int highest = std::max(config.num_experts, config.num_experts_per_token);
  const int top_k = static_cast<int>(to_integer(options.Get("topK"), "topK", config.num_experts_per_token, highest));
  std::optional<std::vector<int32_t>> layers;
  if (options.Has("layers")) layers = to_vector<int32_t>(options.Get("layers"), "layers");
  return std::make_shared<TraceBlock>(config, level, rows, top_k, layers);
}

Napi::Object from_trace_block(Napi::Env env, const std::shared_ptr<TraceBlock>& block, int number) {
  Napi::Object object = Napi::Object::New(env);
  // The views keep the block as well, but a dense model has none.
  object.AddFinalizer([](Napi::Env, std::shared_ptr<TraceBlock>* held) { delete held; },
                      new std::shared_ptr<TraceBlock>(block));
  object.Set("number", Napi::Number::New(env, number));
  object.Set("rows", Napi::Number::New(env, static_cast<double>(block->rows)));
  object.Set("numMoeLayers", Napi::Number::New(env, block->num_moe_layers));
  object.Set("topK", Napi::Number::New(env, block->top_k));
  object.Set("numExperts", Napi::Number::New(env, block->num_experts));
  object.Set("topkExperts", view_of(env, block, block->topk_experts));
  object.Set("topkWeights", view_of(env, block, block->topk_weights));
  object.Set("sharedGate", view_of(env, block, block->shared_gate));
  object.Set("margin", view_of(env, block, block->margin));
  object.Set("intervened", view_of(env, block, block->intervened));
  object.Set("routerLogits", view_of(env, block, block->router_logits));
  if (block->level != CaptureLevel::Hidden) return object;
  const Napi::Object hidden = Napi::Object::New(env);
  hidden.Set("routerInput", view_of(env, block, block->router_input));
  hidden.Set("expertNorms", view_of(env, block, block->expert_norms));
  hidden.Set("sharedNorm", view_of(env, block, block->shared_norm));
  hidden.Set("residual", view_of(env, block, block->residual));
  object.Set("hidden", hidden);
  return object;
}

}  // namespace moescope
