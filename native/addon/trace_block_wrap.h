// TraceBlock of src/native/binding.ts: the arrays of a core trace block as typed arrays over the same memory.
#pragma once

#include <napi.h>

#include <memory>

#include "core/trace_block.h"

namespace moescope {

class TraceBlockWrap final : public Napi::ObjectWrap<TraceBlockWrap> {
 public:
  static Napi::Function define(Napi::Env env) { return DefineClass(env, "TraceBlock", {}); }
  explicit TraceBlockWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<TraceBlockWrap>(info) {}

  // A block as `options` describe it. Either side may let go first.
  static Napi::Value create(Napi::Env env, const ModelConfig& config, const Napi::Value& options);
  // The block behind a JavaScript value.
  static std::shared_ptr<TraceBlock> of(const Napi::Value& value);

 private:
  std::shared_ptr<TraceBlock> block_;
};

}  // namespace moescope
