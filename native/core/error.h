// The one error type of the core. It becomes a JavaScript error with the same `code` (src/errors.ts).
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace moescope {

enum class ErrorCode {
  InvalidArgument,
  NotFound,
  NoPermission,
  BadFile,
  Unsupported,
  ContextTooLong,
  OutOfMemory,
  Aborted,
  Disposed,
  Invariant,
  Internal,
};

constexpr const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::InvalidArgument: return "INVALID_ARGUMENT";
    case ErrorCode::NotFound: return "NOT_FOUND";
    case ErrorCode::NoPermission: return "NO_PERMISSION";
    case ErrorCode::BadFile: return "BAD_FILE";
    case ErrorCode::Unsupported: return "UNSUPPORTED";
    case ErrorCode::ContextTooLong: return "CONTEXT_TOO_LONG";
    case ErrorCode::OutOfMemory: return "OUT_OF_MEMORY";
    case ErrorCode::Aborted: return "ABORTED";
    case ErrorCode::Disposed: return "DISPOSED";
    case ErrorCode::Invariant: return "INVARIANT";
    case ErrorCode::Internal: return "INTERNAL";
  }
  return "INTERNAL";
}

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

// Throws an Error whose message is the parts written one after another.
template <typename... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(code, message.str());
}

}  // namespace moescope
