// JavaScript functions as callbacks of a step: the worker waits while they run, and goes on when they return or their promise settles.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/hooks.h"

namespace moescope {

// The functions of a session's sequences, by number. JavaScript thread only.
class CallbackTable {
 public:
  int add(const Napi::Function& function);
  // The functions numbered from `first` on, in the order of add(), belong to a sequence until it is released.
  void give_to(int sequence, std::vector<int> numbers);
  void release(int sequence);
  Napi::Function at(int number) const { return functions_.at(number).Value(); }

 private:
  int next_ = 0;
  std::map<int, Napi::FunctionReference> functions_;
  std::map<int, std::vector<int>> by_sequence_;
};

class JsHookHost final : public HookHost, public std::enable_shared_from_this<JsHookHost> {
 public:
  // `table` must outlive the step.
  JsHookHost(const CallbackTable& table, std::shared_ptr<std::atomic<bool>> cancel)
      : table_(table), cancel_(std::move(cancel)) {}
  // JavaScript thread: before the step starts, and after it is done.
  void open(Napi::Env env);
  void close() { function_.Release(); }

  // Worker thread.
  Outcome call(HookCall& call) override;

  // JavaScript thread, after the step: what a callback of the sequence threw; empty where the core knows better.
  Napi::Value error_of(int sequence) const;

 private:
  // A call under way. The worker may have left (cancelled) before it settles.
  struct Pending {
    HookCall call;
    std::mutex mutex;
    std::condition_variable settled;
    bool is_settled = false;
    Outcome outcome = Outcome::Unchanged;

    void settle(Outcome result);
  };

  void invoke(Napi::Env env, const std::shared_ptr<Pending>& pending);
  void accept(const Napi::Value& result, Pending& pending);
  void reject(const Napi::Value& error, Pending& pending);

  const CallbackTable& table_;
  std::shared_ptr<std::atomic<bool>> cancel_;
  Napi::ThreadSafeFunction function_;
  std::atomic<bool> is_closed_{false};
  std::map<int, Napi::Reference<Napi::Array>>
      errors_;  // by sequence; arrays of one, for a thrown value may be no object
};

}  // namespace moescope
