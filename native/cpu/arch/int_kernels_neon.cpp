// arm64 without dot product instructions: products of bytes are summed in pairs of 16 bits, then to 32.
#include <arm_neon.h>

namespace moescope {
namespace {

class ExactSums {
 public:
  void add(int8x16_t weights, int8x16_t x) {
    low_ = vpadalq_s16(low_, vmull_s8(vget_low_s8(weights), vget_low_s8(x)));
    high_ = vpadalq_s16(high_, vmull_high_s8(weights, x));
  }
  int32x4_t columns() const { return vpaddq_s32(low_, high_); }

 private:
  int32x4_t low_ = vdupq_n_s32(0), high_ = vdupq_n_s32(0);  // two lanes of each column
};

}  // namespace
}  // namespace moescope

#include "cpu/arch/byte_layout_neon.h"
#include "cpu/arch/int_dot_neon.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

const IntKernels kNeonIntKernels = {"neon", quantize_row, unpack, dot_neon, nullptr};

}  // namespace moescope
