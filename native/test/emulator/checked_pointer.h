// Pointers of the emulator: each knows the allocation, or the part of the arena, that it may touch, and every access is checked for
// bounds, alignment and place. An access outside of a kernel is one that host code makes to device memory: an error too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace moescope::emulator {

// What an address belongs to; both null where it belongs to nothing.
struct Extent {
  const char* begin = nullptr;
  const char* end = nullptr;
};

// The allocation of device memory that holds `address`.
Extent extent_of(const void* address);

// Throws an Error that names kernel, block and thread unless [address, address + bytes) may be touched by the lane that runs.
void check_access_slow(const char* address, size_t bytes, size_t alignment, Extent extent, const char* space);

// Accesses that the lane made since it last met others; a lane that makes very many spins on memory.
inline thread_local int64_t accesses_left = 0;
// A lane runs.
inline thread_local bool is_in_kernel = false;

inline void check_access(const char* address, size_t bytes, size_t alignment, Extent extent, const char* space) {
  const bool is_inside = address >= extent.begin && address + bytes <= extent.end;
  const bool is_aligned = (reinterpret_cast<uintptr_t>(address) & (alignment - 1)) == 0;
  if (is_inside && is_aligned && is_in_kernel && --accesses_left >= 0) return;
  check_access_slow(address, bytes, alignment, extent, space);
}

struct GlobalSpace {
  static constexpr const char* kName = "device memory";
};
struct SharedSpace {
  static constexpr const char* kName = "shared memory";
};

template <typename T, typename Space>
class CheckedPointer {
 public:
  CheckedPointer() = default;
  CheckedPointer(std::nullptr_t) {}
  CheckedPointer(T* address, Extent extent) : address_(address), extent_(extent) {}
  // Device memory by its address, as host code passes it.
  explicit(false) CheckedPointer(T* address)
    requires std::is_same_v<Space, GlobalSpace>
  : address_(address), extent_(extent_of(address)) {}
  // To const.
  template <typename U>
    requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
  CheckedPointer(const CheckedPointer<U, Space>& other) : address_(other.address()), extent_(other.extent()) {}

  template <typename Index>
  T& operator[](Index index) const {
    return *(*this + index);
  }
  T& operator*() const {
    check_access(reinterpret_cast<const char*>(address_), sizeof(T), alignof(T), extent_, Space::kName);
    return *address_;
  }
  T* operator->() const { return &**this; }

  template <typename Index>
  CheckedPointer operator+(Index offset) const {
    return {at(static_cast<int64_t>(offset)), extent_};
  }
  template <typename Index>
  CheckedPointer operator-(Index offset) const
    requires std::is_integral_v<Index>
  {
    return {at(-static_cast<int64_t>(offset)), extent_};
  }
  int64_t operator-(CheckedPointer other) const { return address_ - other.address_; }
  CheckedPointer& operator++() { return *this += 1; }
  template <typename Index>
  CheckedPointer& operator+=(Index offset) {
    return *this = *this + offset;
  }

  explicit operator bool() const { return address_ != nullptr; }
  bool operator==(const CheckedPointer& other) const { return address_ == other.address_; }
  bool operator==(std::nullptr_t) const { return address_ == nullptr; }

  // Unchecked: for the emulator and for host code that passes addresses on.
  T* address() const { return address_; }
  Extent extent() const { return extent_; }

 private:
  // By integers: a pointer far outside is an error when it is used, not when it is made.
  T* at(int64_t offset) const {
    return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(address_) + static_cast<uintptr_t>(offset) * sizeof(T));
  }

  T* address_ = nullptr;
  Extent extent_;
};

}  // namespace moescope::emulator

namespace moescope::cuda {

#define MOESCOPE_ANYWHERE

template <typename T>
using Global = emulator::CheckedPointer<T, emulator::GlobalSpace>;

template <typename T>
using Shared = emulator::CheckedPointer<T, emulator::SharedSpace>;

template <typename To, typename From, typename Space>
emulator::CheckedPointer<To, Space> as(const emulator::CheckedPointer<From, Space>& pointer) {
  return {reinterpret_cast<To*>(pointer.address()), pointer.extent()};
}

}  // namespace moescope::cuda
