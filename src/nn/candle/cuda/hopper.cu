// Convolutions by the tensor cores of Hopper, which four warps use as one (wgmma) and which read both operands from shared memory:
// every product of f32 as three of TF32 (tf32.h).
//
// A block makes OUTPUTS of PIXELS by two groups of four warps, each of 64 outputs. While the tensor cores multiply a slab of DEPTH that
// lies in one of STAGES parts of shared memory, the next one's weights are copied into another, threads split its values, and wait for
// those of the one after that to come into their registers. Weights are split beforehand, and lie as tensor cores read them:
// [outputs / GROUP, depth / DEPTH, high and low, FOURS, GROUP, FOUR], with zeros after the last.

#include "convolution.h"
#include "copies.h"
#include "tf32.h"

#define DEPTH 16
#define STAGES 3
// Numbers that lie together, and how many such a slab has for one output or pixel.
#define FOUR 4
#define FOURS (DEPTH / FOUR)
// Products of a tensor core's instruction along the depth, in fours.
#define TERMS 2
// Outputs of four warps.
#define GROUP 64
// Of a kernel: the host asks for no more.
#define MOST_TAPS 64

#ifndef EMULATED
// As much as the host says.
extern SHARED float slabs[];

// One operand of an instruction as it is told of it: where it begins, and how far apart in bytes its fours along the depth, and its
// eight rows across it, lie; in sixteens.
typedef unsigned long long Operand;

DEVICE Operand operand_at(const float *place, int rows)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(place);
    return (Operand)8 << 32 | (Operand)rows << 16 | (address & 0x3FFFF) >> 4;
}

// The same so many numbers further on.
DEVICE Operand further(Operand operand, int numbers)
{
    return operand + numbers / 4;
}

// What threads have written into shared memory is there for tensor cores, once all have passed a barrier.
#define SHOW_TENSOR_CORES asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
// Products of what was in registers and in shared memory may begin; end of a group of them; waits until all but the last `n` are done.
#define BEGIN_PRODUCTS asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define END_PRODUCTS asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WAIT_FOR_PRODUCTS_BUT(n) asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory")

#define SUMS(j) "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])

// sums += a b of 64 outputs and 64 or 128 pixels, eight of the depth.
DEVICE void add_product(float (*sums)[4], Operand a, Operand b, int pixels)
{
    if (pixels == 64) {
        asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 "
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
                     "%32, %33, add, 1, 1;}"
                     : SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7)
                     : "l"(a), "l"(b));
        return;
    }
    asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "%64, %65, add, 1, 1;}"
                 : SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7),
                   SUMS(8), SUMS(9), SUMS(10), SUMS(11), SUMS(12), SUMS(13), SUMS(14), SUMS(15)
                 : "l"(a), "l"(b));
}

// Keeps a pointer from being taken apart, so that steps are added to it as a whole.
#define AS_IT_IS(pointer) asm("" : "+l"(pointer))

DEVICE void write_two(float *to, const float *numbers)
{
    *(float2 *)to = make_float2(numbers[0], numbers[1]);
}

DEVICE void write_four(float *to, const unsigned *bits)
{
    *(uint4 *)to = make_uint4(bits[0], bits[1], bits[2], bits[3]);
}
#endif

// Writes the high parts of four numbers, and `apart` from there the low ones.
DEVICE void write_parts(float *to, int apart, const float *numbers)
{
    unsigned high[FOUR], low[FOUR];
    UNROLL for (int i = 0; i < FOUR; i++) split(numbers[i], &high[i], &low[i]);
    write_four(to, high);
    write_four(to + apart, low);
}

typedef struct {
    const float *weights;     // [depth, outputs]
    float *out;               // as said above
    int depth, outputs;
} LaidOut;

// A block lays out a group's weights of a slab, a thread four of them.
KERNEL hopper_lay_out(LaidOut p)
{
    const int k = blockIdx.x * DEPTH + threadIdx.x / GROUP * FOUR, output = blockIdx.y * GROUP + threadIdx.x % GROUP;
    const size_t slab = (size_t)blockIdx.y * ((p.depth + DEPTH - 1) / DEPTH) + blockIdx.x;
    float numbers[FOUR];
    UNROLL for (int i = 0; i < FOUR; i++) {
        const int is_there = k + i < p.depth && output < p.outputs;
        numbers[i] = is_there ? READ(p.weights + (size_t)(k + i) * p.outputs + output) : 0.0f;
    }
    write_parts(p.out + slab * 2 * DEPTH * GROUP + threadIdx.x * FOUR, DEPTH * GROUP, numbers);
}

#define NAME(name) hopper_##name##_128
#define OUTPUTS 128
#define PIXELS 128
#define BLOCKS_OF KERNEL_OF(2)
#include "hopper.inc"
#undef NAME
#undef OUTPUTS
#undef PIXELS
#undef BLOCKS_OF
#define NAME(name) hopper_##name##_64
#define OUTPUTS 64
#define PIXELS 128
#define BLOCKS_OF KERNEL_OF(3)
#include "hopper.inc"
