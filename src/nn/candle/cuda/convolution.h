#pragma once

// What all kernels of convolutions share: which pixels they make, what they see, and how results are written.
//
// A gradient behind a stride stands between zeros. Outputs whose places leave the same remainders by the stride see the same taps,
// none of which is a zero: they make a phase. Where nothing is spread there is one phase.

#include "words.h"

// A share of 1, as a byte.
#define WHOLE 255.0f

// What a pixel reads for one product.
typedef struct {
    int offset;          // from the pixel's own place in its image, channel and all
    int column, row;     // the same, in columns and rows
} Tap;

typedef struct {
    const float *images;      // [rows, inputs, height, width]
    const float *weights;     // [depth, outputs], depth = inputs * taps of the kernel; for hopper.cu as it says
    const int *taps;          // [depth, 2]: a tap's offset; row << 16 | column
    const int *phases;        // [spread * spread + 1]: where in the depth each begins, and the end
    const float *bias;        // [outputs], or null
    const float *residual;    // like out, or null
    const unsigned char *shares;   // like out, or null
    float *out;               // [rows, outputs, out_height, out_width]
    int rows, inputs, height, width;
    int outputs, out_height, out_width;
    int stride;               // how far apart pixels read
    int spread;               // how far apart pixels of a phase are written
    int relu;
    int parts;                // of the depth: out has the sums of each, [parts, rows, ...], to which nothing else has come
} Convolution;

// Parts of the depth begin where a slab does, of any kernel.
#define SLAB 16

DEVICE Tap tap_of(int offset, int place)
{
    const Tap tap = {offset, (short)place, place >> 16};
    return tap;
}

DEVICE Tap tap_at(const int *taps, int k)
{
    return tap_of(READ(taps + 2 * k), READ(taps + 2 * k + 1));
}

typedef struct {
    int top, left;            // its first pixel
    int area, width;          // its pixels in an image
    int from, to;             // this block's part of its depth
} Phase;

// Blocks across take turns with phases, those down with parts of the depth.
DEVICE int part_of(const Convolution *p)
{
    return blockIdx.y % p->parts;
}

// Of all phases.
DEVICE int depth_of(const Convolution *p)
{
    return p->phases[p->spread * p->spread];
}

DEVICE int first_output(const Convolution *p, int tile)
{
    return blockIdx.y / p->parts * tile;
}

DEVICE int block_of_phase(const Convolution *p)
{
    return blockIdx.x / (p->spread * p->spread);
}

DEVICE Phase phase_of(const Convolution *p)
{
    const int index = blockIdx.x % (p->spread * p->spread);
    const int top = index / p->spread, left = index % p->spread;
    const int height = (p->out_height - top + p->spread - 1) / p->spread;
    const int width = (p->out_width - left + p->spread - 1) / p->spread;
    const int begin = p->phases[index], end = p->phases[index + 1];
    const int length = (end - begin + p->parts * SLAB - 1) / (p->parts * SLAB) * SLAB;
    const int from = begin + part_of(p) * length, to = from + length < end ? from + length : end;
    const Phase phase = {top, left, height * width, width, from, to};
    return phase;
}

typedef struct {
    const float *image;       // at the place that taps are counted from; null: beyond the last pixel
    int y, x;                 // that place
    size_t place;             // where its first output is written; NOWHERE beyond the last pixel
} Pixel;

#define NOWHERE ((size_t)-1)

DEVICE Pixel pixel_of(const Convolution *p, const Phase *phase, int index)
{
    Pixel pixel = {0, 0, 0, NOWHERE};
    if (phase->area == 0) return pixel;
    const int row = index / phase->area, y = index % phase->area / phase->width, x = index % phase->area % phase->width;
    if (row >= p->rows) return pixel;
    pixel.y = y * p->stride;
    pixel.x = x * p->stride;
    pixel.image = p->images + (size_t)row * p->inputs * p->height * p->width + pixel.y * p->width + pixel.x;
    const int out = (y * p->spread + phase->top) * p->out_width + x * p->spread + phase->left;
    pixel.place = ((size_t)part_of(p) * p->rows + row) * p->outputs * p->out_height * p->out_width + out;
    return pixel;
}

DEVICE int is_seen(Tap tap, int y, int x, int height, int width)
{
    return (unsigned)(y + tap.row) < (unsigned)height && (unsigned)(x + tap.column) < (unsigned)width;
}

// The value under a tap, 0 outside the image.
DEVICE float at_tap(Tap tap, const Pixel *pixel, int height, int width)
{
    return is_seen(tap, pixel->y, pixel->x, height, width) ? pixel->image[tap.offset] : 0.0f;
}

// Of a pixel's outputs a thread has `count`: `first`, and others `apart`.

// The outputs' biases, if there are any.
DEVICE void get_biases(const Convolution *p, float *biases, int count, int first, int apart)
{
    UNROLL for (int i = 0; i < count; i++) {
        biases[i] = p->bias && first + i * apart < p->outputs ? READ(p->bias + first + i * apart) : 0.0f;
    }
}

// What is added to them.
DEVICE void get_residuals(const Convolution *p, float *residuals, int count, int first, int apart, size_t place)
{
    const size_t area = (size_t)p->out_height * p->out_width;
    const float *from = p->residual + (place == NOWHERE ? 0 : place) + first * area;
    UNROLL for (int i = 0; i < count; i++) {
        residuals[i] = first + i * apart < p->outputs ? READ(from) : 0.0f;
        from += apart * area;
    }
}

// The shares of a slope that they are multiplied by.
DEVICE void get_shares(const Convolution *p, float *shares, int count, int first, int apart, size_t place)
{
    const size_t area = (size_t)p->out_height * p->out_width;
    const unsigned char *from = p->shares + (place == NOWHERE ? 0 : place) + first * area;
    UNROLL for (int i = 0; i < count; i++) {
        shares[i] = first + i * apart < p->outputs ? (float)READ(from) / WHOLE : 0.0f;
        from += apart * area;
    }
}

// Cuts off what is negative, if it is to be, and writes them.
DEVICE void put(const Convolution *p, const float *sums, int count, int first, int apart, size_t place)
{
    const size_t area = (size_t)p->out_height * p->out_width;
    const float least = p->relu ? 0.0f : -INFINITY;
    if (place == NOWHERE) return;
    float *to = p->out + place + first * area;
    UNROLL for (int i = 0; i < count; i++) {
        if (first + i * apart < p->outputs) *to = sums[i] < least ? least : sums[i];
        to += apart * area;
    }
}
