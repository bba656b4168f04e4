#include "addon/session_wrap.h"

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/worker.h"

namespace moescope {

namespace {

constexpr int64_t kMaxInt = 0x7fffffff;

int to_sequence(const Napi::Value& value) { return static_cast<int>(to_integer(value, "sequence", 0, kMaxInt)); }

// Reports rows done to a JavaScript function from the worker; does nothing for null.
class Progress {
 public:
  Progress(Napi::Env env, const Napi::Value& function) : wanted_(function.IsFunction()) {
    if (wanted_)
      function_ = Napi::ThreadSafeFunction::New(env, function.As<Napi::Function>(), "moescope progress", 0, 1);
  }
  void report(int64_t rows_done) {
    if (!wanted_) return;
    function_.NonBlockingCall([rows_done](Napi::Env env, Napi::Function callback) {
      callback.Call({Napi::Number::New(env, static_cast<double>(rows_done))});
    });
  }
  void close() {
    if (wanted_) function_.Release();
  }

 private:
  bool wanted_;
  Napi::ThreadSafeFunction function_;
};

}  // namespace

Napi::Function SessionWrap::define(Napi::Env env) {
  return DefineClass(
      env, "NativeSession",
      {InstanceMethod<&SessionWrap::create_sequence>("createSequence"),
       InstanceMethod<&SessionWrap::fork_sequence>("forkSequence"),
       InstanceMethod<&SessionWrap::truncate_sequence>("truncateSequence"),
       InstanceMethod<&SessionWrap::sequence_length>("sequenceLength"),
       InstanceMethod<&SessionWrap::release_sequence>("releaseSequence"), InstanceMethod<&SessionWrap::step>("step"),
       InstanceMethod<&SessionWrap::expert_counts>("expertCounts"),
       InstanceMethod<&SessionWrap::kv_cache_bytes>("kvCacheBytes"), InstanceMethod<&SessionWrap::dispose>("dispose")});
}

Napi::Value SessionWrap::create(Napi::Env env, std::shared_ptr<Model> model, CacheType type, int chunk_rows) {
  const Napi::Object wrap = env.GetInstanceData<AddonData>()->session.New({});
  Unwrap(wrap)->session_ = std::make_shared<Session>(std::move(model), type, chunk_rows);
  return wrap;
}

Session& SessionWrap::idle_session() {
  if (!session_) fail(ErrorCode::Disposed, "The session was disposed.");
  if (busy_) fail(ErrorCode::Internal, "A step is running on this session; its sequences cannot be touched meanwhile.");
  return *session_;
}

Napi::Value SessionWrap::create_sequence(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Session& session = idle_session();
    RoutePlan plan = make_route_plan(session.config(), to_route_requests(info[0], session.config()));
    return Napi::Number::New(info.Env(), session.create_sequence(std::move(plan)));
  });
}

Napi::Value SessionWrap::fork_sequence(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    Session& session = idle_session();
    const int64_t length = to_integer(info[1], "length", 0, kMaxInt);
    RoutePlan plan = make_route_plan(session.config(), to_route_requests(info[2], session.config()));
    return Napi::Number::New(info.Env(), session.fork_sequence(to_sequence(info[0]), length, std::move(plan)));
  });
}

void SessionWrap::truncate_sequence(const Napi::CallbackInfo& info) {
  guarded(info.Env(),
          [&] { idle_session().truncate_sequence(to_sequence(info[0]), to_integer(info[1], "length", 0, kMaxInt)); });
}

Napi::Value SessionWrap::sequence_length(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(idle_session().sequence_length(to_sequence(info[0]))));
  });
}

void SessionWrap::release_sequence(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] { idle_session().release_sequence(to_sequence(info[0])); });
}

Napi::Value SessionWrap::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    idle_session();
    const auto request = std::make_shared<StepRequest>(to_step_request(info[0]));
    const auto cancel = CancelFlag::of(info[1]);
    const auto progress = std::make_shared<Progress>(info.Env(), info[2]);
    const std::shared_ptr<Session> session = session_;
    // The wrap must outlive the step: `busy_` is its.
    const auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
    busy_ = true;
    return PromiseWorker<StepResult>::start(
        info.Env(),
        [session, request, cancel, progress] {
          return session->step(*request, cancel.get(), [&](int64_t rows_done) { progress->report(rows_done); });
        },
        [session](Napi::Env env, StepResult&& result) -> Napi::Value {
          return from_step_result(env, std::move(result), session->config());
        },
        [this, self, progress] {
          busy_ = false;
          progress->close();
        });
  });
}

Napi::Value SessionWrap::expert_counts(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const std::vector<uint64_t>& counts = idle_session().expert_counts();
    return from_vector(info.Env(), std::vector<double>(counts.begin(), counts.end()));
  });
}

Napi::Value SessionWrap::kv_cache_bytes(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::Number::New(info.Env(), static_cast<double>(idle_session().cache_bytes()));
  });
}

}  // namespace moescope
