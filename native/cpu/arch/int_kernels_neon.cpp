// arm64 only.
#include "cpu/arch/byte_layout_portable.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

const IntKernels kNeonIntKernels = {"neon", quantize_row, unpack, dot};

}  // namespace moescope
