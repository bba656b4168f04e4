#include "addon/model_wrap.h"

#include <map>

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/device_library.h"
#include "addon/session_wrap.h"
#include "addon/worker.h"
#include "core/devices.h"

namespace moescope {

Napi::Function ModelWrap::define(Napi::Env env) {
  return DefineClass(
      env, "NativeModel",
      {InstanceMethod<&ModelWrap::create_session>("createSession"),
       InstanceMethod<&ModelWrap::mapped_bytes>("mappedBytes"), InstanceMethod<&ModelWrap::copied_bytes>("copiedBytes"),
       InstanceMethod<&ModelWrap::start_profile>("startProfile"),
       InstanceMethod<&ModelWrap::stop_profile>("stopProfile"), InstanceMethod<&ModelWrap::dispose>("dispose")});
}

Napi::Value ModelWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  return guarded(env, [&]() -> Napi::Value {
    auto plan = std::make_shared<LoadPlan>(to_load_plan(info[0]));
    const Napi::Object options = to_object(info[1], "options");
    const int threads = static_cast<int>(to_integer(options.Get("threads"), "threads", 1, 1024));
    const Precision precision = to_precision(options.Get("precision"));
    const Napi::Value library = options.Get("library");
    const std::string library_path = library.IsUndefined() ? "" : to_string(library, "library");
    const auto cancel = CancelFlag::of(info[2]);
    const auto work = [plan, threads, precision, library_path, cancel] {
      if (cancel != nullptr && cancel->load()) fail(ErrorCode::Aborted, "The operation was cancelled.");
      auto model = std::make_shared<Model>();
      model->config = std::move(plan->config);
      model->num_threads = threads;
      model->weights = std::make_unique<Weights>(model->config, plan->files, plan->tensors);
      model->backend = library_path.empty()
                           ? make_cpu_backend(model->config, *model->weights, threads, precision)
                           : open_device_library(library_path).make_backend(model->config, *model->weights);
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

namespace {

// Steps hold the mutex for as long as they run, and the JavaScript thread must not wait for them.
std::unique_lock<std::mutex> between_steps(Model& model) {
  std::unique_lock<std::mutex> turn(model.step_mutex, std::try_to_lock);
  if (!turn.owns_lock()) fail(ErrorCode::Internal, "A step is running; a profile starts and stops between steps.");
  return turn;
}

Napi::Object from_profile(Napi::Env env, Profile&& profile, int threads) {
  Napi::Object object = Napi::Object::New(env);
  Napi::Array ops = Napi::Array::New(env, kNumProfileOps);
  for (uint32_t op = 0; op < kProfileOpNames.size(); ++op) ops.Set(op, Napi::String::New(env, kProfileOpNames[op]));
  const auto number = [&](const char* name, double value) { object.Set(name, Napi::Number::New(env, value)); };
  object.Set("ops", ops);
  number("numLayers", profile.num_layers());
  number("threads", threads);
  number("steps", static_cast<double>(profile.steps()));
  number("rows", static_cast<double>(profile.rows()));
  number("stepSeconds", profile.step_seconds());
  object.Set("calls", from_vector(env, std::move(profile.calls)));
  object.Set("seconds", from_vector(env, std::move(profile.seconds)));
  object.Set("busySeconds", from_vector(env, std::move(profile.busy_seconds)));
  object.Set("bytes", from_vector(env, std::move(profile.bytes)));
  object.Set("macs", from_vector(env, std::move(profile.macs)));
  return object;
}

const std::map<std::string, CacheType> kCacheTypes = {
    {"f32", CacheType::F32}, {"bf16", CacheType::BF16}, {"f16", CacheType::F16}, {"q8_0", CacheType::Q8_0}};

}  // namespace

void ModelWrap::start_profile(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    Model& running = model();
    const auto turn = between_steps(running);
    if (running.profile != nullptr) fail(ErrorCode::InvalidArgument, "A profile of this model is running already.");
    running.profile = std::make_unique<Profile>(running.config.num_layers);
    running.backend->set_profile(running.profile.get());
  });
}

Napi::Value ModelWrap::stop_profile(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Model& running = model();
    const auto turn = between_steps(running);
    if (running.profile == nullptr) fail(ErrorCode::InvalidArgument, "Expected a profile to stop, none was started.");
    running.backend->set_profile(nullptr);
    const std::unique_ptr<Profile> profile = std::move(running.profile);
    return from_profile(info.Env(), std::move(*profile), running.num_threads);
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
    const auto known = kCacheTypes.find(type);
    if (known == kCacheTypes.end()) {
      fail(ErrorCode::InvalidArgument, "Expected f32, bf16, f16 or q8_0 for cacheType, got ", type, ".");
    }
    const int chunk_rows = static_cast<int>(to_integer(options.Get("chunkRows"), "chunkRows", 1, 1 << 20));
    return SessionWrap::create(info.Env(), model_, known->second, chunk_rows);
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
