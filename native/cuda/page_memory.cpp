#include "cuda/page_memory.h"

#include "core/error.h"

namespace moescope::cuda {

namespace {

constexpr size_t kSlabBytes = 16 << 20;
constexpr size_t kPageAlignment = 256;

size_t spaced(size_t bytes) { return (bytes + kPageAlignment - 1) / kPageAlignment * kPageAlignment; }

}  // namespace

bool DevicePageMemory::add_slab(size_t bytes, size_t pages) {
  std::vector<std::byte*>& free = free_[bytes];
  try {
    // Room for every page first: release() must not need memory.
    free.reserve(free.capacity() + pages);
    DeviceBuffer slab(pages * spaced(bytes));
    for (size_t page = 0; page < pages; ++page) {
      free.push_back(static_cast<std::byte*>(slab.data()) + page * spaced(bytes));
    }
    slabs_.push_back(std::move(slab));
    return true;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::OutOfMemory) throw;
    return false;
  }
}

std::byte* DevicePageMemory::allocate(size_t bytes) {
  const std::lock_guard<std::mutex> turn(mutex_);
  select_device(device_);
  std::vector<std::byte*>& free = free_[bytes];
  const size_t slab_pages = kSlabBytes / spaced(bytes);
  if (free.empty() && !(slab_pages > 1 && add_slab(bytes, slab_pages)) && !add_slab(bytes, 1)) return nullptr;
  std::byte* page = free.back();
  fill_bytes(stream_, page, 0, bytes);
  stream_.synchronize();
  free.pop_back();
  return page;
}

void DevicePageMemory::release(std::byte* page, size_t bytes) noexcept {
  const std::lock_guard<std::mutex> turn(mutex_);
  free_[bytes].push_back(page);
}

void DevicePageMemory::copy(std::byte* to, const std::byte* from, size_t bytes) {
  const std::lock_guard<std::mutex> turn(mutex_);
  select_device(device_);
  copy_on_device(stream_, to, from, bytes);
  stream_.synchronize();
}

}  // namespace moescope::cuda
