// A flag that JavaScript sets and native code polls; shared, so that either side may let go first.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>

namespace moescope {

class CancelFlag final : public Napi::ObjectWrap<CancelFlag> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "CancelFlag", {InstanceMethod<&CancelFlag::set>("set")});
  }
  explicit CancelFlag(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CancelFlag>(info) {}

  // The flag behind a JavaScript value that is a CancelFlag or null.
  static std::shared_ptr<std::atomic<bool>> of(const Napi::Value& value) {
    return value.IsObject() ? Unwrap(value.As<Napi::Object>())->flag_ : nullptr;
  }

 private:
  void set(const Napi::CallbackInfo&) { flag_->store(true); }

  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

}  // namespace moescope
