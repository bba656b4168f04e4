#include "addon/device_library.h"

#include <dlfcn.h>

#include "core/error.h"

namespace moescope {

const DeviceLibrary& open_device_library(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) fail(ErrorCode::Unsupported, "The device library ", path, " does not load: ", dlerror(), ".");
  using Entry = const DeviceLibrary* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kDeviceLibrarySymbol));
  const DeviceLibrary* table = entry == nullptr ? nullptr : entry();
  if (table == nullptr || table->version != kDeviceLibraryVersion) {
    fail(ErrorCode::Unsupported, "Expected a device library of version ", kDeviceLibraryVersion, " at ", path, ", got ",
         table == nullptr ? "another file" : "version " + std::to_string(table->version),
         ": build it again beside the core.");
  }
  return *table;
}

}  // namespace moescope
