// No instruction set beyond the platform's baseline.
#include "cpu/arch/vector_portable.h"

namespace moescope {
namespace {
constexpr int kDotRows = 1;  // rows x columns whose sums fit the registers
constexpr int kDotColumns = 1;
constexpr int kQueries = 1;  // queries x vectors of values, likewise
constexpr int kValueVectors = 1;
}  // namespace
}  // namespace moescope

#include "cpu/arch/kernels_impl.h"

namespace moescope {

const Kernels kPortableKernels = {"portable",  dot,        read_keys, read_values,
                                  attend_tile, merge_tile, silu_mul,  add_scaled};

}  // namespace moescope
