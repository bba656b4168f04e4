// arm64 only.
#include "cpu/arch/vector_neon.h"

namespace moescope {
namespace {
constexpr int kDotRows = 2;  // rows x columns whose sums fit the registers
constexpr int kDotColumns = 4;
constexpr int kQueries = 2;  // queries x vectors of values, likewise
constexpr int kValueVectors = 4;
}  // namespace
}  // namespace moescope

#include "cpu/arch/kernels_impl.h"

namespace moescope {

const Kernels kNeonKernels = {"neon", dot, read_keys, read_values, attend_tile, merge_tile, silu_mul, add_scaled};

}  // namespace moescope
