// F32x16 as an array: any machine, same bits, slow. std::fma rounds once whether the machine has the instruction or not.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace moescope {
namespace {  // each instruction set has an F32x16 of its own: the linker must not merge them

struct F32x16 {
  float lane[16];

  static F32x16 zero() { return broadcast(0); }
  static F32x16 broadcast(float value) {
    return map([&](int) { return value; });
  }
  static F32x16 load(const float* source) { return load_first(source, 16); }
  static F32x16 load_first(const float* source, int64_t count) {
    F32x16 loaded = {};
    std::memcpy(loaded.lane, source, static_cast<size_t>(count) * sizeof(float));
    return loaded;
  }
  void store(float* target) const { store_first(target, 16); }
  void store_first(float* target, int64_t count) const {
    std::memcpy(target, lane, static_cast<size_t>(count) * sizeof(float));
  }

  float sum() const {
    float part[8];
    for (int i = 0; i < 8; ++i) part[i] = lane[i] + lane[i + 8];
    for (int width = 4; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) part[i] += part[i + width];
    }
    return part[0];
  }
  float max() const {
    float largest = lane[0];
    for (float value : lane) largest = value > largest ? value : largest;
    return largest;
  }

  friend F32x16 operator+(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend F32x16 operator-(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend F32x16 operator*(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend F32x16 operator/(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  friend F32x16 fma(const F32x16& a, const F32x16& b, const F32x16& c) {
    return map([&](int i) { return std::fma(a.lane[i], b.lane[i], c.lane[i]); });
  }
  friend F32x16 max(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  friend F32x16 min(const F32x16& a, const F32x16& b) {
    return map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  friend F32x16 round(const F32x16& a) {
    return map([&](int i) { return std::nearbyint(a.lane[i]); });
  }
  friend F32x16 exp2i(const F32x16& n) {
    // NaN has no integer; the caller's product is NaN whatever stands here.
    return map([&](int i) { return std::isnan(n.lane[i]) ? 1.0f : std::ldexp(1.0f, static_cast<int>(n.lane[i])); });
  }

 private:
  template <typename Function>
  static F32x16 map(Function function) {
    F32x16 result;
    for (int i = 0; i < 16; ++i) result.lane[i] = function(i);
    return result;
  }
};

}  // namespace
}  // namespace moescope
