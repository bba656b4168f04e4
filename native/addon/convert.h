// JavaScript values to plain structs, once, before a worker starts; vectors to typed arrays, without a copy, when it is done.
// Shapes and names: src/native/binding.ts.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/devices.h"
#include "core/error.h"
#include "core/session.h"

namespace moescope {

// An Error as a JavaScript error with its `code`.
Napi::Error to_js_error(Napi::Env env, const Error& error);

// Runs `body` on the JavaScript thread, turning Errors and failed allocations into JavaScript errors.
template <typename Body>
auto guarded(Napi::Env env, Body body) {
  try {
    return body();
  } catch (const Error& error) {
    throw to_js_error(env, error);
  } catch (const std::bad_alloc&) {
    throw to_js_error(env, Error(ErrorCode::OutOfMemory, "The system has no memory left."));
  }
}

double to_number(const Napi::Value& value, const char* name);
int64_t to_integer(const Napi::Value& value, const char* name, int64_t low, int64_t high);
bool to_boolean(const Napi::Value& value, const char* name);
std::string to_string(const Napi::Value& value, const char* name);
Napi::Object to_object(const Napi::Value& value, const char* name);
Napi::Array to_array(const Napi::Value& value, const char* name);
Precision to_precision(const Napi::Value& value);
DType to_dtype(const Napi::Value& value);

template <typename T>
constexpr napi_typedarray_type typed_array_type() {
  if constexpr (std::is_same_v<T, int32_t>) return napi_int32_array;
  if constexpr (std::is_same_v<T, uint32_t>) return napi_uint32_array;
  if constexpr (std::is_same_v<T, uint16_t>) return napi_uint16_array;
  if constexpr (std::is_same_v<T, uint8_t>) return napi_uint8_array;
  if constexpr (std::is_same_v<T, float>) return napi_float32_array;
  if constexpr (std::is_same_v<T, double>) return napi_float64_array;
}

template <typename T>
std::vector<T> to_vector(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != typed_array_type<T>()) {
    fail(ErrorCode::InvalidArgument, "Expected a typed array of another kind for ", name, ".");
  }
  const auto array = value.As<Napi::TypedArrayOf<T>>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

// The vector's memory becomes the array's.
template <typename T>
Napi::Value from_vector(Napi::Env env, std::vector<T>&& values) {
  const size_t length = values.size();
  if (length == 0) return Napi::TypedArrayOf<T>::New(env, 0, typed_array_type<T>());
  auto owner = std::make_unique<std::vector<T>>(std::move(values));
  const auto buffer = Napi::ArrayBuffer::New(
      env, owner->data(), length * sizeof(T), [](Napi::Env, void*, std::vector<T>* held) { delete held; }, owner.get());
  owner.release();
  return Napi::TypedArrayOf<T>::New(env, length, buffer, 0, typed_array_type<T>());
}

struct LoadPlan {
  ModelConfig config;
  std::vector<std::string> files;
  std::vector<TensorEntry> tensors;
};

LoadPlan to_load_plan(const Napi::Value& value);
// `add_callback` gives a function its number.
std::vector<RouteRequest> to_route_requests(const Napi::Value& value, const ModelConfig& config,
                                            const std::function<int(const Napi::Function&)>& add_callback);
// All but the trace, whose block the caller holds.
StepRequest to_step_request(const Napi::Value& value);
Napi::Object from_step_result(Napi::Env env, StepResult&& result);
Napi::Object from_contributions(Napi::Env env, Contributions&& sums);

}  // namespace moescope
