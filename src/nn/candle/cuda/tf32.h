#pragma once

// A number of f32 in two parts that tensor cores take, so that a product is three of theirs.
//
// A number is split into what TF32 holds of it and what TF32 holds of the rest; the product of the rests is left out. So of a product
// 2e-6 are lost at most, and sums are f32 (Ootomo and Yokota, arXiv 2203.03341).

#include "words.h"

#ifndef EMULATED
DEVICE unsigned bits_of(float number)
{
    return __float_as_uint(number);
}

DEVICE float of_bits(unsigned bits)
{
    return __uint_as_float(bits);
}
#endif

// What TF32 holds of a number, and the rest.
DEVICE void split(float number, unsigned *high, unsigned *low)
{
    *high = bits_of(number) & 0xFFFFE000u;
    *low = bits_of(number - of_bits(*high));
}
