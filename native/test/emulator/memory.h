// Device memory of the emulator: host memory that is filled with 0xFF when it is handed out, NaN to any float.
#pragma once

#include <cstddef>

namespace moescope::emulator {

void* allocate(size_t bytes);
void release(void* memory);
size_t bytes_allocated();

}  // namespace moescope::emulator
