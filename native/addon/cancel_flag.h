// A flag that JavaScript sets and native code polls; shared, so that either side may let go first.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>

#include "addon/addon_data.h"
#include "core/error.h"

namespace moescope {

class CancelFlag final : public Napi::ObjectWrap<CancelFlag> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "CancelFlag", {InstanceMethod<&CancelFlag::set>("set")});
  }
  explicit CancelFlag(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancelFlag>(info) {}

  // The flag behind a JavaScript value that is a CancelFlag; none for null and undefined.
  static std::shared_ptr<std::atomic<bool>> of(const Napi::Value& value) {
    if (value.IsNull() || value.IsUndefined()) return nullptr;
    // Unwrapping an object of another class would read its memory as a flag.
    const Napi::Function constructor = value.Env().GetInstanceData<AddonData>()->cancel_flag.Value();
    if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(constructor)) {
      fail(ErrorCode::InvalidArgument, "Expected a CancelFlag or null for cancel.");
    }
    return Unwrap(value.As<Napi::Object>())->flag_;
  }

 private:
  void set(const Napi::CallbackInfo&) { flag_->store(true); }

  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace moescope
