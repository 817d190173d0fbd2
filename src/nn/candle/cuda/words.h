#pragma once

// The words of CUDA that kernels use; emulate.c has its own.

#ifndef EMULATED
// With so few registers that so many blocks find them on a multiprocessor.
#define KERNEL_OF(blocks) extern "C" __global__ void __launch_bounds__(256, blocks)
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__ __align__(16)
#define WAIT_FOR_ALL __syncthreads()
#define UNROLL _Pragma("unroll")
#define UNROLL_BY_2 _Pragma("unroll 2")
#define UNROLL_BY_8 _Pragma("unroll 8")
// Of what nobody writes meanwhile: so it need not wait for anything written before.
#define READ(place) __ldg(place)
#endif

#define KERNEL KERNEL_OF(2)

#define THREADS 256
