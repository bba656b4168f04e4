// NativeModel of src/native/binding.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "core/session.h"

namespace moescope {

class ModelWrap final : public Napi::ObjectWrap<ModelWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ModelWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ModelWrap>(info) {}

  // loadModel(plan, { threads }, cancel): a promise of a NativeModel.
  static Napi::Value load(const Napi::CallbackInfo& info);

 private:
  Napi::Value create_session(const Napi::CallbackInfo& info);
  Napi::Value mapped_bytes(const Napi::CallbackInfo& info);
  Napi::Value copied_bytes(const Napi::CallbackInfo& info);
  void start_profile(const Napi::CallbackInfo& info);
  Napi::Value stop_profile(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo&) { model_.reset(); }

  Model& model();

  std::shared_ptr<Model> model_;
};

}  // namespace moescope
