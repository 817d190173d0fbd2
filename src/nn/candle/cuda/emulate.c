// Runs the kernels of kernels.cu, tensor.cu and hopper.cu on a processor, for tests: the threads of a block take turns, each up to
// the next barrier, and blocks follow one another.

#define _XOPEN_SOURCE 700

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define EMULATED
#define KERNEL_OF(blocks) static void
#define DEVICE static inline
#define SHARED static
#define WAIT_FOR_ALL swapcontext(&threads[threadIdx.x], &scheduler)
#define UNROLL
#define UNROLL_BY_2
#define UNROLL_BY_8
#define READ(place) (*(place))

typedef struct {
    int x, y;
} Index;

static Index threadIdx, blockIdx;
static ucontext_t threads[256], scheduler;
static char stacks[256][1 << 16];

#include "kernels.cu"
#undef DEPTH

// Copies come at once.
#define END_GROUP
#define WAIT_FOR_GROUPS_BUT(n)

typedef float *Shared;

DEVICE Shared address_of(float *place)
{
    return place;
}

DEVICE Shared ahead(Shared place, int numbers)
{
    return place + numbers;
}

DEVICE void fetch(Shared to, const float *from, int is_there)
{
    *to = is_there ? *from : 0.0f;
}

DEVICE void fetch_four(Shared to, const float *from, int is_there)
{
    for (int i = 0; i < 4; i++) fetch(to + i, from + i, is_there);
}

DEVICE unsigned bits_of(float number)
{
    unsigned bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

DEVICE float of_bits(unsigned bits)
{
    float number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

// What a thread hands to the instruction: high and low parts of 4 and of 2 numbers. Of two products in a row, since who is ahead
// writes the next while others read.
static unsigned handed[2][THREADS][12];
static int products[THREADS];

// A number as a tensor core takes it.
DEVICE float tf32(unsigned bits)
{
    return of_bits(bits & 0xFFFFE000u);
}

// Row `row` and column `k` of the left operand, row `k` and column `column` of the right one, are where mma.m16n8k8 has them.
DEVICE float product_of(unsigned (*warp)[12], int row, int column, int left, int right)
{
    float sum = 0.0f;
    for (int k = 0; k < 8; k++) {
        const float a = tf32(warp[row % 8 * 4 + k % 4][left + row / 8 + k / 4 * 2]);
        sum += a * tf32(warp[column * 4 + k % 4][right + k / 4]);
    }
    return sum;
}

DEVICE void add_split_product(
    float sums[4], const unsigned high_a[4], const unsigned low_a[4], const unsigned high_b[2], const unsigned low_b[2])
{
    const int thread = threadIdx.x, lane = thread % 32;
    unsigned(*all)[12] = handed[products[thread]++ % 2];
    memcpy(all[thread], high_a, 16);
    memcpy(all[thread] + 4, low_a, 16);
    memcpy(all[thread] + 8, high_b, 8);
    memcpy(all[thread] + 10, low_b, 8);
    WAIT_FOR_ALL;
    unsigned(*warp)[12] = all + thread / 32 * 32;
    for (int at = 0; at < 4; at++) {
        const int row = lane / 4 + at / 2 * 8, column = lane % 4 * 2 + at % 2;
        sums[at] += product_of(warp, row, column, 4, 8);
        sums[at] += product_of(warp, row, column, 0, 10);
        sums[at] += product_of(warp, row, column, 0, 8);
    }
}

#include "tensor.cu"
#undef OUTPUTS
#undef PIXELS
#undef NAME
#undef DEPTH
#undef STAGES
#undef TERMS

// Hopper's: shared memory, as much as a block may ask for.
static float slabs[227 * 256];

typedef struct {
    const float *first;
    int pixels;
} Operand;

#define AS_IT_IS(pointer)
#define SHOW_TENSOR_CORES
#define BEGIN_PRODUCTS
#define END_PRODUCTS
#define WAIT_FOR_PRODUCTS

DEVICE Operand operand_at(const float *place, int pixels)
{
    const Operand operand = {place, pixels};
    return operand;
}

DEVICE Operand further(Operand operand, int numbers)
{
    operand.first += numbers;
    return operand;
}

DEVICE float value_of(Operand operand, int pixel, int k)
{
    return tf32(bits_of(operand.first[(k / 4 * operand.pixels + pixel) * 4 + k % 4]));
}

// Sums and weights are where wgmma.m64nNk8 has them.
DEVICE void add_split_product_of_group(
    float (*sums)[4], const unsigned high_a[4], const unsigned low_a[4], Operand high_b, Operand low_b, int pixels)
{
    const int thread = threadIdx.x, lane = thread % 32;
    unsigned(*all)[12] = handed[products[thread]++ % 2];
    memcpy(all[thread], high_a, 16);
    memcpy(all[thread] + 4, low_a, 16);
    WAIT_FOR_ALL;
    unsigned(*warp)[12] = all + thread / 32 * 32;
    for (int j = 0; j < pixels / 8; j++) {
        for (int at = 0; at < 4; at++) {
            const int row = lane / 4 + at / 2 * 8, column = j * 8 + lane % 4 * 2 + at % 2;
            float parts[3] = {0.0f};
            for (int k = 0; k < 8; k++) {
                const unsigned *weights = warp[row % 8 * 4 + k % 4] + row / 8 + k / 4 * 2;
                parts[0] += tf32(weights[4]) * value_of(high_b, column, k);
                parts[1] += tf32(weights[0]) * value_of(low_b, column, k);
                parts[2] += tf32(weights[0]) * value_of(high_b, column, k);
            }
            for (int part = 0; part < 3; part++) sums[j][at] += parts[part];
        }
    }
}

DEVICE void read_four(float *to, const float *from)
{
    memcpy(to, from, 16);
}

DEVICE void write_two(float *to, const float *numbers)
{
    memcpy(to, numbers, 8);
}

DEVICE void write_four(float *to, const unsigned *bits)
{
    memcpy(to, bits, 16);
}

#include "hopper.cu"

typedef void (*Call)(const void *);

#define CALL(name, type) \
    static void call_##name(const void *arguments) { name(*(const type *)arguments); }
CALL(convolve_128, Convolution)
CALL(convolve_64, Convolution)
CALL(convolve_few, Convolution)
CALL(split_128, Convolution)
CALL(split_64, Convolution)
CALL(hopper_lay_out, LaidOut)
CALL(hopper_convolve_128, Convolution)
CALL(hopper_convolve_64, Convolution)
CALL(add_parts, Parts)
CALL(outer_128, Outer)
CALL(outer_64, Outer)
CALL(rectify, Rectified)
CALL(times_slope, Slope)
CALL(max_value, Pool)
CALL(max_place, Pool)
CALL(max_between, Pool)
CALL(average, Pool)
CALL(pool_back, Pool)
CALL(row_moments, Sums)
CALL(gradient_sums, Sums)
CALL(settle, Settle)
CALL(settle_back, Settle)
CALL(norm_forward, Normed)
CALL(norm_back, Normed)
CALL(norm_through, Normed)

#define NAMED(name) {#name, call_##name}
static const struct {
    const char *name;
    Call call;
} calls[] = {
    NAMED(convolve_128),
    NAMED(convolve_64),
    NAMED(convolve_few),
    NAMED(split_128),
    NAMED(split_64),
    NAMED(hopper_lay_out),
    NAMED(hopper_convolve_128),
    NAMED(hopper_convolve_64),
    NAMED(add_parts),
    NAMED(outer_128),
    NAMED(outer_64),
    NAMED(rectify),
    NAMED(times_slope),
    NAMED(max_value),
    NAMED(max_place),
    NAMED(max_between),
    NAMED(average),
    NAMED(pool_back),
    NAMED(row_moments),
    NAMED(gradient_sums),
    NAMED(settle),
    NAMED(settle_back),
    NAMED(norm_forward),
    NAMED(norm_back),
    NAMED(norm_through),
};

static Call current;
static const void *current_arguments;
static int ended;

static void run_thread(void)
{
    current(current_arguments);
    ended++;
}

static void run_block(void)
{
    for (int i = 0; i < THREADS; i++) {
        getcontext(&threads[i]);
        threads[i].uc_stack.ss_sp = stacks[i];
        threads[i].uc_stack.ss_size = sizeof stacks[i];
        threads[i].uc_link = &scheduler;
        makecontext(&threads[i], run_thread, 0);
    }
    // All threads of a block come to the same barriers, so that all end in the same turn.
    for (ended = 0; ended == 0;) {
        for (threadIdx.x = 0; threadIdx.x < THREADS; threadIdx.x++) swapcontext(&scheduler, &threads[threadIdx.x]);
    }
}

// 0 if the kernel was run, 1 if there is none of that name, 2 if its threads did not come to the same barriers.
int emulate(const char *name, const void *arguments, int across, int down)
{
    current = NULL;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, name) == 0) current = calls[i].call;
    }
    if (!current) return 1;
    current_arguments = arguments;
    for (blockIdx.y = 0; blockIdx.y < down; blockIdx.y++) {
        for (blockIdx.x = 0; blockIdx.x < across; blockIdx.x++) {
            run_block();
            if (ended != THREADS) return 2;
        }
    }
    return 0;
}
