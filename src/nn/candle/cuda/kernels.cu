// What networks do on a CUDA card: convolutions and pools of images [rows, channels, height, width] in f32, forward and back to
// the image. Slopes and places are bytes.
//
// Plain C but for the words of CUDA, so that a C compiler with stand-ins for those words (emulate.c) runs the same lines in
// tests on machines without a card. Every kernel takes one struct by value; `arguments.rs` has the same structs.

#ifndef EMULATED
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__ __align__(16)
#define WAIT_FOR_ALL __syncthreads()
#define UNROLL _Pragma("unroll")
#endif

#define THREADS 256
// A share of 1, as a byte.
#define WHOLE 255.0f

// ---- Convolution ----

typedef struct {
    const float *images;      // [rows, inputs, height, width]
    const float *weights;     // [depth, outputs], depth = inputs * taps of the kernel
    const unsigned *taps;     // [depth, 2]: where the channel begins in an image; row << 16 | column in the kernel
    const float *bias;        // [outputs], or null
    const float *residual;    // like out, or null
    float *out;               // [rows, outputs, out_height, out_width]
    int rows, inputs, height, width;
    int outputs, out_height, out_width;
    int depth;
    int stride, top, left;
    int spread;                       // what is read stands so far apart, zeros between: a gradient behind a stride
    int relu;
} Convolution;

// One value under the kernel, 0 outside the image and between spread values.
DEVICE float under_kernel(const Convolution *p, const float *image, int k, int y, int x)
{
    const unsigned tap = p->taps[2 * k + 1];
    y += (int)(tap >> 16);
    x += (int)(tap & 0xFFFF);
    if (p->spread > 1) {
        if (y % p->spread != 0 || x % p->spread != 0) return 0.0f;
        y /= p->spread;
        x /= p->spread;
    }
    if (y < 0 || y >= p->height || x < 0 || x >= p->width) return 0.0f;
    return image[p->taps[2 * k] + (unsigned)(y * p->width + x)];
}

// Implicit GEMM: a block makes TILE outputs of TILE pixels, a thread MICRO of MICRO. While it sums DEPTH products of what lies in
// shared memory it has the next DEPTH under way.
#define DEPTH 8
#define TILE 128
#define CONVOLVE convolve_128
#include "convolve.inc"
#undef TILE
#undef CONVOLVE
#define TILE 64
#define CONVOLVE convolve_64
#include "convolve.inc"

// ---- Between each row and the next ----

typedef struct {
    const float *values;           // [rows, size]
    const unsigned char *shares;   // [rows, size], or null
    float *out;                    // [rows, size]
    unsigned char *out_shares;     // [rows - 1, size], or null
    int rows, size;
    int whole;                             // what a byte of the greatest slope holds
} Slope;

DEVICE unsigned char as_byte(float share)
{
    return (unsigned char)floorf(share * WHOLE + 0.5f);
}

// The share of the way from each row to the next on which a ReLU is open.
KERNEL relu_between(Slope p)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)(p.rows - 1) * p.size) return;
    const float from = p.values[at], to = p.values[at + p.size];
    const float high = fmaxf(fmaxf(from, to), 0.0f), low = fminf(from, to);
    float share = 0.0f;
    if (high > 0.0f) share = low > 0.0f ? 1.0f : high / (high - low);
    p.out_shares[at] = as_byte(share);
}

// A gradient times the slopes that were kept.
KERNEL times_slope(Slope p)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)p.rows * p.size) return;
    p.out[at] = p.values[at] * ((float)p.shares[at] / (float)p.whole);
}

// ---- Pools ----

typedef struct {
    const float *values;           // forward: [rows, channels, height, width]; back: the gradient by the outputs
    const unsigned char *places;   // [rows, channels, out_height, out_width]; one row more between rows
    const unsigned char *shares;   // between rows: the first winner's share of the slope
    float *out;
    unsigned char *out_bytes;
    int rows, channels, height, width;
    int out_height, out_width;
    int kernel_height, kernel_width;
    int stride, top, left;
    int count_padding;
} Pool;

// A thread's output of a forward pool: its plane, and where its window begins.
typedef struct {
    size_t at;
    const float *plane;
    int top, left;
} Pooled;

DEVICE int begin_pool(const Pool *p, int rows, Pooled *o)
{
    const int area = p->out_height * p->out_width;
    o->at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (o->at >= (size_t)rows * p->channels * area) return 0;
    const int place = (int)(o->at % area);
    o->plane = p->values + o->at / area * ((size_t)p->height * p->width);
    o->top = place / p->out_width * p->stride - p->top;
    o->left = place % p->out_width * p->stride - p->left;
    return 1;
}

DEVICE int is_inside(const Pool *p, int y, int x)
{
    return y >= 0 && y < p->height && x >= 0 && x < p->width;
}

// The first of the largest values of a window, and which of its places that is.
DEVICE float largest(const Pool *p, const Pooled *o, int *place)
{
    float best = -INFINITY;
    *place = 0;
    for (int index = 0; index < p->kernel_height * p->kernel_width; index++) {
        const int y = o->top + index / p->kernel_width, x = o->left + index % p->kernel_width;
        if (!is_inside(p, y, x)) continue;
        const float value = o->plane[y * p->width + x];
        if (value > best) {
            best = value;
            *place = index;
        }
    }
    return best;
}

KERNEL max_value(Pool p)
{
    Pooled o;
    int place;
    if (begin_pool(&p, p.rows, &o)) p.out[o.at] = largest(&p, &o, &place);
}

KERNEL max_place(Pool p)
{
    Pooled o;
    int place;
    if (!begin_pool(&p, p.rows, &o)) return;
    largest(&p, &o, &place);
    p.out_bytes[o.at] = (unsigned char)place;
}

DEVICE float at_place(const Pool *p, const Pooled *o, size_t ahead, int place)
{
    const int y = o->top + place / p->kernel_width, x = o->left + place % p->kernel_width;
    return o->plane[ahead + (size_t)(y * p->width + x)];
}

// How the winners at each row and at the next share a window's slope: by where on the way the lead changes.
KERNEL max_between(Pool p)
{
    Pooled o;
    if (!begin_pool(&p, p.rows - 1, &o)) return;
    const size_t row = (size_t)p.channels * p.height * p.width;
    const int first = p.places[o.at], second = p.places[o.at + (size_t)p.channels * p.out_height * p.out_width];
    float share = 1.0f;
    if (first != second) {
        const float before = at_place(&p, &o, 0, first) - at_place(&p, &o, 0, second);
        const float after = at_place(&p, &o, row, second) - at_place(&p, &o, row, first);
        share = before + after > 0.0f ? before / (before + after) : 0.5f;
    }
    p.out_bytes[o.at] = as_byte(share);
}

KERNEL average(Pool p)
{
    Pooled o;
    if (!begin_pool(&p, p.rows, &o)) return;
    float sum = 0.0f;
    int count = 0;
    for (int index = 0; index < p.kernel_height * p.kernel_width; index++) {
        const int y = o.top + index / p.kernel_width, x = o.left + index % p.kernel_width;
        if (!is_inside(&p, y, x)) continue;
        sum += o.plane[y * p.width + x];
        count++;
    }
    p.out[o.at] = sum / (float)(p.count_padding ? p.kernel_height * p.kernel_width : count);
}

// How many values of the window that begins at (top, left) lie inside.
DEVICE int inside_of(const Pool *p, int top, int left)
{
    const int height = (top + p->kernel_height < p->height ? top + p->kernel_height : p->height) - (top > 0 ? top : 0);
    const int width = (left + p->kernel_width < p->width ? left + p->kernel_width : p->width) - (left > 0 ? left : 0);
    return height *width;
}

// What a window sends back to its place `index`.
DEVICE float sent_back(const Pool *p, size_t window, int index, int top, int left)
{
    const float gradient = p->values[window];
    if (!p->places) {
        return gradient / (float)(p->count_padding ? p->kernel_height * p->kernel_width : inside_of(p, top, left));
    }
    if (!p->shares) return p->places[window] == index ? gradient : 0.0f;
    const size_t ahead = (size_t)p->channels * p->out_height * p->out_width;
    const float early = gradient * ((float)p->shares[window] / WHOLE);
    return (p->places[window] == index ? early : 0.0f) + (p->places[window + ahead] == index ? gradient - early : 0.0f);
}

// Back through a pool: each place gathers from all windows that see it. An average where there are no places.
KERNEL pool_back(Pool p)
{
    const int area = p.height * p.width;
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)p.rows * p.channels * area) return;
    const int y = (int)(at % area) / p.width + p.top, x = (int)(at % area) % p.width + p.left;
    const size_t plane = at / area * ((size_t)p.out_height * p.out_width);
    float sum = 0.0f;
    for (int index = 0; index < p.kernel_height * p.kernel_width; index++) {
        const int top = y - index / p.kernel_width, left = x - index % p.kernel_width;
        if (top < 0 || left < 0 || top % p.stride != 0 || left % p.stride != 0) continue;
        const int row = top / p.stride, column = left / p.stride;
        if (row >= p.out_height || column >= p.out_width) continue;
        sum += sent_back(&p, plane + (size_t)(row * p.out_width + column), index, top - p.top, left - p.left);
    }
    p.out[at] = sum;
}
