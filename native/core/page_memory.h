// Memory for the pages of the KV cache: the host's, or that of the device on which a backend computes.
#pragma once

#include <cstddef>
#include <memory>

namespace moescope {

class PageMemory {
 public:
  virtual ~PageMemory() = default;

  // Zeros; null where there is no room.
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void release(std::byte* page, size_t bytes) noexcept = 0;
  // Both are whole pages.
  virtual void copy(std::byte* to, const std::byte* from, size_t bytes) = 0;
};

std::shared_ptr<PageMemory> host_page_memory();

}  // namespace moescope
