#include "addon/session_wrap.h"

#include <algorithm>

#include "addon/addon_data.h"
#include "addon/cancel_flag.h"
#include "addon/trace_blocks.h"
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
       InstanceMethod<&SessionWrap::release_sequence>("releaseSequence"),
       InstanceMethod<&SessionWrap::keep_residuals>("keepResiduals"),
       InstanceMethod<&SessionWrap::share_lower_layers>("shareLowerLayers"),
       InstanceMethod<&SessionWrap::create_trace_block>("createTraceBlock"), InstanceMethod<&SessionWrap::step>("step"),
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

Napi::Value SessionWrap::with_plan(const Napi::Value& value, const std::function<int(Session&, RoutePlan&&)>& make) {
  return guarded(value.Env(), [&]() -> Napi::Value {
    Session& session = idle_session();
    std::vector<int> numbers;
    const auto add = [&](const Napi::Function& function) { return numbers.emplace_back(callbacks_.add(function)); };
    const int sequence =
        make(session, make_route_plan(session.config(), to_route_requests(value, session.config(), add)));
    callbacks_.give_to(sequence, std::move(numbers));
    return Napi::Number::New(value.Env(), sequence);
  });
}

Napi::Value SessionWrap::create_sequence(const Napi::CallbackInfo& info) {
  return with_plan(info[0],
                   [](Session& session, RoutePlan&& plan) { return session.create_sequence(std::move(plan)); });
}

Napi::Value SessionWrap::fork_sequence(const Napi::CallbackInfo& info) {
  return with_plan(info[2], [&](Session& session, RoutePlan&& plan) {
    const int64_t length = to_integer(info[1], "length", 0, kMaxInt);
    return session.fork_sequence(to_sequence(info[0]), length, std::move(plan));
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
  guarded(info.Env(), [&] {
    const int sequence = to_sequence(info[0]);
    idle_session().release_sequence(sequence);
    callbacks_.release(sequence);
  });
}

void SessionWrap::keep_residuals(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const int layer = static_cast<int>(to_integer(info[1], "layer", 0, kMaxInt));
    idle_session().keep_residuals(to_sequence(info[0]), layer);
  });
}

void SessionWrap::share_lower_layers(const Napi::CallbackInfo& info) {
  guarded(info.Env(), [&] {
    const int layer = static_cast<int>(to_integer(info[2], "layer", 0, kMaxInt));
    idle_session().share_lower_layers(to_sequence(info[0]), to_sequence(info[1]), layer);
  });
}

std::shared_ptr<TraceBlock> SessionWrap::block_of(const Napi::Value& number) const {
  if (number.IsUndefined()) return nullptr;
  const int64_t index = to_integer(number, "traceBlock", 0, kMaxInt);
  const bool is_known = index < static_cast<int64_t>(blocks_.size());
  const std::shared_ptr<TraceBlock> block = is_known ? blocks_[index].lock() : nullptr;
  if (block == nullptr) fail(ErrorCode::InvalidArgument, "Expected a trace block of this session, got ", index, ".");
  return block;
}

namespace {

// [{ segment, error }] of the sequences that failed.
Napi::Value failures_of(Napi::Env env, const StepRequest& request, const StepResult& result, const JsHookHost& host) {
  Napi::Array failures = Napi::Array::New(env);
  for (const HookFailure& failure : result.failures) {
    const auto segment = std::find_if(request.segments.begin(), request.segments.end(),
                                      [&](const StepSegment& one) { return one.sequence == failure.sequence; });
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("segment", Napi::Number::New(env, static_cast<double>(segment - request.segments.begin())));
    const Napi::Value thrown = host.error_of(failure.sequence);
    entry.Set("error", failure.error ? to_js_error(env, *failure.error).Value() : thrown);
    failures.Set(failures.Length(), entry);
  }
  return failures;
}

}  // namespace

Napi::Value SessionWrap::create_trace_block(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto block = to_trace_block(info[0], idle_session().config());
    const auto is_gone = [](const std::weak_ptr<TraceBlock>& one) { return one.expired(); };
    auto place = std::find_if(blocks_.begin(), blocks_.end(), is_gone);
    if (place == blocks_.end()) place = blocks_.emplace(place);
    *place = block;
    return from_trace_block(info.Env(), block, static_cast<int>(place - blocks_.begin()));
  });
}

Napi::Value SessionWrap::step(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    idle_session();
    const auto request = std::make_shared<StepRequest>(to_step_request(info[0]));
    const std::shared_ptr<TraceBlock> block = block_of(info[0].As<Napi::Object>().Get("traceBlock"));
    if (block != nullptr) {
      request->trace = block.get();
      request->trace_row = to_integer(info[0].As<Napi::Object>().Get("traceRow"), "traceRow", 0, kMaxInt);
    }
    const auto cancel = CancelFlag::of(info[1]);
    const auto progress = std::make_shared<Progress>(info.Env(), info[2]);
    const std::shared_ptr<Session> session = session_;
    // The wrap must outlive the step: `busy_` is its.
    const auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
    std::shared_ptr<JsHookHost> host;
    for (const StepSegment& segment : request->segments) {
      if (host == nullptr && session->has_hooks(segment.sequence)) {
        host = std::make_shared<JsHookHost>(callbacks_, cancel);
        host->open(info.Env());
      }
    }
    busy_ = true;
    return PromiseWorker<StepResult>::start(
        info.Env(),
        [session, request, block, cancel, progress, host] {
          return session->step(
              *request, cancel.get(), [&](int64_t rows_done) { progress->report(rows_done); }, host.get());
        },
        [session, request, host](Napi::Env env, StepResult&& result) -> Napi::Value {
          const bool has_failures = !result.failures.empty();
          const Napi::Value failures = has_failures ? failures_of(env, *request, result, *host) : env.Undefined();
          Napi::Object object = from_step_result(env, std::move(result));
          if (has_failures) object.Set("failures", failures);
          return object;
        },
        [this, self, progress, host] {
          busy_ = false;
          progress->close();
          if (host != nullptr) host->close();
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
