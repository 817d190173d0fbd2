// What networks do on a CUDA card: convolutions, pools and batch norm of images [rows, channels, height, width] in f32, forward,
// back to the image and, for training, back to the parameters. Slopes and places are bytes.
//
// Plain C but for the words of CUDA (words.h), so that a C compiler runs the same lines in tests on machines without a card.
// Every kernel takes one struct by value; calls in Rust list the same members.

#include "words.h"

// The number of this thread, of a kernel with one for each value: the host asks for less than 2^31.
DEVICE unsigned thread_of_all(void)
{
    return blockIdx.x * THREADS + threadIdx.x;
}

// ---- Convolution ----

#include "convolution.h"

// The gradient by the kernel: sums over pixels of what the kernel saw times the gradient by the output.
typedef struct {
    const float *images;      // [rows, inputs, height, width]
    const float *gradient;    // [rows, outputs, out_height, out_width]
    const int *taps;          // [depth, 2], as of the forward convolution
    float *out;               // [parts, depth, outputs], each the sum of `part` pixels
    int rows, inputs, height, width;
    int outputs, out_height, out_width;
    int depth;
    int stride;
    int part;
} Outer;

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

// Outputs of one pixel that a thread makes, where there are few.
#define FEW 8

// A tile would be empty but for a few outputs: here a thread makes all of a pixel.
KERNEL convolve_few(Convolution p)
{
    const Phase phase = phase_of(&p);
    const Pixel pixel = pixel_of(&p, &phase, block_of_phase(&p) * THREADS + threadIdx.x);
    if (!pixel.image) return;
    float sums[FEW];
    get_biases(&p, sums, FEW, 0, 1);
    UNROLL_BY_8 for (int k = phase.from; k < phase.to; k++) {
        const float value = at_tap(tap_at(p.taps, k), &pixel, p.height, p.width);
        UNROLL for (int i = 0; i < FEW; i++) {
            if (i < p.outputs) sums[i] += READ(p.weights + k * p.outputs + i) * value;
        }
    }
    if (p.residual) {
        float residuals[FEW];
        get_residuals(&p, residuals, FEW, 0, 1, pixel.place);
        UNROLL for (int i = 0; i < FEW; i++) sums[i] += residuals[i];
    }
    if (p.shares) {
        float shares[FEW];
        get_shares(&p, shares, FEW, 0, 1, pixel.place);
        UNROLL for (int i = 0; i < FEW; i++) sums[i] *= shares[i];
    }
    put(&p, sums, FEW, 0, 1, pixel.place);
}

typedef struct {
    const float *sums;        // [count, rows, outputs, area]
    const float *bias;        // [outputs], or null
    const float *residual;    // [rows, outputs, area], or null, as are shares
    const unsigned char *shares;
    float *out;               // [rows, outputs, area]
    int count, rows, outputs, area;
    int relu;
} Parts;

// Adds up the parts of a convolution's depth, one after the other, and what comes to them.
KERNEL add_parts(Parts p)
{
    const unsigned size = p.rows * p.outputs * p.area, at = thread_of_all();
    if (at >= size) return;
    float sum = 0.0f;
    UNROLL_BY_8 for (int part = 0; part < p.count; part++) sum += READ(p.sums + (size_t)part * size + at);
    if (p.bias) sum += READ(p.bias + at / p.area % p.outputs);
    if (p.residual) sum += READ(p.residual + at);
    if (p.shares) sum *= (float)READ(p.shares + at) / WHOLE;
    p.out[at] = p.relu && sum < 0.0f ? 0.0f : sum;
}

// ---- Between each row and the next ----

typedef struct {
    const float *values;           // [rows, size]; with places: [2, size], the ends of the line that rows are points of
    const float *places;           // [rows, 2]: how much of each end a row is; or null
    float *out;                    // [rows, size]
    unsigned char *shares;         // [rows - 1, size]
    int rows, size;
} Rectified;

// Rows that a thread goes through.
#define STRETCH 8

DEVICE unsigned char as_byte(float share)
{
    return (unsigned char)floorf(share * WHOLE + 0.5f);
}

DEVICE float seen_at(const Rectified *p, const float ends[2], int row, size_t at)
{
    return p->places ? READ(p->places + 2 * row) * ends[0] + READ(p->places + 2 * row + 1) * ends[1] : READ(p->values + at);
}

// What a ReLU gives, and the share of the way from each row to the next on which it is open.
KERNEL rectify(Rectified p)
{
    const unsigned size = p.size, first = thread_of_all(), begin = blockIdx.y * STRETCH;
    if (first >= size) return;
    const float ends[2] = {p.places ? READ(p.values + first) : 0.0f, p.places ? READ(p.values + size + first) : 0.0f};
    size_t at = (size_t)begin * size + first;
    float from = seen_at(&p, ends, begin, at);
    if (begin == 0) p.out[at] = from < 0.0f ? 0.0f : from;
    UNROLL_BY_8 for (unsigned row = begin + 1; row < (unsigned)p.rows && row <= begin + STRETCH; row++) {
        at += size;
        const float to = seen_at(&p, ends, row, at);
        const float high = fmaxf(fmaxf(from, to), 0.0f), low = fminf(from, to);
        float share = 0.0f;
        if (high > 0.0f) share = low > 0.0f ? 1.0f : high / (high - low);
        p.out[at] = to < 0.0f ? 0.0f : to;
        p.shares[at - size] = as_byte(share);
        from = to;
    }
}

typedef struct {
    const float *values;           // rows of `size`, `apart` from each other
    const unsigned char *shares;   // [rows, size]
    float *out;                    // [rows, size]
    int rows, size, apart;
} Slope;

// A gradient times the slopes that were kept.
KERNEL times_slope(Slope p)
{
    const unsigned at = thread_of_all(), size = p.size;
    if (at >= p.rows * size) return;
    p.out[at] = p.values[(size_t)(at / size) * p.apart + at % size] * ((float)p.shares[at] / WHOLE);
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
    unsigned at;
    const float *plane;
    int top, left;
} Pooled;

DEVICE int begin_pool(const Pool *p, int rows, Pooled *o)
{
    const unsigned area = p->out_height * p->out_width;
    o->at = thread_of_all();
    if (o->at >= rows * p->channels * area) return 0;
    const int place = (int)(o->at % area);
    o->plane = p->values + (size_t)(o->at / area) * (p->height * p->width);
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
    for (int row = 0; row < p->kernel_height; row++) {
        for (int column = 0; column < p->kernel_width; column++) {
            const int y = o->top + row, x = o->left + column;
            if (!is_inside(p, y, x)) continue;
            const float value = READ(o->plane + y * p->width + x);
            if (value > best) {
                best = value;
                *place = row * p->kernel_width + column;
            }
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
    for (int y = o.top; y < o.top + p.kernel_height; y++) {
        for (int x = o.left; x < o.left + p.kernel_width; x++) {
            if (!is_inside(&p, y, x)) continue;
            sum += READ(o.plane + y * p.width + x);
            count++;
        }
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
    const float gradient = READ(p->values + window);
    if (!p->places) {
        return gradient / (float)(p->count_padding ? p->kernel_height * p->kernel_width : inside_of(p, top, left));
    }
    const float first = READ(p->places + window) == index ? gradient : 0.0f;
    if (!p->shares) return first;
    const size_t ahead = (size_t)p->channels * p->out_height * p->out_width;
    const float share = (float)READ(p->shares + window) / WHOLE;
    const float second = READ(p->places + window + ahead) == index ? gradient : 0.0f;
    return first * share + second * (1.0f - share);
}

// A quotient; of the strides that there are without a division.
DEVICE int over(int at, int stride)
{
    if (stride == 1) return at;
    return stride == 2 ? at >> 1 : at / stride;
}

// The first and the last window that see a place, `at` from where the first window begins.
DEVICE int first_window(int at, int kernel, int stride)
{
    return at < kernel ? 0 : over(at - kernel, stride) + 1;
}

DEVICE int last_window(int at, int stride, int windows)
{
    const int last = over(at, stride);
    return last < windows ? last : windows - 1;
}

// Back through a pool: each place gathers from all windows that see it. An average where there are no places.
KERNEL pool_back(Pool p)
{
    const unsigned area = p.height * p.width, at = thread_of_all();
    if (at >= p.rows * p.channels * area) return;
    const int y = (int)(at % area) / p.width + p.top, x = (int)(at % area) % p.width + p.left;
    const size_t plane = (size_t)(at / area) * (p.out_height * p.out_width);
    const int last_row = last_window(y, p.stride, p.out_height), last_column = last_window(x, p.stride, p.out_width);
    float sum = 0.0f;
    for (int row = first_window(y, p.kernel_height, p.stride); row <= last_row; row++) {
        for (int column = first_window(x, p.kernel_width, p.stride); column <= last_column; column++) {
            const int top = row * p.stride, left = column * p.stride, index = (y - top) * p.kernel_width + x - left;
            const size_t window = plane + (size_t)(row * p.out_width + column);
            sum += sent_back(&p, window, index, top - p.top, left - p.left);
        }
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
    const unsigned at = thread_of_all();
    if (at >= (unsigned)(p.rows * p.channels * p.area)) return;
    const float *settled = p.settled + at / p.area % p.channels;
    float value = settled[0] * (p.products[at] + settled[p.channels]) + settled[2 * p.channels];
    if (p.shortcut) value += p.shortcut[at];
    p.out[at] = p.relu && value < 0.0f ? 0.0f : value;
}

// From the gradient by values to that by products.
KERNEL norm_back(Normed p)
{
    const unsigned at = thread_of_all();
    if (at >= (unsigned)(p.rows * p.channels * p.area)) return;
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
    const unsigned at = thread_of_all();
    if (at < (unsigned)(p.rows * p.channels * p.area)) p.out[at] = through(p.gradient, p.value, at);
}
