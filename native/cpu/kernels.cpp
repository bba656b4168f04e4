#include "cpu/arch/kernels.h"

#include <vector>

namespace moescope {

namespace {

std::vector<const Kernels*> runnable() {
  std::vector<const Kernels*> variants;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    variants.push_back(&kAvx512Kernels);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) variants.push_back(&kAvx2Kernels);
#endif
#ifdef __aarch64__
  variants.push_back(&kNeonKernels);
#endif
  variants.push_back(&kPortableKernels);
  return variants;
}

const std::vector<const Kernels*>& variants() {
  static const std::vector<const Kernels*> list = runnable();
  return list;
}

}  // namespace

const Kernels& best_kernels() { return *variants().front(); }
int num_kernel_variants() { return static_cast<int>(variants().size()); }
const Kernels& kernel_variant(int index) { return *variants()[index]; }

}  // namespace moescope
