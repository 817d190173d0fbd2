//! Tiles on their way from an image to points and back, along both axes.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index stays in registers")]

use std::mem::MaybeUninit;

use super::axis::{self, Axis, MOST};
use super::product::{BORDER, Columns, Tile, finish, finish_all};
use super::totals::Taken;
use super::vector::Vector;

/// A tile of an image on its way to points.
#[derive(Debug)]
pub struct Spread<'a> {
    pub source: *const f32,
    /// As many as there are channels.
    pub zeros: *const f32,
    /// Where each input begins in the source, or [`BORDER`].
    pub offsets: &'a [usize],
    pub channels: usize,
    /// The first point; groups of whole vectors.
    pub points: *mut f32,
    /// Numbers between two points.
    pub apart: usize,
    /// Channels of a group, a multiple of every vector's; numbers between two groups.
    pub group: [usize; 2],
}

/// Writes a function that takes a tile to points along both axes; the loops must have lengths that the compiler knows.
macro_rules! to_points {
    ($(#[$doc:meta])* $name:ident: $inputs:ident, $axis:ident) => {
        $(#[$doc])*
        ///
        /// # Safety
        /// The instruction set of `V` is there. Every offset that is not [`BORDER`] has its channels behind it in the source,
        /// every point room for them in whole vectors, and nothing else uses the points.
        #[inline(always)]
        #[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
        pub unsafe fn $name<V: Vector, Y: Axis, X: Axis>(tile: &Spread) {
            assert_eq!(tile.offsets.len(), Y::$inputs * X::$inputs);
            let mut inputs = [tile.zeros; MOST * MOST];
            // SAFETY: the caller's promise.
            unsafe {
                for (input, offset) in inputs.iter_mut().zip(tile.offsets) {
                    if *offset != BORDER {
                        *input = tile.source.add(*offset);
                    }
                }
                for channel in (0..tile.channels).step_by(V::LANES) {
                    let points = tile.points.add(channel / tile.group[0] * tile.group[1] + channel % tile.group[0]);
                    let mut half = [[MaybeUninit::<V>::uninit(); MOST]; MOST];
                    let rest = tile.channels - channel;
                    for x in 0..X::$inputs {
                        let mut column = [V::zero(); MOST];
                        for y in 0..Y::$inputs {
                            let from = inputs[y * X::$inputs + x].add(channel);
                            column[y] = if rest < V::LANES { part(from, rest) } else { V::load(from) };
                        }
                        let column = axis::$axis::<V, Y>(column);
                        for y in 0..Y::POINTS {
                            half[y][x].write(column[y]);
                        }
                    }
                    for y in 0..Y::POINTS {
                        let mut line = [V::zero(); MOST];
                        for x in 0..X::$inputs {
                            line[x] = half[y][x].assume_init();
                        }
                        let line = axis::$axis::<V, X>(line);
                        for x in 0..X::POINTS {
                            line[x].store(points.add((y * X::POINTS + x) * tile.apart));
                        }
                    }
                }
            }
        }
    };
}

to_points! {
    /// Spreads a tile of inputs.
    spread: POINTS, spread
}
to_points! {
    /// Scatters a tile of outputs' gradients.
    scatter: OUTPUTS, scatter
}

/// The first numbers of a vector, then noughts.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn part<V: Vector>(from: *const f32, count: usize) -> V {
    let mut whole = [0.0; 16];
    // SAFETY: there are `count` numbers, fewer than a vector has.
    unsafe {
        whole.as_mut_ptr().copy_from_nonoverlapping(from, count);
        V::load(whole.as_ptr())
    }
}

/// The products of a tile on their way to an image.
#[derive(Debug)]
pub struct Gather {
    /// Of the first point, `COLUMNS` of a panel.
    pub products: *const f32,
    /// Numbers between two points.
    pub apart: usize,
    pub columns: Columns,
    /// Which pixel of the target the first output is, and how many pixels a line of the target has.
    pub place: usize,
    pub line: usize,
    /// Height and width of what is inside the target.
    pub size: [usize; 2],
    /// Whether it is the first tile of a part.
    pub first: bool,
}

/// Gathers a tile along both axes.
///
/// # Safety
/// As [`super::product::multiply`]; the products of all points are there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn gather<V: Vector, Y: Axis, X: Axis, const VECTORS: usize>(tile: &Gather) {
    let mut outputs = [[[MaybeUninit::<V>::uninit(); VECTORS]; MOST]; MOST];
    // SAFETY: the caller's promise.
    unsafe {
        for vector in 0..VECTORS {
            let products = tile.products.add(vector * V::LANES);
            let mut half = [[MaybeUninit::<V>::uninit(); MOST]; MOST];
            for x in 0..X::POINTS {
                let mut column = [V::zero(); MOST];
                for y in 0..Y::POINTS {
                    column[y] = V::load(products.add((y * X::POINTS + x) * tile.apart));
                }
                let column = axis::gather::<V, Y>(column);
                for y in 0..Y::OUTPUTS {
                    half[y][x].write(column[y]);
                }
            }
            for y in 0..Y::OUTPUTS {
                let mut line = [V::zero(); MOST];
                for x in 0..X::POINTS {
                    line[x] = half[y][x].assume_init();
                }
                let line = axis::gather::<V, X>(line);
                for x in 0..X::OUTPUTS {
                    outputs[y][x][vector].write(line[x]);
                }
            }
        }
        let size = [tile.size[0].min(Y::OUTPUTS), tile.size[1].min(X::OUTPUTS)];
        let outputs = Outputs { sums: &outputs, size, wide: X::OUTPUTS, place: tile.place, line: tile.line };
        finish_all(&tile.columns, &outputs, tile.first);
    }
}

/// The sums of a tile's outputs, of which `size` are inside; `wide` to a line of the tile.
struct Outputs<'a, V, const VECTORS: usize> {
    sums: &'a [[[MaybeUninit<V>; VECTORS]; MOST]; MOST],
    size: [usize; 2],
    wide: usize,
    /// Which pixel of the target the first one is, and how many pixels a line of the target has.
    place: usize,
    line: usize,
}

impl<V: Vector, const VECTORS: usize> Tile<V, VECTORS> for Outputs<'_, V, VECTORS> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    unsafe fn each<const EDGE: bool>(&self, columns: &Columns, mut taken: Option<&mut Taken<V, VECTORS>>) {
        for y in 0..self.size[0] {
            for x in 0..self.size[1] {
                // SAFETY: the caller's promise; what is inside has been written.
                unsafe {
                    let mut sums = [V::zero(); VECTORS];
                    for vector in 0..VECTORS {
                        sums[vector] = self.sums[y][x][vector].assume_init();
                    }
                    let place = (self.place + y * self.line + x, y * self.wide + x);
                    finish::<V, VECTORS, EDGE>(columns, sums, place, taken.as_deref_mut());
                }
            }
        }
    }
}
