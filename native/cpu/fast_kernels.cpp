#include "cpu/fast_kernels.h"

#include <cstdlib>
#include <string>
#include <vector>

#ifdef __x86_64__
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "core/error.h"

namespace moescope {

namespace {

#ifdef __x86_64__

bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
         __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1) != 0;
}

// The system hands out the tiles' registers to processes that ask.
bool may_use_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  const bool has_tiles = __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0 && (d >> 24 & 1) != 0;
  if (!has_tiles || !has_avx512_bf16()) return false;
#ifdef __linux__
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

#endif

std::vector<FastKernels> runnable() {
  std::vector<FastKernels> ways;
#ifdef __x86_64__
  const bool has_vnni = &best_int_kernels() == &kAvx512VnniIntKernels;
  if (may_use_amx()) {
    // One row of activations is twice as fast with integers, many rows with tiles: decoding comes first.
    if (has_vnni) ways.push_back({"amx-vnni", &kAvx512VnniIntKernels, &kAmxKernels});
    ways.push_back({"amx", nullptr, &kAmxKernels});
  }
  if (has_avx512_bf16() && has_vnni) {
    ways.push_back({"avx512bf16", &kAvx512VnniIntKernels, &kAvx512Bf16Kernels});
  }
#endif
  for (int index = 0; index < num_int_kernel_variants(); ++index) {
    const IntKernels& kernels = int_kernel_variant(index);
    ways.push_back({kernels.name, &kernels, nullptr});
  }
  return ways;
}

const std::vector<FastKernels>& ways() {
  static const std::vector<FastKernels> list = runnable();
  return list;
}

}  // namespace

const FastKernels& chosen_fast_kernels() {
  const char* wanted = std::getenv("MOESCOPE_FAST");
  if (wanted == nullptr) return ways().front();
  std::string names;
  for (const FastKernels& way : ways()) {
    if (std::string_view(way.name) == wanted) return way;
    names += names.empty() ? "" : ", ";
    names += way.name;
  }
  fail(ErrorCode::InvalidArgument, "Expected one of ", names, " in MOESCOPE_FAST, got ", wanted, ".");
}

int num_fast_kernels() { return static_cast<int>(ways().size()); }
const FastKernels& fast_kernels(int index) { return ways()[index]; }

}  // namespace moescope
