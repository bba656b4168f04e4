// The test harness of native/test: named cases, checks that go on after a failure, seeded random numbers. It brings
// main(), so a test includes it once. Exit status 1 if a check failed. An argument runs the cases whose name has it.
//
//   CASE("halves round to even") {
//     CHECK(x > 0);
//     CHECK_EQ(x, 3);
//     CHECK_NEAR(y, 0.5, 1e-6);
//     CHECK_FAILS(f(), InvalidArgument);
//   }
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "core/error.h"

namespace moescope::check {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

// Failed checks of the case that runs.
inline int failures = 0;

struct Registration {
  Registration(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

// One line for a failed check. A loop over many inputs may fail in each: the first ten say enough.
template <typename... Parts>
void report(const char* file, int line, const Parts&... parts) {
  if (++failures > 10) return;
  std::ostringstream text;
  text.precision(17);
  (text << ... << parts);
  std::printf("  %s:%d: %s\n", file, line, text.str().c_str());
  std::fflush(stdout);
}

// For printing: bytes as numbers, not as characters.
template <typename T>
const T& printable(const T& value) {
  return value;
}
inline int printable(const uint8_t& value) { return value; }
inline int printable(const int8_t& value) { return value; }

template <typename A, typename B>
void check_equal(const char* file, int line, const char* text, const A& actual, const B& expected) {
  if (!(actual == expected)) {
    report(file, line, text, ": expected ", printable(expected), ", got ", printable(actual));
  }
}

// NaN is near nothing.
inline void check_near(const char* file, int line, const char* text, double actual, double expected, double tolerance) {
  if (!(std::abs(actual - expected) <= tolerance)) {
    report(file, line, text, ": expected ", expected, " within ", tolerance, ", got ", actual);
  }
}

template <typename Body>
void check_fails(const char* file, int line, const char* text, ErrorCode code, Body body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.code() != code) {
      report(file, line, text, ": expected ", code_name(code), ", got ", code_name(error.code()), ": ", error.what());
    }
    return;
  }
  report(file, line, text, ": expected ", code_name(code), ", but it did not fail");
}

// Deterministic on every platform (splitmix64 of Steele, Lea and Flood 2014).
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // In [0, bound).
  int below(int bound) { return static_cast<int>(bits() % static_cast<uint64_t>(bound)); }
  // In [0, 1).
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  // Standard normal (Box and Muller).
  double normal() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(6.283185307179586 * uniform());
  }

 private:
  uint64_t state_;
};

// Runs the cases and returns the exit status.
inline int run(const std::string& filter) {
  int failed_cases = 0;
  int ran = 0;
  for (const Case& one : cases()) {
    if (std::string(one.name).find(filter) == std::string::npos) continue;
    ++ran;
    failures = 0;
    try {
      one.body();
    } catch (const std::exception& error) {
      report(one.name, 0, "unexpected exception: ", error.what());
    }
    std::printf("%s %s\n", failures == 0 ? "ok    " : "FAILED", one.name);
    if (failures > 0) {
      std::printf("  %d failed checks in: %s\n", failures, one.name);
      ++failed_cases;
    }
  }
  std::printf("%d cases, %d failed\n", ran, failed_cases);
  return failed_cases == 0 && ran > 0 ? 0 : 1;
}

}  // namespace moescope::check

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)
#define CASE(name)                                                                                                   \
  static void CHECK_JOIN(case_, __LINE__)();                                                                         \
  static const moescope::check::Registration CHECK_JOIN(registration_, __LINE__)(name, CHECK_JOIN(case_, __LINE__)); \
  static void CHECK_JOIN(case_, __LINE__)()
#define CHECK(condition)                                                                    \
  do {                                                                                      \
    if (!(condition)) moescope::check::report(__FILE__, __LINE__, "not true: " #condition); \
  } while (false)
#define CHECK_EQ(actual, expected) moescope::check::check_equal(__FILE__, __LINE__, #actual, (actual), (expected))
#define CHECK_NEAR(actual, expected, tolerance) \
  moescope::check::check_near(__FILE__, __LINE__, #actual, (actual), (expected), (tolerance))
#define CHECK_FAILS(expression, code)                                                      \
  moescope::check::check_fails(__FILE__, __LINE__, #expression, moescope::ErrorCode::code, \
                               [&]() { static_cast<void>(expression); })

int main(int argc, char** argv) { return moescope::check::run(argc > 1 ? argv[1] : ""); }
