#include "core/page_memory.h"

#include <cstdlib>
#include <cstring>

namespace moescope {

namespace {

class HostPageMemory final : public PageMemory {
 public:
  std::byte* allocate(size_t bytes) override { return static_cast<std::byte*>(std::calloc(bytes, 1)); }
  void release(std::byte* page, size_t) noexcept override { std::free(page); }
  void copy(std::byte* to, const std::byte* from, size_t bytes) override { std::memcpy(to, from, bytes); }
};

}  // namespace

std::shared_ptr<PageMemory> host_page_memory() { return std::make_shared<HostPageMemory>(); }

}  // namespace moescope
