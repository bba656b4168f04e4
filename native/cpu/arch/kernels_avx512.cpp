// Compiled with AVX-512 F, BW, DQ, VL and FMA.
#include "cpu/arch/vector_avx512.h"

namespace moescope {
namespace {
constexpr int kDotRows = 4;  // rows x columns whose sums fit the registers
constexpr int kDotColumns = 4;
constexpr int kQueries = 4;  // queries x vectors of values, likewise
constexpr int kValueVectors = 4;
}  // namespace
}  // namespace moescope

#include "cpu/arch/kernels_impl.h"

namespace moescope {

const Kernels kAvx512Kernels = {"avx512", dot, read_keys, read_values, attend_tile, merge_tile, silu_mul, add_scaled};

}  // namespace moescope
