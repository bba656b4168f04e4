#include "cpu/arch/int_kernels.h"

#include <vector>

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace moescope {

namespace {

#ifdef __aarch64__
bool has_dot_products() {
#ifdef __linux__
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return true;  // every arm64 Mac
#endif
}
#endif

std::vector<const IntKernels*> runnable() {
  std::vector<const IntKernels*> variants;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")) {
    variants.push_back(&kAvx512VnniIntKernels);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) variants.push_back(&kAvx2IntKernels);
#endif
#ifdef __aarch64__
  if (has_dot_products()) variants.push_back(&kNeonDotIntKernels);
  variants.push_back(&kNeonIntKernels);
#endif
  variants.push_back(&kPortableIntKernels);
  return variants;
}

const std::vector<const IntKernels*>& variants() {
  static const std::vector<const IntKernels*> list = runnable();
  return list;
}

}  // namespace

namespace {

struct IntForm {
  int run;  // 0: the type has no such form
  int zero;
  bool has_minimum;
};

IntForm int_form(DType dtype) {
  switch (dtype) {
    case DType::Q4_0: return {32, 8, false};
    case DType::Q5_0: return {32, 16, false};
    case DType::Q4_1:
    case DType::Q5_1:
    case DType::Q4_K:
    case DType::Q5_K: return {32, 0, true};
    case DType::Q8_0:
    case DType::IQ4_NL:
    case DType::IQ4_XS: return {32, 128, false};
    case DType::Q2_K: return {16, 0, true};
    case DType::Q3_K: return {16, 4, false};
    case DType::Q6_K: return {16, 32, false};
    default: return {0, 0, false};
  }
}

}  // namespace

bool has_int_form(DType dtype) { return int_form(dtype).run != 0; }

void IntTile::prepare(DType dtype, int64_t row_length) {
  const IntForm form = int_form(dtype);
  length = row_length;
  run = form.run;
  zero = form.zero;
  has_minimum = form.has_minimum;
  const auto grow = [](auto& values, int64_t size) {
    if (values.size() < static_cast<size_t>(size)) values.resize(size);
  };
  grow(q, row_length * kTileColumns);
  grow(scale, row_length / run * kTileColumns);
  if (has_minimum) grow(minimum, row_length / run * kTileColumns);
}

IntTileView::IntTileView(IntTile& tile)
    : length(tile.length),
      run(tile.run),
      zero(tile.zero),
      q(tile.q.data()),
      scale(tile.scale.data()),
      minimum(tile.has_minimum ? tile.minimum.data() : nullptr) {}

const IntKernels& best_int_kernels() { return *variants().front(); }
int num_int_kernel_variants() { return static_cast<int>(variants().size()); }
const IntKernels& int_kernel_variant(int index) { return *variants()[index]; }

}  // namespace moescope
