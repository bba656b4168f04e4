// Opens the shared libraries of devices.
#pragma once

#include <string>

#include "core/device_library.h"

namespace moescope {

// Opened once in a process and never closed. Unsupported where the file is no device library of this build.
const DeviceLibrary& open_device_library(const std::string& path);

}  // namespace moescope
