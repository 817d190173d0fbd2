#pragma once

// Copies into shared memory that go on while threads do other work; from Ampere on.

#include "words.h"

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
#endif
