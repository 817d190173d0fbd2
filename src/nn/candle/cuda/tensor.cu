// Convolutions by tensor cores, from Ampere on: every product of f32 as three of TF32 (tf32.h).
//
// A block makes OUTPUTS of PIXELS, eight warps side by side: two of them along the outputs, four along the pixels. While they
// multiply a slab of DEPTH that lies in one of STAGES parts of shared memory, the others are filled.

#include "convolution.h"
#include "tf32.h"

#define OUTPUTS 64
#define DEPTH 16
#define STAGES 3
// Products of a tensor core's instruction along the depth.
#define TERMS 8

#ifndef EMULATED
// An address in shared memory.
typedef unsigned Shared;

DEVICE Shared address_of(float *place)
{
    return (Shared)__cvta_generic_to_shared(place);
}

DEVICE Shared ahead(Shared place, int numbers)
{
    return place + 4 * numbers;
}

// Begins to copy a number, or four; a zero for each where it is not there.
DEVICE void fetch(Shared to, const float *from, int is_there)
{
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(is_there ? 4 : 0));
}

DEVICE void fetch_four(Shared to, const float *from, int is_there)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(is_there ? 16 : 0));
}

// Ends a group of copies; waits until all groups but the last `n` have come.
#define END_GROUP asm volatile("cp.async.commit_group;")
#define WAIT_FOR_GROUPS_BUT(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

#define PRODUCT "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"

// sums += a b, of 16 x 8 and 8 x 8 numbers that the threads of a warp hold between them.
DEVICE void add_product(float sums[4], const unsigned a[4], const unsigned b[2])
{
    asm(PRODUCT
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The same of numbers in two parts each, the least products first.
DEVICE void add_split_product(
    float sums[4], const unsigned high_a[4], const unsigned low_a[4], const unsigned high_b[2], const unsigned low_b[2])
{
    add_product(sums, low_a, high_b);
    add_product(sums, high_a, low_b);
    add_product(sums, high_a, high_b);
}
#endif

#define NAME(name) name##_128
#define PIXELS 128
#include "split.inc"
#undef NAME
#undef PIXELS
#define NAME(name) name##_64
#define PIXELS 64
#include "split.inc"
