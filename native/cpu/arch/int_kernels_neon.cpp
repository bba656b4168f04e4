// arm64 only.
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

const IntKernels kNeonIntKernels = {"neon", quantize_row, unpack, dot};

}  // namespace moescope
