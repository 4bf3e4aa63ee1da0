// CUDA kernels on the CPU, to the bit and in every order: one fiber a thread, one block at a time, on one OS thread.
// cuda/device.h includes it where the compiler is not nvcc. It says nothing of speed on a device. It is strict:
//   * a barrier or an operation of a warp that not all threads reach, or reach differently, ends the program;
//   * so do loads and asynchronous copies that are not aligned, copies that nobody waits for, and writes behind shared
//     memory;
//   * threads run forwards, backwards, or shuffled at every turn by a seed, and blocks likewise; a warp goes on as long
//   as
//     it can before others do;
//   * asynchronous copies land at once or only when they are waited for, and shared memory starts as rubbish;
//   * products by warpgroups are done at once or only when they are waited for (emulate/products.h);
//   * under ThreadSanitizer every CUDA thread is a thread of its own, ordered by barriers and operations of its warp
//     alone: a missing __syncthreads is a data race. Under AddressSanitizer shared memory ends where it ends.
#pragma once

#include "emulate/block.h"
#include "emulate/words.h"
