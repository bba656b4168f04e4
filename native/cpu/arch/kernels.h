// The inner loops, once per instruction set and chosen at run time. All variants compute the same bits: a vector is 16 fp32 lanes
// everywhere (one AVX-512 register, two AVX2, four NEON, an array), every multiply-add is fused, and lanes are summed by one tree.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/cache_page.h"

namespace moescope {

struct Kernels {
  const char* name;

  // y[m][n] = x[m] . w[n]. Lane j of the sum takes elements j, j + 16, ... in ascending order; the 16 lanes are then added as
  // ((0+8)+(4+12)) ... , see F32x16::sum. The same primitive serves one row and many.
  void (*dot)(const float* x,  // (num_x, length), rows x_stride apart
              int64_t x_stride, int num_x,
              const float* w,  // (num_w, length), rows w_stride apart
              int64_t w_stride, int num_w, int64_t length,
              float* y,  // (num_x, num_w), rows y_stride apart
              int64_t y_stride);

  // The keys (head_dim, 64), or the values (64, head_dim), of one head of a page of the key/value cache as fp32: in place for an fp32
  // cache, else converted into `room`.
  const float* (*read_keys)(CacheType type, const std::byte* head, int head_dim, float* room);
  const float* (*read_values)(CacheType type, const std::byte* head, int head_dim, float* room);

  // One tile of keys for each of several queries: scores, their maximum, the sum of exp(score - maximum), and the weighted values.
  void (*attend_tile)(int num_queries,
                      const float* const* q,  // each (head_dim), scaled by 1/sqrt(head_dim)
                      const float* kt,        // (head_dim, 64), keys transposed
                      const float* v,         // (64, head_dim)
                      int head_dim,
                      const int* num_keys,  // valid keys of each query, 1 to 64
                      float* max_score,     // (num_queries)
                      float* sum,           // (num_queries)
                      float* const* out);   // each (head_dim)

  // Merges a tile into the running result (Milakov and Gimelshein 2018): out, max_score and sum are rescaled and added to.
  void (*merge_tile)(float tile_max, float tile_sum, const float* tile_out, int head_dim, float* max_score, float* sum,
                     float* out);

  // out = silu(gate) * up, silu(z) = z / (1 + exp(-z)).
  void (*silu_mul)(const float* gate, const float* up, int64_t length, float* out);

  // out += weight * x, one fused multiply-add per element.
  void (*add_scaled)(float weight, const float* x, int64_t length, float* out);
};

// The best variant that this machine runs.
const Kernels& best_kernels();

// Every variant that this machine runs, best first: the tests compare their bits.
int num_kernel_variants();
const Kernels& kernel_variant(int index);

extern const Kernels kPortableKernels;
#ifdef __x86_64__
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif
#ifdef __aarch64__
extern const Kernels kNeonKernels;
#endif

}  // namespace moescope
