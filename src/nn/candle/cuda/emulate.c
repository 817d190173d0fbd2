// Runs the kernels of kernels.cu on a processor, for tests: the threads of a block take turns, each up to the next barrier, and
// blocks follow one another.

#define _XOPEN_SOURCE 700

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define EMULATED
#define KERNEL static void
#define DEVICE static inline
#define SHARED static
#define WAIT_FOR_ALL swapcontext(&threads[threadIdx.x], &scheduler)
#define UNROLL

typedef struct {
    int x, y;
} Index;

static Index threadIdx, blockIdx;
static ucontext_t threads[256], scheduler;
static char stacks[256][1 << 16];

#include "kernels.cu"

typedef void (*Call)(const void *);

#define CALL(name, type) \
    static void call_##name(const void *arguments) { name(*(const type *)arguments); }
CALL(convolve_128, Convolution)
CALL(convolve_64, Convolution)
CALL(outer_128, Outer)
CALL(outer_64, Outer)
CALL(relu_between, Slope)
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
    NAMED(outer_128),
    NAMED(outer_64),
    NAMED(relu_between),
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
