// NativeSession of src/native/binding.ts.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/hook_host.h"
#include "core/session.h"

namespace moescope {

class SessionWrap final : public Napi::ObjectWrap<SessionWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value create(Napi::Env env, std::shared_ptr<Model> model, CacheType type, int chunk_rows);
  explicit SessionWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SessionWrap>(info) {}

 private:
  Napi::Value create_sequence(const Napi::CallbackInfo& info);
  Napi::Value fork_sequence(const Napi::CallbackInfo& info);
  void truncate_sequence(const Napi::CallbackInfo& info);
  Napi::Value sequence_length(const Napi::CallbackInfo& info);
  void release_sequence(const Napi::CallbackInfo& info);
  void keep_residuals(const Napi::CallbackInfo& info);
  void share_lower_layers(const Napi::CallbackInfo& info);
  Napi::Value create_trace_block(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value expert_counts(const Napi::CallbackInfo& info);
  Napi::Value kv_cache_bytes(const Napi::CallbackInfo& info);
  void dispose(const Napi::CallbackInfo&) { session_.reset(); }

  // A sequence that `make` makes under the plan of the rules in `value`.
  Napi::Value with_plan(const Napi::Value& value, const std::function<int(Session&, RoutePlan&&)>& make);
  // The session, if it is there and no step is running on it.
  Session& idle_session();

  // The block that a request names, or null.
  std::shared_ptr<TraceBlock> block_of(const Napi::Value& number) const;

  std::shared_ptr<Session> session_;
  std::vector<std::weak_ptr<TraceBlock>> blocks_;  // by number; JavaScript keeps them
  CallbackTable callbacks_;
  bool busy_ = false;  // JavaScript thread only
};

}  // namespace moescope
