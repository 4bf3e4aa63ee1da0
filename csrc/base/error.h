// The one exception of the engine. The binding maps each code to a Python exception, the server to a gRPC status
// (docs/architecture.md, "Errors"). Kernels never throw: they are noexcept and check with assert.
#pragma once

#include <stdexcept>
#include <string>

namespace bebr {

enum class ErrorCode {
  InvalidArgument,
  NotFound,
  UnknownId,
  Corrupt,
  LimitExceeded,
  ReadOnly,
  Io,
  Cancelled,
  DeviceUnavailable
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

[[noreturn]] inline void fail(ErrorCode code, const std::string& message) { throw Error(code, message); }

}  // namespace bebr
