// No instruction set beyond the platform's baseline.
#include "cpu/arch/byte_layout_portable.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

const IntKernels kPortableIntKernels = {"portable", quantize_row, unpack, dot, nullptr};

}  // namespace moescope
