#include "addon/model_wrap.h"

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/session_wrap.h"
#include "addon/worker.h"
#include "core/devices.h"

namespace moescope {

Napi::Function ModelWrap::define(Napi::Env env) {
  return DefineClass(
      env, "NativeModel",
      {InstanceMethod<&ModelWrap::create_session>("createSession"),
       InstanceMethod<&ModelWrap::mapped_bytes>("mappedBytes"), InstanceMethod<&ModelWrap::copied_bytes>("copiedBytes"),
       InstanceMethod<&ModelWrap::dispose>("dispose")});
}

Napi::Value ModelWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto plan = std::make_shared<LoadPlan>(to_load_plan(info[0]));
    const Napi::Object options = to_object(info[1], "options");
    const int threads = static_cast<int>(to_integer(options.Get("threads"), "threads", 1, 1024));
    const Precision precision = to_precision(options.Get("precision"));
    const auto cancel = CancelFlag::of(info[2]);
    const auto work = [plan, threads, precision, cancel] {
      if (cancel != nullptr && cancel->load()) fail(ErrorCode::Aborted, "The operation was cancelled.");
      auto model = std::make_shared<Model>();
      model->config = std::move(plan->config);
      model->weights = std::make_unique<Weights>(model->config, plan->files, plan->tensors);
      model->backend = make_cpu_backend(model->config, *model->weights, threads, precision);
      return model;
    };
    const auto convert = [](Napi::Env env, std::shared_ptr<Model>&& model) -> Napi::Value {
      const Napi::Object wrap = env.GetInstanceData<AddonData>()->model.New({});
      Unwrap(wrap)->model_ = std::move(model);
      return wrap;
    };
    return PromiseWorker<std::shared_ptr<Model>>::start(env, work, convert);
  });
}

Model& ModelWrap::model() {
  if (!model_) fail(ErrorCode::Disposed, "The model was disposed.");
  return *model_;
}

Napi::Value ModelWrap::create_session(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    model();
    const Napi::Object options = to_object(info[0], "options");
    const std::string type = to_string(options.Get("cacheType"), "cacheType");
    if (type != "f32" && type != "bf16") {
      fail(ErrorCode::InvalidArgument, "Expected \"f32\" or \"bf16\" for cacheType, got ", type, ".");
    }
    const int chunk_rows = static_cast<int>(to_integer(options.Get("chunkRows"), "chunkRows", 1, 1 << 20));
    return SessionWrap::create(info.Env(), model_, type == "f32" ? CacheType::F32 : CacheType::BF16, chunk_rows);
  });
}

Napi::Value ModelWrap::mapped_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(model().weights->mapped_bytes()));
  });
}

Napi::Value ModelWrap::copied_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(model().weights->copied_bytes()));
  });
}

}  // namespace moescope
