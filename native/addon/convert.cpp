#include "addon/convert.h"

#include <cmath>

namespace moescope {

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error js_error = Napi::Error::New(env, error.what());
  js_error.Set("code", Napi::String::New(env, code_name(error.code())));
  return js_error;
}

double to_number(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) fail(ErrorCode::InvalidArgument, "Expected a number for ", name, ".");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t to_integer(const Napi::Value& value, const char* name, int64_t low, int64_t high) {
  const double number = to_number(value, name);
  if (!(number >= static_cast<double>(low) && number <= static_cast<double>(high)) || number != std::floor(number)) {
    fail(ErrorCode::InvalidArgument, "Expected an integer from ", low, " to ", high, " for ", name, ", got ", number,
         ".");
  }
  return static_cast<int64_t>(number);
}

bool to_boolean(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) fail(ErrorCode::InvalidArgument, "Expected true or false for ", name, ".");
  return value.As<Napi::Boolean>();
}

std::string to_string(const Napi::Value& value, const char* name) {
  if (!value.IsString()) fail(ErrorCode::InvalidArgument, "Expected a string for ", name, ".");
  return value.As<Napi::String>();
}

Napi::Object to_object(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) fail(ErrorCode::InvalidArgument, "Expected an object for ", name, ".");
  return value.As<Napi::Object>();
}

Napi::Array to_array(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) fail(ErrorCode::InvalidArgument, "Expected an array for ", name, ".");
  return value.As<Napi::Array>();
}

Precision to_precision(const Napi::Value& value) {
  const std::string name = to_string(value, "precision");
  if (name == "ref") return Precision::Ref;
  if (name == "fast") return Precision::Fast;
  fail(ErrorCode::InvalidArgument, "Expected \"ref\" or \"fast\" for precision, got ", name, ".");
}

DType to_dtype(const Napi::Value& value) {
  const std::string name = to_string(value, "dtype");
  const std::optional<DType> dtype = parse_dtype(name);
  if (!dtype) fail(ErrorCode::Unsupported, "Expected a storage type that moescope reads, got ", name, ".");
  return *dtype;
}

}  // namespace moescope
