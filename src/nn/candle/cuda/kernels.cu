// What networks do on a CUDA card: convolutions, pools and batch norm of images [rows, channels, height, width] in f32, forward,
// back to the image and, for training, back to the parameters. Slopes and places are bytes.
//
// Plain C but for the words of CUDA, so that a C compiler with stand-ins for those words (emulate.c) runs the same lines in
// tests on machines without a card. Every kernel takes one struct by value; calls in Rust list the same members.

#ifndef EMULATED
// Two blocks at least on a multiprocessor.
#define KERNEL extern "C" __global__ void __launch_bounds__(256, 2)
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

// The gradient by the kernel: sums over pixels of what the kernel saw times the gradient by the output.
typedef struct {
    const float *images;      // [rows, inputs, height, width]
    const float *gradient;    // [rows, outputs, out_height, out_width]
    const unsigned *taps;     // as above
    float *out;               // [parts, depth, outputs], each the sum of `part` pixels
    int rows, inputs, height, width;
    int outputs, out_height, out_width;
    int depth;
    int stride, top, left;
    int part;
} Outer;

// The value under a tap of a kernel whose corner lies at (y, x), 0 outside the image.
DEVICE float at_tap(const unsigned *tap, const float *image, int height, int width, int y, int x)
{
    y += (int)(tap[1] >> 16);
    x += (int)(tap[1] & 0xFFFF);
    return y < 0 || y >= height || x < 0 || x >= width ? 0.0f : image[tap[0] + (unsigned)(y * width + x)];
}

// The same, between values that stand `spread` apart, zeros between them.
DEVICE float under_kernel(const Convolution *p, const float *image, int k, int y, int x)
{
    const unsigned *tap = p->taps + 2 * k;
    if (p->spread == 1) return at_tap(tap, image, p->height, p->width, y, x);
    y += (int)(tap[1] >> 16);
    x += (int)(tap[1] & 0xFFFF);
    if (y < 0 || x < 0 || y % p->spread != 0 || x % p->spread != 0) return 0.0f;
    y /= p->spread;
    x /= p->spread;
    return y >= p->height || x >= p->width ? 0.0f : image[tap[0] + (unsigned)(y * p->width + x)];
}

// Implicit GEMM: a block makes TILE outputs of TILE pixels, a thread MICRO of MICRO. While it sums DEPTH products of what lies in
// shared memory it has the next DEPTH under way.
#define DEPTH 8
#define TILE 128
#define ADD_PRODUCTS add_products_128
#define CONVOLVE convolve_128
#define OUTER outer_128
#include "tiles.inc"
#undef TILE
#undef ADD_PRODUCTS
#undef CONVOLVE
#undef OUTER
#define TILE 64
#define ADD_PRODUCTS add_products_64
#define CONVOLVE convolve_64
#define OUTER outer_64
#include "tiles.inc"

// ---- Between each row and the next ----

typedef struct {
    const float *values;           // [rows, size]
    const unsigned char *shares;   // [rows, size], or null
    float *out;                    // [rows, size]
    unsigned char *out_shares;     // [rows - 1, size], or null
    int rows, size;
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
    p.out[at] = p.values[at] * ((float)p.shares[at] / WHOLE);
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

// ---- Batch norm ----
//
// value = relu(shortcut + factor (product + minus) + shift), channel by channel; without batch norm the factor is a scale and the
// others are nought.

typedef struct {
    const float *products;   // [rows, channels, area]; null where only gradients are summed
    const float *gradient;   // like products, by the value
    const float *value;      // like products: the gradient comes through where it is above 0; null: everywhere
    const float *settled;    // [6, channels], of settle
    float *out;              // [2, rows, channels]
    int rows, channels, area;
} Sums;

// What all threads of a block have, added up; `parts` is shared.
DEVICE float sum_of_block(float *parts, float mine)
{
    parts[threadIdx.x] = mine;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        WAIT_FOR_ALL;
        if (threadIdx.x < half) parts[threadIdx.x] += parts[threadIdx.x + half];
    }
    WAIT_FOR_ALL;
    const float sum = parts[0];
    // Before anybody writes there again.
    WAIT_FOR_ALL;
    return sum;
}

// Of each channel of each row its mean, and the sum of squares about it.
KERNEL row_moments(Sums p)
{
    SHARED float parts[THREADS];
    const int channel = blockIdx.x, row = blockIdx.y;
    const float *plane = p.products + ((size_t)row * p.channels + channel) * p.area;
    float sum = 0.0f, squares = 0.0f;
    for (int at = threadIdx.x; at < p.area; at += THREADS) sum += plane[at];
    const float mean = sum_of_block(parts, sum) / (float)p.area;
    for (int at = threadIdx.x; at < p.area; at += THREADS) squares += (plane[at] - mean) * (plane[at] - mean);
    squares = sum_of_block(parts, squares);
    if (threadIdx.x == 0) {
        p.out[row * p.channels + channel] = mean;
        p.out[(p.rows + row) * p.channels + channel] = squares;
    }
}

// What comes through a ReLU.
DEVICE float through(const float *gradient, const float *value, size_t at)
{
    return !value || value[at] > 0.0f ? gradient[at] : 0.0f;
}

// Of each channel of each row the sums of its gradient, and of its gradient times product + minus.
KERNEL gradient_sums(Sums p)
{
    SHARED float parts[THREADS];
    const int channel = blockIdx.x, row = blockIdx.y;
    const size_t plane = ((size_t)row * p.channels + channel) * p.area;
    const float minus = p.products ? p.settled[p.channels + channel] : 0.0f;
    float sum = 0.0f, product = 0.0f;
    for (int at = threadIdx.x; at < p.area; at += THREADS) {
        const float gradient = through(p.gradient, p.value, plane + at);
        sum += gradient;
        if (p.products) product += gradient * (p.products[plane + at] + minus);
    }
    sum = sum_of_block(parts, sum);
    product = sum_of_block(parts, product);
    if (threadIdx.x == 0) {
        p.out[row * p.channels + channel] = sum;
        p.out[(p.rows + row) * p.channels + channel] = product;
    }
}

typedef struct {
    const float *sums;                      // [2, rows, channels], of one of the kernels above; null: the moving statistics stand
    const float *rule;                      // epsilon, scale, what a step leaves of the moving statistics
    const float *gamma, *beta;              // [channels]
    const float *mean, *variance;           // [channels], moving
    const float *settled;                   // back: [6, channels]
    float *out;
    int rows, channels, area;
} Settle;

// Writes [6, channels]: factor, minus, shift; one over the deviation; the moving mean and variance after the step.
KERNEL settle(Settle p)
{
    const int channel = blockIdx.x * THREADS + threadIdx.x;
    if (channel >= p.channels) return;
    const float epsilon = p.rule[0], scale = p.rule[1], left = p.rule[2];
    float mean = p.mean[channel], variance = p.variance[channel];
    float moving_mean = mean, moving_variance = variance;
    if (p.sums) {
        mean = 0.0f;
        for (int row = 0; row < p.rows; row++) mean += p.sums[row * p.channels + channel];
        mean /= (float)p.rows;
        float squares = 0.0f;
        for (int row = 0; row < p.rows; row++) {
            const float off = p.sums[row * p.channels + channel] - mean;
            squares += p.sums[(p.rows + row) * p.channels + channel] + (float)p.area * off * off;
        }
        variance = squares / ((float)p.rows * (float)p.area);
        moving_mean = moving_mean * left + mean * (1.0f - left);
        moving_variance = moving_variance * left + variance * (1.0f - left);
    }
    const float inverse = 1.0f / sqrtf(variance + epsilon);
    float *out = p.out + channel;
    out[0] = p.gamma[channel] * inverse * scale;
    out[p.channels] = -mean;
    out[2 * p.channels] = p.beta[channel] * scale;
    out[3 * p.channels] = inverse;
    out[4 * p.channels] = moving_mean;
    out[5 * p.channels] = moving_variance;
}

// Writes [4, channels]: the gradients by gamma and beta; how much of product + minus, and what else, comes on the way back, where
// mean and variance move with the products (`area` is nought where they do not).
KERNEL settle_back(Settle p)
{
    const int channel = blockIdx.x * THREADS + threadIdx.x;
    if (channel >= p.channels) return;
    const float scale = p.rule[1], factor = p.settled[channel], inverse = p.settled[3 * p.channels + channel];
    float gradient = 0.0f, product = 0.0f;
    for (int row = 0; row < p.rows; row++) {
        gradient += p.sums[row * p.channels + channel];
        product += p.sums[(p.rows + row) * p.channels + channel];
    }
    const float share = p.area > 0 ? -factor / ((float)p.rows * (float)p.area) : 0.0f;
    float *out = p.out + channel;
    out[0] = product * inverse * scale;
    out[p.channels] = gradient * scale;
    out[2 * p.channels] = share * inverse * inverse * product;
    out[3 * p.channels] = share * gradient;
}

typedef struct {
    const float *products;   // [rows, channels, area]; back without batch norm: null
    const float *settled;    // [6, channels], or its first three
    const float *shortcut;   // like products, or null
    const float *gradient;   // back: like products
    const float *value;      // back: as in Sums
    const float *back;       // back: [4, channels], of settle_back
    float *out;              // like products
    int rows, channels, area;
    int relu;
} Normed;

// From products to values.
KERNEL norm_forward(Normed p)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)p.rows * p.channels * p.area) return;
    const float *settled = p.settled + at / p.area % p.channels;
    float value = settled[0] * (p.products[at] + settled[p.channels]) + settled[2 * p.channels];
    if (p.shortcut) value += p.shortcut[at];
    p.out[at] = p.relu && value < 0.0f ? 0.0f : value;
}

// From the gradient by values to that by products.
KERNEL norm_back(Normed p)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= (size_t)p.rows * p.channels * p.area) return;
    const int channel = (int)(at / p.area % p.channels);
    float gradient = p.settled[channel] * through(p.gradient, p.value, at);
    if (p.products) {
        gradient += p.back[2 * p.channels + channel] * (p.products[at] + p.settled[p.channels + channel]);
        gradient += p.back[3 * p.channels + channel];
    }
    p.out[at] = gradient;
}

// From the gradient by values to that by the shortcut.
KERNEL norm_through(Normed p)
{
    const size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (at < (size_t)p.rows * p.channels * p.area) p.out[at] = through(p.gradient, p.value, at);
}
