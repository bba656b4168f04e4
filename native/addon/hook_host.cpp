#include "addon/hook_host.h"

#include <algorithm>
#include <chrono>

#include "addon/convert.h"

namespace moescope {

int CallbackTable::add(const Napi::Function& function) {
  functions_.emplace(next_, Napi::Persistent(function));
  return next_++;
}

void CallbackTable::give_to(int sequence, std::vector<int> numbers) {
  if (!numbers.empty()) by_sequence_[sequence] = std::move(numbers);
}

void CallbackTable::release(int sequence) {
  const auto found = by_sequence_.find(sequence);
  if (found == by_sequence_.end()) return;
  for (int number : found->second) functions_.erase(number);
  by_sequence_.erase(found);
}

void JsHookHost::Pending::settle(Outcome result) {
  {
    const std::lock_guard<std::mutex> lock(mutex);
    if (is_settled) return;
    is_settled = true;
    outcome = result;
  }
  settled.notify_one();
}

void JsHookHost::open(Napi::Env env) {
  const auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  const std::shared_ptr<JsHookHost> self = shared_from_this();
  function_ = Napi::ThreadSafeFunction::New(env, nothing, "moescope callback", 0, 1,
                                            [self](Napi::Env) { self->is_closed_.store(true); });
}

HookHost::Outcome JsHookHost::call(HookCall& call) {
  const auto pending = std::make_shared<Pending>();
  pending->call = std::move(call);
  const std::shared_ptr<JsHookHost> self = shared_from_this();
  const napi_status status = function_.BlockingCall([self, pending](Napi::Env env, Napi::Function) {
    if (static_cast<napi_env>(env) != nullptr) self->invoke(env, pending);
  });
  std::unique_lock<std::mutex> lock(pending->mutex);
  while (status == napi_ok && !pending->is_settled && !is_closed_.load() && !(cancel_ != nullptr && cancel_->load())) {
    pending->settled.wait_for(lock, std::chrono::milliseconds(20));
  }
  if (!pending->is_settled) fail(ErrorCode::Aborted, "The operation was cancelled while a callback was running.");
  call = std::move(pending->call);
  return pending->outcome;
}

void JsHookHost::invoke(Napi::Env env, const std::shared_ptr<Pending>& pending) {
  const Napi::HandleScope scope(env);
  try {
    const HookCall& call = pending->call;
    const Napi::Object where = Napi::Object::New(env);
    where.Set("hook", hook_name(call.point));
    if (call.layer >= 0) where.Set("layer", call.layer);
    if (call.expert >= 0) where.Set("expert", call.expert);
    where.Set("request", call.sequence);
    where.Set("width", call.width);
    where.Set("positions", from_vector(env, std::vector<int32_t>(call.positions)));
    where.Set("tokenIds", from_vector(env, std::vector<int32_t>(call.tokens)));
    where.Set("origins", from_vector(env, std::vector<uint8_t>(call.origins.begin(), call.origins.end())));
    where.Set("segments", from_vector(env, std::vector<int32_t>(call.segments)));
    const Napi::Value result =
        table_.at(call.callback).Call({from_vector(env, std::vector<float>(call.values)), where});
    if (!result.IsPromise()) return accept(result, *pending);
    const std::shared_ptr<JsHookHost> self = shared_from_this();
    const auto resolved =
        Napi::Function::New(env, [self, pending](const Napi::CallbackInfo& info) { self->accept(info[0], *pending); });
    const auto rejected =
        Napi::Function::New(env, [self, pending](const Napi::CallbackInfo& info) { self->reject(info[0], *pending); });
    const auto promise = result.As<Napi::Object>();
    promise.Get("then").As<Napi::Function>().Call(promise, {resolved, rejected});
  } catch (const Napi::Error& error) {
    reject(error.Value(), *pending);
  } catch (const std::exception& error) {
    reject(to_js_error(env, Error(ErrorCode::OutOfMemory, error.what())).Value(), *pending);
  }
}

void JsHookHost::accept(const Napi::Value& result, Pending& pending) {
  if (result.IsUndefined() || result.IsNull()) return pending.settle(Outcome::Unchanged);
  HookCall& call = pending.call;
  const bool is_array = result.IsTypedArray() && result.As<Napi::TypedArray>().TypedArrayType() == napi_float32_array;
  const size_t length = is_array ? result.As<Napi::TypedArray>().ElementLength() : 0;
  if (!is_array || length != call.values.size()) {
    std::ostringstream message;
    message << "Expected a Float32Array of " << call.positions.size() << " x " << call.width
            << " numbers, or nothing, from the callback at " << hook_name(call.point) << ", got "
            << (is_array ? "one of " + std::to_string(length) : std::string("something else")) << ".";
    return reject(to_js_error(result.Env(), Error(ErrorCode::InvalidArgument, message.str())).Value(), pending);
  }
  const auto values = result.As<Napi::Float32Array>();
  {
    // A worker that has left may be reading no longer, but never twice.
    const std::lock_guard<std::mutex> lock(pending.mutex);
    if (pending.is_settled) return;
    std::copy_n(values.Data(), length, call.values.begin());
  }
  pending.settle(Outcome::Replaced);
}

void JsHookHost::reject(const Napi::Value& error, Pending& pending) {
  Napi::Array held = Napi::Array::New(error.Env(), 1);
  held.Set(0u, error);
  errors_.emplace(pending.call.sequence, Napi::Persistent(held));
  pending.settle(Outcome::Failed);
}

Napi::Value JsHookHost::error_of(int sequence) const {
  const auto found = errors_.find(sequence);
  return found == errors_.end() ? Napi::Value() : found->second.Value().Get(0u);
}

}  // namespace moescope
