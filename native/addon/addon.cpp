// The export table: NativeAddon of src/native/binding.ts, in its order.
#include <napi.h>

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/convert.h"
#include "addon/device_library.h"
#include "addon/formats.h"
#include "addon/model_wrap.h"
#include "addon/quantize.h"
#include "addon/session_wrap.h"
#include "addon/worker.h"
#include "core/devices.h"

namespace moescope {

Napi::Value instruction_set(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), cpu_instruction_set(to_precision(info[0])));
  });
}

Napi::Value cores(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), available_cores()); }

Napi::Value device_info(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const DeviceInfo found = open_device_library(to_string(info[0], "library")).describe();
    const Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", Napi::String::New(info.Env(), found.name));
    object.Set("totalBytes", Napi::Number::New(info.Env(), static_cast<double>(found.total_memory)));
    object.Set("freeBytes", Napi::Number::New(info.Env(), static_cast<double>(found.free_memory)));
    return object;
  });
}

Napi::Value ceilings(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const std::vector<Ceiling> found = cpu_ceilings();
  const Napi::Array list = Napi::Array::New(env, found.size());
  for (uint32_t index = 0; index < found.size(); ++index) {
    const Napi::Object ceiling = Napi::Object::New(env);
    ceiling.Set("kind", Napi::String::New(env, found[index].kind));
    ceiling.Set("instructions", Napi::String::New(env, found[index].instructions));
    list.Set(index, ceiling);
  }
  return list;
}

Napi::Value measure_ceiling(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int index = static_cast<int>(to_integer(info[0], "index", 0, 1024));
    const Napi::Object options = to_object(info[1], "options");
    const int threads = static_cast<int>(to_integer(options.Get("threads"), "threads", 1, 1024));
    const double seconds = to_number(options.Get("seconds"), "seconds");
    if (!(seconds > 0 && seconds <= 60)) fail(ErrorCode::InvalidArgument, "Expected up to 60 seconds.");
    const auto bytes = static_cast<size_t>(to_integer(options.Get("readBytes"), "readBytes", 1, int64_t{1} << 40));
    return PromiseWorker<double>::start(
        info.Env(), [=] { return measure_cpu_ceiling(index, threads, seconds, bytes); },
        [](Napi::Env env, double&& rate) -> Napi::Value { return Napi::Number::New(env, rate); });
  });
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData{Napi::Persistent(CancelFlag::define(env)), Napi::Persistent(ModelWrap::define(env)),
                             Napi::Persistent(SessionWrap::define(env))};
  env.SetInstanceData(data);
  exports.Set("instructionSet", Napi::Function::New(env, instruction_set));
  exports.Set("availableCores", Napi::Function::New(env, cores));
  exports.Set("deviceInfo", Napi::Function::New(env, device_info));
  exports.Set("CancelFlag", data->cancel_flag.Value());
  exports.Set("loadModel", Napi::Function::New(env, ModelWrap::load));
  exports.Set("blockShape", Napi::Function::New(env, block_shape_of));
  exports.Set("dequantize", Napi::Function::New(env, dequantize));
  exports.Set("quantize", Napi::Function::New(env, quantize));
  exports.Set("convertRows", Napi::Function::New(env, convert_rows_async));
  exports.Set("ceilings", Napi::Function::New(env, ceilings));
  exports.Set("measureCeiling", Napi::Function::New(env, measure_ceiling));
  return exports;
}

}  // namespace moescope

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return moescope::initialise(env, exports); }
NODE_API_MODULE(moescope, Init)
