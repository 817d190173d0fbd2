//! Finished sums of a tile come in, pixel by pixel, while they are in registers; what is summed of them over the pixels of a part
//! goes out: what batch norm needs of a batch, without reading it again.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index stays in registers")]

use super::product::{Seen, add, store, widen};
use super::vector::Vector;
use crate::nn::cpu::kernel::Parts;

/// Sums over the pixels of a part.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// What is added to, a panel's columns each; as many as `of` says.
    pub to: [*mut f32; MOST_TOTALS],
    pub of: Summed,
}

/// How many sums there are at most.
pub const MOST_TOTALS: usize = Parts::<f32>::ROWS;

/// What is summed.
#[derive(Clone, Copy, Debug)]
pub enum Summed {
    /// What a number is above that of the part's first pixel; the square of that.
    Moments {
        /// Where that is written, a panel's columns.
        first: *mut f32,
    },
    /// A number; that times what lies beneath it, of each that is there.
    Products([Option<Under>; MOST_TOTALS - 1]),
}

/// `products + minus`.
#[derive(Clone, Copy, Debug)]
pub struct Under {
    pub products: Seen,
    /// Numbers between two pixels.
    pub stride: usize,
    pub minus: *const f32,
}

/// [`Totals`] of one tile, in registers.
#[derive(Debug)]
pub struct Taken<V, const VECTORS: usize> {
    totals: Totals,
    sums: [[V; VECTORS]; MOST_TOTALS],
    /// Whether the next pixel is the part's first.
    first: bool,
}

impl<V: Vector, const VECTORS: usize> Taken<V, VECTORS> {
    /// Nothing yet; `first` of a part's tiles.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as in `product`")]
    pub unsafe fn new(totals: Totals, first: bool) -> Self {
        // SAFETY: the caller's promise.
        Self { totals, sums: [[unsafe { V::zero() }; VECTORS]; MOST_TOTALS], first }
    }

    /// Takes in what has become of a pixel.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as in `product`")]
    pub unsafe fn take_in<const EDGE: bool>(&mut self, values: &[V; VECTORS], place: usize, count: usize) {
        // SAFETY: as in `product::finish`.
        unsafe {
            match self.totals.of {
                Summed::Moments { first } => {
                    if self.first {
                        store(values, first);
                        self.first = false;
                    }
                    for vector in 0..VECTORS {
                        let above = values[vector].sub(V::load(first.add(vector * V::LANES)));
                        self.sums[0][vector] = self.sums[0][vector].add(above);
                        self.sums[1][vector] = above.fma(above, self.sums[1][vector]);
                    }
                }
                Summed::Products(under) => {
                    let [own, others @ ..] = &mut self.sums;
                    for vector in 0..VECTORS {
                        own[vector] = own[vector].add(values[vector]);
                    }
                    for (sums, under) in others.iter_mut().zip(under) {
                        let Some(Under { products, stride, minus }) = under else { continue };
                        let mut above = [V::zero(); VECTORS];
                        match products {
                            Seen::Full(start) => {
                                add::<V, VECTORS, EDGE>(&mut above, start.add(place * stride), count);
                            }
                            Seen::Rounded(start) => {
                                above = widen::<V, VECTORS, EDGE>(start.add(place * stride), count);
                            }
                        }
                        add::<V, VECTORS, EDGE>(&mut above, minus, count);
                        for vector in 0..VECTORS {
                            sums[vector] = values[vector].fma(above[vector], sums[vector]);
                        }
                    }
                }
            }
        }
    }

    /// Adds what was taken in to the part's.
    ///
    /// # Safety
    /// As [`super::product::multiply`].
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as in `product`")]
    pub unsafe fn add_up(mut self) {
        let count = match self.totals.of {
            Summed::Moments { .. } => 2,
            Summed::Products(under) => 1 + under.iter().flatten().count(),
        };
        for (sums, to) in self.sums.iter_mut().zip(self.totals.to).take(count) {
            // SAFETY: the caller's promise; all of a panel's columns are there.
            unsafe {
                add::<V, VECTORS, false>(sums, to, 0);
                store(sums, to);
            }
        }
    }
}
