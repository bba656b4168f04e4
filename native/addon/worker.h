// The one async worker: work off the JavaScript thread, a promise on it. Work touches plain structs only.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <optional>

#include "addon/convert.h"

namespace moescope {

template <typename Result>
class PromiseWorker final : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result()>;
  using Convert = std::function<Napi::Value(Napi::Env, Result&&)>;

  // Queues `work`; the promise settles with `convert` of its result, or with its Error. `finished` runs on the JavaScript thread in
  // either case, before the promise settles.
  static Napi::Promise start(
      Napi::Env env, Work work, Convert convert, std::function<void()> finished = [] {}) {
    auto* worker = new PromiseWorker(env, std::move(work), std::move(convert), std::move(finished));
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 protected:
  void Execute() override {
    try {
      result_ = work_();
    } catch (const Error& error) {
      error_ = error;
    } catch (const std::bad_alloc&) {
      error_ = Error(ErrorCode::OutOfMemory, "The system has no memory left.");
    } catch (const std::exception& error) {
      error_ = Error(ErrorCode::Internal, error.what());
    }
  }

  void OnOK() override {
    finished_();
    if (error_) {
      deferred_.Reject(to_js_error(Env(), *error_).Value());
      return;
    }
    try {
      deferred_.Resolve(convert_(Env(), std::move(*result_)));
    } catch (const Napi::Error& error) {  // no memory for the JavaScript side of the result
      deferred_.Reject(error.Value());
    }
  }

 private:
  PromiseWorker(Napi::Env env, Work work, Convert convert, std::function<void()> finished)
      : Napi::AsyncWorker(env),
        deferred_(Napi::Promise::Deferred::New(env)),
        work_(std::move(work)),
        convert_(std::move(convert)),
        finished_(std::move(finished)) {}

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::function<void()> finished_;
  std::optional<Result> result_;
  std::optional<Error> error_;
};

}  // namespace moescope
