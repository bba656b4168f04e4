// The export table: NativeAddon of src/native/binding.ts, in its order.
#include <napi.h>

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/convert.h"
#include "addon/formats.h"
#include "addon/model_wrap.h"
#include "addon/quantize.h"
#include "addon/session_wrap.h"
#include "core/devices.h"

namespace moescope {

Napi::Value instruction_set(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), cpu_instruction_set(to_precision(info[0])));
  });
}

Napi::Value cores(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), available_cores()); }

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData{Napi::Persistent(CancelFlag::define(env)), Napi::Persistent(ModelWrap::define(env)),
                             Napi::Persistent(SessionWrap::define(env))};
  env.SetInstanceData(data);
  exports.Set("instructionSet", Napi::Function::New(env, instruction_set));
  exports.Set("availableCores", Napi::Function::New(env, cores));
  exports.Set("CancelFlag", data->cancel_flag.Value());
  exports.Set("loadModel", Napi::Function::New(env, ModelWrap::load));
  exports.Set("blockShape", Napi::Function::New(env, block_shape_of));
  exports.Set("dequantize", Napi::Function::New(env, dequantize));
  exports.Set("quantize", Napi::Function::New(env, quantize));
  exports.Set("convertRows", Napi::Function::New(env, convert_rows_async));
  return exports;
}

}  // namespace moescope

static Napi::Object Init(Napi::Env env, Napi::Object exports) { return moescope::initialise(env, exports); }
NODE_API_MODULE(moescope, Init)
