// The allocations of the emulated device, and what is wrong with an access.
#include "memory.h"

#include <cstring>
#include <map>
#include <new>
#include <sstream>

#include "block.h"
#include "checked_pointer.h"

namespace moescope::emulator {

namespace {

constexpr std::align_val_t kAlignment{256};

std::map<const char*, size_t>& allocations() {
  static std::map<const char*, size_t> all;  // by first address, bytes
  return all;
}

}  // namespace

void* allocate(size_t bytes) {
  char* memory = static_cast<char*>(::operator new[](bytes, kAlignment));
  std::memset(memory, 0xFF, bytes);
  allocations().emplace(memory, bytes);
  return memory;
}

void release(void* memory) {
  allocations().erase(static_cast<char*>(memory));
  ::operator delete[](memory, kAlignment);
}

size_t bytes_allocated() {
  size_t sum = 0;
  for (const auto& [memory, bytes] : allocations()) sum += bytes;
  return sum;
}

Extent extent_of(const void* address) {
  const char* place = static_cast<const char*>(address);
  auto next = allocations().upper_bound(place);
  if (place == nullptr || next == allocations().begin()) return {};
  const auto& [begin, bytes] = *--next;
  return place <= begin + bytes ? Extent{begin, begin + bytes} : Extent{};
}

void check_access_slow(const char* address, size_t bytes, size_t alignment, Extent extent, const char* space) {
  std::ostringstream text;
  if (!is_in_kernel) {
    text << "touched " << space << " outside of a kernel";
  } else if (address == nullptr) {
    text << "touched " << space << " through a null pointer";
  } else if (address < extent.begin || address + bytes > extent.end) {
    text << "touched " << bytes << " bytes at offset " << address - extent.begin << " of " << extent.end - extent.begin
         << " bytes of " << space;
  } else if (reinterpret_cast<uintptr_t>(address) % alignment != 0) {
    text << "touched " << bytes << " bytes of " << space << " at offset " << address - extent.begin
         << ", which is not aligned to " << alignment;
  } else {
    text << "touched memory so often without meeting others that its loop seems to have no end";
  }
  fail_lane(text.str().c_str());
}

}  // namespace moescope::emulator
