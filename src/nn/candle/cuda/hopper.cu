// Convolutions by the tensor cores of Hopper, which four warps use as one (wgmma): every product of f32 as three of TF32 (tf32.h).
//
// A block makes OUTPUTS of PIXELS by two groups of four warps, each of 64 outputs. The tensor cores read weights from registers and
// values from shared memory, whose bandwidth is what there is least of. While they multiply a slab of DEPTH that lies in one of two
// stages there, threads split the next one's values into the other, and those of the one after that are on their way into registers.
// Weights lie as a group's threads take them: [outputs / GROUP, depth / DEPTH, warps, STEPS, lanes, FOUR], with zeros after the last.

#include "convolution.h"
#include "tf32.h"

#define DEPTH 16
// Numbers that lie together, and how many such a slab has for one pixel.
#define FOUR 4
#define FOURS (DEPTH / FOUR)
#if SLAB % DEPTH
#error "parts of the depth must begin with a slab"
#endif
// Instructions of a tensor core along a slab, and what each takes of the depth, in fours.
#define STEPS 2
#define TERMS 2
// Outputs of four warps.
#define GROUP 64
// Of a kernel: the host asks for no more.
#define MOST_TAPS 64

#ifndef EMULATED
// As much as the host says.
extern SHARED float slabs[];

// Values as an instruction is told of them: where they begin, and how far apart in bytes its fours along the depth, and its eight pixels
// across it, lie; in sixteens.
typedef unsigned long long Operand;

DEVICE Operand operand_at(const float *place, int pixels)
{
    const unsigned address = (unsigned)__cvta_generic_to_shared(place);
    return (Operand)8 << 32 | (Operand)pixels << 16 | (address & 0x3FFFF) >> 4;
}

// The same so many numbers further on.
DEVICE Operand further(Operand operand, int numbers)
{
    return operand + numbers / 4;
}

// What threads have written into shared memory is there for tensor cores, once all have passed a barrier.
#define SHOW_TENSOR_CORES asm volatile("fence.proxy.async.shared::cta;" ::: "memory")
// Products of what is in registers and in shared memory by now may begin; all that have begun make a group; waits until it is done.
#define BEGIN_PRODUCTS asm volatile("wgmma.fence.sync.aligned;" ::: "memory")
#define END_PRODUCTS asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory")
#define WAIT_FOR_PRODUCTS asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory")

#define SUMS(j) "+f"(sums[j][0]), "+f"(sums[j][1]), "+f"(sums[j][2]), "+f"(sums[j][3])

#define WEIGHTS_IN(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])

// sums += a b of 64 outputs and 64 or 128 pixels, eight of the depth.
DEVICE void add_product(float (*sums)[4], const unsigned a[4], Operand b, int pixels)
{
    if (pixels == 64) {
        asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n64k8.f32.tf32.tf32 "
                     "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
                     "{%32, %33, %34, %35}, %36, add, 1, 1;}"
                     : SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7)
                     : WEIGHTS_IN(a), "l"(b));
        return;
    }
    asm volatile("{.reg .pred add; setp.ne.b32 add, 1, 0; wgmma.mma_async.sync.aligned.m64n128k8.f32.tf32.tf32 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
                 "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
                 "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
                 "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "{%64, %65, %66, %67}, %68, add, 1, 1;}"
                 : SUMS(0), SUMS(1), SUMS(2), SUMS(3), SUMS(4), SUMS(5), SUMS(6), SUMS(7),
                   SUMS(8), SUMS(9), SUMS(10), SUMS(11), SUMS(12), SUMS(13), SUMS(14), SUMS(15)
                 : WEIGHTS_IN(a), "l"(b));
}

// The same of numbers in two parts each, the least products first.
DEVICE void add_split_product_of_group(
    float (*sums)[4], const unsigned high_a[4], const unsigned low_a[4], Operand high_b, Operand low_b, int pixels)
{
    add_product(sums, low_a, high_b, pixels);
    add_product(sums, high_a, low_b, pixels);
    add_product(sums, high_a, high_b, pixels);
}

// Four numbers at once.
DEVICE void read_four(float *to, const float *from)
{
    const float4 four = __ldg((const float4 *)from);
    to[0] = four.x;
    to[1] = four.y;
    to[2] = four.z;
    to[3] = four.w;
}

// Hides from the compiler how a pointer was made: it would add the parts anew for each number that is read from there.
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

// A block lays out a group's weights of a slab, a thread four of them: of two outputs and two of the depth, as tensor cores have them.
KERNEL hopper_lay_out(LaidOut p)
{
    const int lane = threadIdx.x % 32, step = threadIdx.x / 32 % STEPS, warp = threadIdx.x / 32 / STEPS;
    const int k = blockIdx.x * DEPTH + step * TERMS * FOUR + lane % 4, output = blockIdx.y * GROUP + warp * 16 + lane / 4;
    const size_t slab = (size_t)blockIdx.y * ((p.depth + DEPTH - 1) / DEPTH) + blockIdx.x;
    float *to = p.out + slab * DEPTH * GROUP + threadIdx.x * FOUR;
    UNROLL for (int i = 0; i < FOUR; i++) {
        const int at = k + i / 2 * 4, of = output + i % 2 * 8;
        to[i] = at < p.depth && of < p.outputs ? READ(p.weights + (size_t)at * p.outputs + of) : 0.0f;
    }
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
