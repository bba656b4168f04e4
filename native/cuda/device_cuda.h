// device.h for nvcc: wrappers over PTX (ISA 8.x, sm_80 and later).
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace moescope::cuda {

extern __shared__ __align__(128) unsigned char moescope_shared_arena[];

// The dynamic shared memory of a block, handed out in parts that are aligned to 16 bytes; the first is aligned to 128.
class SharedArena {
 public:
  template <typename T>
  __device__ __forceinline__ T* take(size_t count) {
    T* part = reinterpret_cast<T*>(moescope_shared_arena + taken_);
    taken_ += arena_bytes<T>(count);
    return part;
  }

 private:
  size_t taken_ = 0;
};

__device__ __forceinline__ int dot4(int a, int b, int c) { return __dp4a(a, b, c); }

__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ void mma_s8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of 16-bit values; lane 8 m + i names row i of matrix m, 16 bytes.
template <typename T>
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const T* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

template <typename T>
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const T* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// 16 bytes from device to shared memory, there after the wait; zeros where not wanted, and then `global` is not read.
template <typename S, typename G>
__device__ __forceinline__ void cp_async_16(S* shared, const G* global, bool wanted) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;\n" ::"r"(address), "l"(global),
               "r"(wanted ? 16 : 0)
               : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

// Waits until at most `pending` of this thread's latest groups are under way. Other threads' copies need a barrier after it.
template <int pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(pending) : "memory");
}

// 16 aligned bytes that nobody will want again soon: they pass the first-level cache by.
template <typename T>
__device__ __forceinline__ uint4 stream_16(const T* global) {
  uint4 value;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(global));
  return value;
}

__device__ __forceinline__ uint16_t bf16_of(float value) { return __bfloat16_as_ushort(__float2bfloat16_rn(value)); }
__device__ __forceinline__ uint16_t half_of(float value) { return __half_as_ushort(__float2half_rn(value)); }
__device__ __forceinline__ float float_of_bf16(uint16_t bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}
__device__ __forceinline__ float float_of_half(uint16_t bits) { return __half2float(__ushort_as_half(bits)); }

}  // namespace moescope::cuda
