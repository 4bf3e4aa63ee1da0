// What a kernel may use: CUDA's own words, and the few instructions that CUDA C++ has no word for. With nvcc they are
// PTX. With any other compiler emulate.h (tests/cpp) runs the same source on the CPU. No kernel holds asm or
// __CUDA_ARCH__.
//
// nvcc gets -fmad=false, as the CPU's compiler -ffp-contract=off: a product is fused with a sum only by fmaf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "cuda/memory.h"

#if defined(__CUDACC__)
#define BEBR_SHARED(name) extern __shared__ __align__(128) uint8_t name[]
#else
#include "base/half.h"
#include "emulate.h"
#define BEBR_SHARED(name) uint8_t* const name = static_cast<uint8_t*>(emulate::Block::current()->shared())
#endif

namespace bebr::cuda {

inline constexpr uint32_t kWarp = 32, kWholeWarp = ~0u;

// c += a b: 16 x 32 bytes without sign by 32 x 8 bytes with sign (PTX ISA, mma.m16n8k32). Lane 4 g + t holds
//   a: rows g, g + 8, g, g + 8 and columns 4 t .. 4 t + 3 (of the last two: + 16);
//   b: column g, rows 4 t .. 4 t + 3 (of the second: + 16);
//   c: rows g, g, g + 8, g + 8 and columns 2 t, 2 t + 1, 2 t, 2 t + 1.
__device__ __forceinline__ void mma_u8s8(int32_t (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if defined(__CUDACC__)
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  emulate::mma_u8s8(c, a, b);
#endif
}

// 16 bytes from device memory to shared memory, both aligned. This thread sees them after copy_wait, others after a
// barrier behind it. copy_wait<n>: all but the last n groups have landed.
__device__ __forceinline__ void copy_async16(void* shared, const void* global) {
#if defined(__CUDACC__)
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(global)
      : "memory");
#else
  emulate::Block::current()->copy_async16(shared, global);
#endif
}

__device__ __forceinline__ void copy_commit() {
#if defined(__CUDACC__)
  asm volatile("cp.async.commit_group;" ::: "memory");
#else
  emulate::Block::current()->copy_commit();
#endif
}

template <int kBehind>
__device__ __forceinline__ void copy_wait() {
#if defined(__CUDACC__)
  asm volatile("cp.async.wait_group %0;" ::"n"(kBehind) : "memory");
#else
  emulate::Block::current()->copy_wait(kBehind);
#endif
}

// Of any memory, aligned to its size.
template <typename T>
__device__ __forceinline__ T load(const void* at) {
#if !defined(__CUDACC__)
  if (reinterpret_cast<uintptr_t>(at) % sizeof(T) != 0) emulate::misuse("a load is not aligned");
#endif
  return *static_cast<const T*>(at);
}

__device__ __forceinline__ float half_value(uint32_t bits) {
#if defined(__CUDACC__)
  float value;  // cuda_fp16.h has a word for it, but wants the headers of another package
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(static_cast<unsigned short>(bits)));
  return value;
#else
  return half_to_float(static_cast<uint16_t>(bits));
#endif
}

__device__ __forceinline__ float float_of(uint32_t bits) {
#if defined(__CUDACC__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

__device__ __forceinline__ uint32_t bits_of(float value) {
#if defined(__CUDACC__)
  return __float_as_uint(value);
#else
  return std::bit_cast<uint32_t>(value);
#endif
}

__device__ __forceinline__ float infinity() { return float_of(0x7f800000u); }

#if defined(__CUDACC__)
inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  fail(error == cudaErrorMemoryAllocation ? ErrorCode::LimitExceeded : ErrorCode::DeviceUnavailable,
       std::string(what) + ": " + cudaGetErrorString(error));
}
#endif

// Runs a kernel behind those launched before. shared: bytes of shared memory a block.
template <typename Args>
void launch(void (*kernel)(Args), dim3 grid, uint32_t threads, size_t shared, const Args& args) {
#if defined(__CUDACC__)
  if (shared > 48 * 1024)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared)),
          "shared memory for a kernel");
  kernel<<<grid, threads, shared>>>(args);
  check(cudaGetLastError(), "a kernel's launch");
#else
  emulate::launch(kernel, grid, threads, shared, args);
#endif
}

}  // namespace bebr::cuda
