//! The micro-kernel of weight gradients: a sum over pixels of outer products, some channels by a panel of gradients.
//!
//! Both sides are packed, so that a pixel's numbers lie together: [`Outer::rows`] of the one, a panel's columns of the other.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index stays in registers")]

use super::product::MOST;
use super::vector::{Products, Vector};

/// Pixels that lie together on the left.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The first of them, counted in pixels.
    pub start: usize,
    pub length: usize,
}

/// Some channels by a panel, over some pixels.
#[derive(Debug)]
pub struct Outer<'a> {
    pub spans: &'a [Span],
    /// `[pixels, left_apart]`, of which the first `rows` count.
    pub left: *const f32,
    /// Numbers between two pixels.
    pub left_apart: usize,
    /// `[pixels, right_apart]`, of which a panel's columns count; pixels follow one another through all spans.
    pub right: *const f32,
    pub right_apart: usize,
    /// Channels of a tile, those included that are only filled up.
    pub rows: usize,
    /// Channels and columns that are there.
    pub there: [usize; 2],
    pub target: *mut f32,
    /// Numbers between two channels of the target.
    pub stride: usize,
    /// Whether the sums are added to what the target has.
    pub add: bool,
}

/// Sums a tile.
///
/// # Safety
/// The instruction set of `V` is there, as are all numbers that spans reach, and nothing else uses the target's.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
pub unsafe fn accumulate<V: Vector, P: Products<V>, const ROWS: usize, const VECTORS: usize>(tile: &Outer) {
    assert!(tile.rows == ROWS && tile.there[0] <= ROWS && tile.there[1] <= VECTORS * V::LANES);
    // SAFETY: the caller's promise.
    unsafe {
        if tile.add {
            for row in 0..tile.there[0] {
                V::prefetch(tile.target.add(row * tile.stride));
            }
        }
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        let mut right = tile.right;
        for span in tile.spans {
            let mut left = tile.left.add(span.start * tile.left_apart);
            for _ in 0..span.length {
                let mut panel = [V::zero(); VECTORS];
                for vector in 0..VECTORS {
                    panel[vector] = V::load(right.add(vector * V::LANES));
                }
                for row in 0..ROWS {
                    let channel = V::splat(*left.add(row));
                    for vector in 0..VECTORS {
                        sums[row][vector] = P::add(channel, panel[vector], sums[row][vector]);
                    }
                }
                left = left.add(tile.left_apart);
                right = right.add(tile.right_apart);
            }
        }
        if tile.there == [ROWS, VECTORS * V::LANES] {
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    let to = tile.target.add(row * tile.stride + vector * V::LANES);
                    let sum = sums[row][vector];
                    if tile.add { V::load(to).add(sum) } else { sum }.store(to);
                }
            }
        } else {
            edge(tile, &sums);
        }
    }
}

/// Writes what is there of a tile that is not whole. All sums go to memory first, at places that the compiler knows: were one
/// taken out at a place that it does not, all would lie in memory while they grow.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn edge<V: Vector, const ROWS: usize, const VECTORS: usize>(tile: &Outer, sums: &[[V; VECTORS]; ROWS]) {
    let mut whole = [[0.0; MOST]; ROWS];
    for row in 0..ROWS {
        for vector in 0..VECTORS {
            // SAFETY: a panel has no more columns.
            unsafe { sums[row][vector].store(whole[row].as_mut_ptr().add(vector * V::LANES)) };
        }
    }
    let [rows, columns] = tile.there;
    for (row, sums) in whole[..rows].iter().enumerate() {
        for (column, sum) in sums[..columns].iter().enumerate() {
            // SAFETY: as in `accumulate`; only what is there is touched.
            unsafe {
                let to = tile.target.add(row * tile.stride + column);
                *to = if tile.add { *to + sum } else { *sum };
            }
        }
    }
}
