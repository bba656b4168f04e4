// arm64 with the dot product instructions of Armv8.2: four products of a column are summed by one.
#include <arm_neon.h>

namespace moescope {
namespace {

class ExactSums {
 public:
  void add(int8x16_t weights, int8x16_t x) { sums_ = vdotq_s32(sums_, weights, x); }
  int32x4_t columns() const { return sums_; }

 private:
  int32x4_t sums_ = vdupq_n_s32(0);
};

}  // namespace
}  // namespace moescope

#include "cpu/arch/byte_layout_neon.h"
#include "cpu/arch/int_dot_neon.h"
#include "cpu/arch/int_kernels_impl.h"

namespace moescope {

const IntKernels kNeonDotIntKernels = {"neondot", quantize_row, unpack, dot_neon, nullptr};

}  // namespace moescope
