// Pages of the KV cache on the card, cut from slabs so that a growing sequence does not ask the driver for each of them.
#pragma once

#include <map>
#include <mutex>
#include <vector>

#include "core/page_memory.h"
#include "cuda/runtime.h"

namespace moescope::cuda {

// Pages are touched between steps, when their sequence has no work under way. A slab goes with the object.
class DevicePageMemory final : public PageMemory {
 public:
  explicit DevicePageMemory(int device) : device_(device) {}

  std::byte* allocate(size_t bytes) override;
  void release(std::byte* page, size_t bytes) noexcept override;
  void copy(std::byte* to, const std::byte* from, size_t bytes) override;

 private:
  bool add_slab(size_t bytes, size_t pages);

  int device_;
  std::mutex mutex_;
  Stream stream_;
  std::vector<DeviceBuffer> slabs_;
  std::map<size_t, std::vector<std::byte*>> free_;  // by the size of a page
};

}  // namespace moescope::cuda
