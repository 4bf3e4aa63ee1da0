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

// Products by warpgroups, 4 warps that begin at a multiple of 4, of devices of compute capability 9.0 alone. They run
// beside what follows. In this order: fence_registers; products; commit_products; wait_products. From a product's begin
// until it is waited for, nobody may touch its sums, overwrite its left operand's registers, or its right operand's
// shared memory. All threads of a warpgroup do the same.
inline constexpr uint32_t kWarpgroup = 4 * kWarp;

// A left operand, and sums, as they are now are seen by the products that follow.
__device__ __forceinline__ void fence_registers([[maybe_unused]] uint32_t (&left)[4]) {
#if defined(__CUDACC__)
  asm volatile("wgmma.fence.sync.aligned;" : "+r"(left[0]), "+r"(left[1]), "+r"(left[2]), "+r"(left[3])::"memory");
#else
  emulate::fence_registers();
#endif
}

// Shared memory that this thread's copies have written, and which have been waited for, is seen by products behind a
// barrier.
__device__ __forceinline__ void fence_copies() {
#if defined(__CUDACC__)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#else
  emulate::Block::current()->fence_copies();
#endif
}

__device__ __forceinline__ void commit_products() {
#if defined(__CUDACC__)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#else
  emulate::commit_products();
#endif
}

// All but the last n groups are done.
template <int kBehind>
__device__ __forceinline__ void wait_products() {
#if defined(__CUDACC__)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kBehind) : "memory");
#else
  emulate::wait_products(kBehind);
#endif
}

// Behind the wait for sums and before they are read: else the compiler may read them before it.
template <uint32_t kColumns>
__device__ __forceinline__ void take_sums([[maybe_unused]] int32_t (&sums)[kColumns][4]) {
#if defined(__CUDACC__)
#pragma unroll
  for (uint32_t n = 0; n < kColumns; ++n) {
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) asm volatile("" : "+r"(sums[n][i])::"memory");
  }
#endif
}

// Where 128 columns of 32 bytes lie in shared memory: 8 columns' first 16 bytes side by side, 128 bytes; the other 16
// of these columns `to_depth` bytes further; the next 8 columns `to_columns` further. All multiples of 16 (PTX ISA,
// matrix descriptor, without swizzle).
struct Matrix {
  uint32_t low, high;
};
__device__ __forceinline__ Matrix matrix_at(const void* shared, uint32_t to_depth, uint32_t to_columns) {
#if defined(__CUDACC__)
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
#else
  const uint32_t address = emulate::Block::current()->address_of(shared);
  if ((address | to_depth | to_columns) % 16 != 0) emulate::misuse("a matrix in shared memory is not aligned");
#endif
  return {address >> 4 | to_depth >> 4 << 16, to_columns >> 4};
}
// That of the same form so many bytes further.
__device__ __forceinline__ Matrix matrix_behind(const Matrix& matrix, uint32_t bytes) {
  return {matrix.low + (bytes >> 4), matrix.high};
}

// c = a b, or c += a b: 64 x 32 bytes without sign by 32 x 128 bytes with sign (PTX ISA, wgmma.m64n128k32). Each warp
// holds 16 rows of a and c as in mma_u8s8; its c, 16 times 8 columns, are c[kFirst] and those behind.
template <uint32_t kFirst, uint32_t kColumns>
__device__ __forceinline__ void begin_product_u8s8(int32_t (&c)[kColumns][4], const uint32_t (&a)[4], const Matrix& b,
                                                   bool add) {
  static_assert(kFirst + 16 <= kColumns);
#if defined(__CUDACC__)
#define BEBR_SUMS(n) "+r"(c[kFirst + n][0]), "+r"(c[kFirst + n][1]), "+r"(c[kFirst + n][2]), "+r"(c[kFirst + n][3])
  asm volatile(
      "{\n"
      ".reg .pred adds;\n"
      ".reg .b64 right;\n"
      "mov.b64 right, {%68, %69};\n"
      "setp.ne.b32 adds, %70, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 "
      "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
      "{%64, %65, %66, %67}, right, adds;\n"
      "}\n"
      : BEBR_SUMS(0), BEBR_SUMS(1), BEBR_SUMS(2), BEBR_SUMS(3), BEBR_SUMS(4), BEBR_SUMS(5), BEBR_SUMS(6), BEBR_SUMS(7),
        BEBR_SUMS(8), BEBR_SUMS(9), BEBR_SUMS(10), BEBR_SUMS(11), BEBR_SUMS(12), BEBR_SUMS(13), BEBR_SUMS(14),
        BEBR_SUMS(15)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(b.high), "r"(static_cast<int32_t>(add)));
#undef BEBR_SUMS
#else
  emulate::begin_product_u8s8(c + kFirst, a, b.low | static_cast<uint64_t>(b.high) << 32, add);
#endif
}

// All threads of the block, which may be in different places of the kernel.
__device__ __forceinline__ void sync_apart() {
#if defined(__CUDACC__)
  asm volatile("bar.sync 15;" ::: "memory");
#else
  emulate::Block::current()->barrier_apart();
#endif
}

// All threads of this thread's warpgroup.
__device__ __forceinline__ void sync_warpgroup() {
#if defined(__CUDACC__)
  asm volatile("bar.sync %0, %1;" ::"r"(1 + threadIdx.x / kWarpgroup), "n"(kWarpgroup) : "memory");
#else
  emulate::Block::current()->barrier_of_warpgroup();
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

// 1 / x, off by its last bit or two.
__device__ __forceinline__ float about_inverse(float x) {
#if defined(__CUDACC__)
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(x));
  return inverse;
#else
  return 1 / x;
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
