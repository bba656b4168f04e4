// The loops behind the ceilings. Nothing is computed with them, so they share one file: each function names its instruction set in an
// attribute, not the file in its name, and is called where the machine has it.
#include <array>

#include "cpu/ceilings.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#ifdef __aarch64__
#include <arm_neon.h>
#endif

namespace moescope {

namespace {

// Sums that are under way at once: enough to hide the latency of any unit here, few enough to stay in registers.
constexpr int kSums = 12;

#ifdef __x86_64__

#define MOESCOPE_TARGET(set) __attribute__((target(set)))

MOESCOPE_TARGET("avx2,fma") uint64_t f32_avx2(int64_t rounds) {
  __m256 sums[kSums];
  for (auto& sum : sums) sum = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(1e-9f), b = _mm256_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(a, b, sums[i]);
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  return static_cast<uint64_t>(_mm256_cvtss_f32(sums[0]));
}

MOESCOPE_TARGET("avx512f") uint64_t f32_avx512(int64_t rounds) {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(1e-9f), b = _mm512_set1_ps(0.5f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(a, b, sums[i]);
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return static_cast<uint64_t>(_mm512_cvtss_f32(sums[0]));
}

MOESCOPE_TARGET("avx512f,avx512bw,avx512vl,avx512bf16") uint64_t bf16_avx512(int64_t rounds) {
  __m512 sums[kSums];
  for (auto& sum : sums) sum = _mm512_set1_ps(1.0f);
  const __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f003f00), b = (__m512bh)_mm512_set1_epi32(0x30803080);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  return static_cast<uint64_t>(_mm512_cvtss_f32(sums[0]));
}

// The products of AVX2 without VNNI: bytes to words to double words, added.
MOESCOPE_TARGET("avx2") uint64_t int8_avx2(int64_t rounds) {
  __m256i sums[kSums];
  for (auto& sum : sums) sum = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi8(3);
  const __m256i b = _mm256_set1_epi8(1), ones = _mm256_set1_epi16(1);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+x"(a));  // else the products, which are the same each time, are taken out of the loop
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      __m256i words = _mm256_maddubs_epi16(a, b);
      __asm__ volatile("" : "+x"(words));
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(words, ones));
    }
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
  return static_cast<uint32_t>(_mm256_extract_epi32(sums[0], 0));
}

MOESCOPE_TARGET("avx512f,avx512vnni") uint64_t int8_avx512vnni(int64_t rounds) {
  __m512i sums[kSums];
  for (auto& sum : sums) sum = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  for (int i = 1; i < kSums; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  return static_cast<uint32_t>(_mm512_cvtsi512_si32(sums[0]));
}

constexpr int kTileRows = 16, kTileRowBytes = 64;

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

// Four sums of two left and two right tiles: tiles 0-3, 4-5, 6-7.
MOESCOPE_TARGET("amx-tile") void load_tiles() {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = kTileRowBytes;
    config.rows[tile] = kTileRows;
  }
  // gcc 12 takes the instruction to read 8 bytes of the struct, and drops the stores to the others.
  __asm__ volatile("" : : "m"(config) : "memory");
  _tile_loadconfig(&config);
  alignas(64) static constexpr std::array<std::byte, kTileRows* kTileRowBytes> zeros = {};
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, zeros.data(), kTileRowBytes);
  _tile_loadd(5, zeros.data(), kTileRowBytes);
  _tile_loadd(6, zeros.data(), kTileRowBytes);
  _tile_loadd(7, zeros.data(), kTileRowBytes);
}

MOESCOPE_TARGET("amx-tile") uint64_t unload_tiles() {
  alignas(64) std::array<uint32_t, kTileRows* kTileRowBytes / 4> sums = {};
  _tile_stored(0, sums.data(), kTileRowBytes);
  __asm__ volatile("" : : "m"(sums) : "memory");
  _tile_release();
  return sums[0];
}

MOESCOPE_TARGET("amx-tile,amx-int8") uint64_t int8_amx(int64_t rounds) {
  load_tiles();
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  return unload_tiles();
}

MOESCOPE_TARGET("amx-tile,amx-bf16") uint64_t bf16_amx(int64_t rounds) {
  load_tiles();
  for (int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  return unload_tiles();
}

// Bits of cpuid leaf 7, edx.
constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAmxInt8 = 1u << 25;

// AMX units that are there and that the kernel lets this process use.
unsigned usable_amx() {
#ifdef __linux__
  unsigned eax, ebx, ecx, edx;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & kAmxTile) == 0) return 0;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0 ? edx : 0;
#else
  return 0;
#endif
}

MOESCOPE_TARGET("avx2") uint64_t read_avx2(const std::byte* block, size_t bytes) {
  __m256i sums[4] = {};
  for (size_t at = 0; at < bytes; at += 128) {
    for (int i = 0; i < 4; ++i) {
      const auto* place = reinterpret_cast<const __m256i*>(block + at + 32 * i);
      sums[i] = _mm256_add_epi64(sums[i], _mm256_loadu_si256(place));
    }
  }
  const __m256i sum = _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(words), sum);
  return words[0] + words[1] + words[2] + words[3];
}

#endif  // __x86_64__

#ifdef __aarch64__

uint64_t f32_neon(int64_t rounds) {
  float32x4_t sums[kSums];
  for (auto& sum : sums) sum = vdupq_n_f32(1.0f);
  const float32x4_t a = vdupq_n_f32(1e-9f), b = vdupq_n_f32(0.5f);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = vfmaq_f32(sums[i], a, b);
  }
  for (int i = 1; i < kSums; ++i) sums[0] = vaddq_f32(sums[0], sums[i]);
  return static_cast<uint64_t>(vgetq_lane_f32(sums[0], 0));
}

// The products of NEON without its dot product: bytes to words, pairs added to double words.
uint64_t int8_neon(int64_t rounds) {
  int32x4_t sums[kSums];
  for (auto& sum : sums) sum = vdupq_n_s32(0);
  int8x8_t a = vdup_n_s8(3);
  const int8x8_t b = vdup_n_s8(1);
  for (int64_t round = 0; round < rounds; ++round) {
    __asm__ volatile("" : "+w"(a));
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) {
      int16x8_t words = vmull_s8(a, b);
      __asm__ volatile("" : "+w"(words));
      sums[i] = vpadalq_s16(sums[i], words);
    }
  }
  for (int i = 1; i < kSums; ++i) sums[0] = vaddq_s32(sums[0], sums[i]);
  return static_cast<uint32_t>(vgetq_lane_s32(sums[0], 0));
}

#endif  // __aarch64__

uint64_t f32_portable(int64_t rounds) {
  float sums[kSums];
  for (float& sum : sums) sum = 1.0f;
  volatile float factor = 1e-9f;
  const float a = factor;
  for (int64_t round = 0; round < rounds; ++round) {
    for (float& sum : sums) sum += a * 0.5f;
  }
  float total = 0;
  for (float sum : sums) total += sum;
  return static_cast<uint64_t>(total);
}

}  // namespace

std::vector<PeakLoop> peak_loops() {
  std::vector<PeakLoop> loops;
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    loops.push_back({"f32", "avx2", kSums * 8, f32_avx2});
    loops.push_back({"int8", "avx2", kSums * 32, int8_avx2});
  }
  if (__builtin_cpu_supports("avx512f")) loops.push_back({"f32", "avx512", kSums * 16, f32_avx512});
  if (__builtin_cpu_supports("avx512bf16")) loops.push_back({"bf16", "avx512bf16", kSums * 32, bf16_avx512});
  if (__builtin_cpu_supports("avx512vnni")) loops.push_back({"int8", "avx512vnni", kSums * 64, int8_avx512vnni});
  const unsigned amx = usable_amx();
  if ((amx & kAmxBf16) != 0) loops.push_back({"bf16", "amx", 4 * 16 * 16 * 32, bf16_amx});
  if ((amx & kAmxInt8) != 0) loops.push_back({"int8", "amx", 4 * 16 * 16 * 64, int8_amx});
#endif
#ifdef __aarch64__
  loops.push_back({"f32", "neon", kSums * 4, f32_neon});
  loops.push_back({"int8", "neon", kSums * 8, int8_neon});
#endif
  if (loops.empty()) loops.push_back({"f32", "portable", kSums, f32_portable});
  return loops;
}

uint64_t read_memory(const std::byte* block, size_t bytes) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return read_avx2(block, bytes);
#endif
  uint64_t sums[8] = {};
  const auto* words = reinterpret_cast<const uint64_t*>(block);
  for (size_t at = 0; at < bytes / 8; at += 8) {
    for (int i = 0; i < 8; ++i) sums[i] += words[at + i];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace moescope
