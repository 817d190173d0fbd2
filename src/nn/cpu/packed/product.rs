//! The micro-kernel: pixels that lie anywhere times a panel, and what is done with the sums while they are in registers.

#![allow(clippy::needless_range_loop, reason = "what loops of known length index stays in registers")]

use std::mem::MaybeUninit;
use std::ops::RangeInclusive;

use half::bf16;

use super::totals::{Summed, Taken, Totals, Under};
use super::vector::{Products, Vector};

/// An offset that stands for a row of zeros: what a window sees outside the image.
pub const BORDER: usize = usize::MAX;

/// Another image, beginning with the strip's first column.
#[derive(Clone, Copy, Debug)]
pub struct Beside<P> {
    pub start: P,
    /// Elements between two pixels.
    pub stride: usize,
}

/// Numbers of another image, in full or rounded, beginning with the strip's first column.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    Full(*const f32),
    Rounded(*const bf16),
}

/// What is done with the finished sums, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    /// Added, one for each column of the panel, those that are not there included.
    pub bias: *const f32,
    pub residual: Option<Beside<*const f32>>,
    pub relu: bool,
    /// What is kept of the ReLU.
    pub keep: Keep,
    /// What the sum goes through at last.
    pub through: Option<Through>,
    /// What is summed of what has become of it, over pixels.
    pub totals: Option<Totals>,
}

/// What is kept of a ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Keep {
    Nothing,
    /// A bit for each column that is positive.
    Bits(Beside<*mut u8>),
    /// A byte for each column: the slope from the image before, as [`Vector::slopes`] says, where that image is.
    Slopes {
        to: Beside<*mut u8>,
        /// Pixels of an image. Each pixel must be finished for all images in turn before the next one.
        image: usize,
        /// What the ReLU saw of the image before: a panel's columns for each output of a tile.
        former: *mut f32,
    },
}

/// Another ReLU, on the way back.
#[derive(Clone, Copy, Debug)]
pub enum Through {
    /// A bit for each column: where none is set the sum becomes nought.
    Bits(Beside<*const u8>),
    /// A byte for each column, by which the sum is multiplied, of 255.
    Slopes(Beside<*const u8>),
}

/// The first column of a panel in pixel 0, in full or rounded.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    Full(*mut f32),
    Rounded(*mut bf16),
}

/// Where the columns of a panel go.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    pub target: Goal,
    /// Numbers between two pixels.
    pub stride: usize,
    /// How many there are; the panel's others are zeros.
    pub count: usize,
    /// Whether the sums are added to what the target has, which then is in full.
    pub add: bool,
    pub finish: Option<Finish>,
    /// Whether they are written past the caches, to whole vectors' places.
    pub past_cache: bool,
}

/// Some pixels by the columns of one panel.
#[derive(Debug)]
pub struct Strip<'a> {
    /// `[taps, words, columns of a panel]`.
    pub panel: *const f32,
    pub source: *const f32,
    /// As many as a tap has words.
    pub zeros: *const f32,
    /// Where each tap of each pixel begins in the source, or [`BORDER`]: `[tiles, taps, rows]`.
    pub offsets: &'a [usize],
    pub taps: usize,
    /// What a tap sees of a pixel: its channels, or pairs of them.
    pub words: usize,
    /// Pixels of a tile.
    pub rows: usize,
    /// Which pixel of the target each pixel is.
    pub places: &'a [usize],
    pub columns: Columns,
}

/// Pixels of each tile where there are `pixels` and a tile may have so many: as equal as can be.
pub fn rows(pixels: usize, may: &RangeInclusive<usize>) -> usize {
    pixels.div_ceil(pixels.div_ceil(*may.end())).max(*may.start())
}

/// Multiplies a strip whose tiles have `ROWS` pixels.
///
/// # Safety
/// The instruction set of `V` is there. Every offset that is not [`BORDER`] has a tap's words behind it in the source,
/// every place a pixel in the target and in all that lies beside it, `former` and totals room for its columns, and nothing else uses the
/// strip's columns of them.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
pub unsafe fn multiply<V: Vector, P: Products<V>, const ROWS: usize, const VECTORS: usize>(strip: &Strip) {
    assert!(strip.rows == ROWS && strip.offsets.len() >= strip.places.len().next_multiple_of(ROWS) * strip.taps);
    for (tile, places) in strip.places.chunks(ROWS).enumerate() {
        let offsets = strip.offsets[tile * strip.taps * ROWS..].as_ptr();
        // SAFETY: the caller's promise.
        unsafe {
            expect::<V>(&strip.columns, places);
            let mut sums = MaybeUninit::<[[V; VECTORS]; ROWS]>::uninit();
            let start = sums.as_mut_ptr().cast();
            sum::<V, P, ROWS, VECTORS>(strip, offsets, start);
            finish_all(&strip.columns, &Rows { sums: start, places }, tile == 0);
        }
    }
}

/// The sums of a tile's pixels, and where these are.
struct Rows<'a, V, const VECTORS: usize> {
    sums: *const [V; VECTORS],
    places: &'a [usize],
}

impl<V: Vector, const VECTORS: usize> Tile<V, VECTORS> for Rows<'_, V, VECTORS> {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    unsafe fn each<const EDGE: bool>(&self, columns: &Columns, mut taken: Option<&mut Taken<V, VECTORS>>) {
        for (row, place) in self.places.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { finish::<V, VECTORS, EDGE>(columns, *self.sums.add(row), (*place, 0), taken.as_deref_mut()) };
        }
    }
}

/// Asks for what will be added to the sums of a tile, so that it is there when they are.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn expect<V: Vector>(columns: &Columns, places: &[usize]) {
    let ask = |start: *const f32, stride: usize| {
        for place in places {
            let pixel = start.wrapping_add(place * stride);
            for line in 0..columns.count.div_ceil(LINE) {
                // SAFETY: the instruction set is there; the pointer may lead anywhere.
                unsafe { V::prefetch(pixel.wrapping_add(line * LINE)) };
            }
        }
    };
    if let (true, Goal::Full(target)) = (columns.add, columns.target) {
        ask(target, columns.stride);
    }
    if let Some(residual) = columns.finish.and_then(|finish| finish.residual) {
        ask(residual.start, residual.stride);
    }
    if let Some(Totals { of: Summed::Products(under), .. }) = columns.totals() {
        for Under { products, stride, .. } in under.iter().flatten() {
            match products {
                Seen::Full(start) => ask(*start, *stride),
                // Twice as many to a line of cache, and asked for twice: the other half is another panel's.
                Seen::Rounded(start) => ask(start.cast(), stride / 2),
            }
        }
    }
}

/// Writes the sums of one tile. All of them at constant places, so that until then they are registers and no array.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn sum<V: Vector, P: Products<V>, const ROWS: usize, const VECTORS: usize>(
    strip: &Strip,
    offsets: *const usize,
    to: *mut [V; VECTORS],
) {
    // SAFETY: as in `multiply`.
    unsafe {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        let mut panel = strip.panel;
        for tap in 0..strip.taps {
            let mut left = [strip.zeros; ROWS];
            for row in 0..ROWS {
                let offset = *offsets.add(tap * ROWS + row);
                left[row] = if offset == BORDER { strip.zeros } else { strip.source.add(offset) };
            }
            for step in 0..strip.words {
                let mut right = [V::zero(); VECTORS];
                for vector in 0..VECTORS {
                    right[vector] = V::load(panel.add(vector * V::LANES));
                }
                for line in 0..VECTORS * V::LANES / LINE {
                    V::prefetch(panel.wrapping_add(AHEAD + line * LINE));
                }
                for row in 0..ROWS {
                    let pixel = V::splat(*left[row].add(step));
                    for vector in 0..VECTORS {
                        sums[row][vector] = P::add(pixel, right[vector], sums[row][vector]);
                    }
                }
                panel = panel.add(VECTORS * V::LANES);
            }
        }
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                (*to.add(row))[vector] = sums[row][vector];
            }
        }
    }
}

impl Columns {
    fn totals(&self) -> Option<Totals> {
        self.finish.and_then(|finish| finish.totals)
    }
}

/// A tile whose sums are there.
pub trait Tile<V, const VECTORS: usize> {
    /// Calls [`finish`] for each pixel.
    ///
    /// # Safety
    /// As [`multiply`].
    unsafe fn each<const EDGE: bool>(&self, columns: &Columns, taken: Option<&mut Taken<V, VECTORS>>);
}

/// Writes the sums of a tile, the `first` of a part or not.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn finish_all<V: Vector, const VECTORS: usize>(
    columns: &Columns,
    tile: &impl Tile<V, VECTORS>,
    first: bool,
) {
    let whole = columns.count == VECTORS * V::LANES;
    // SAFETY: the caller's promise. Four loops, so that the most frequent one is free of what the others do.
    unsafe {
        let Some(totals) = columns.totals() else {
            return if whole { tile.each::<false>(columns, None) } else { tile.each::<true>(columns, None) };
        };
        let mut taken = Taken::new(totals, first);
        if whole {
            tile.each::<false>(columns, Some(&mut taken));
        } else {
            tile.each::<true>(columns, Some(&mut taken));
        }
        taken.add_up();
    }
}

/// Writes the sums of one pixel, which is the `output`-th of its tile.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn finish<V: Vector, const VECTORS: usize, const EDGE: bool>(
    columns: &Columns,
    sums: [V; VECTORS],
    (place, output): (usize, usize),
    taken: Option<&mut Taken<V, VECTORS>>,
) {
    let mut sums = sums;
    // Who takes sums on the way reads the numbers much later.
    let streams = taken.is_some() && columns.past_cache;
    // SAFETY: as in `multiply`; at an edge only the columns that are there are touched.
    unsafe {
        let count = if EDGE { columns.count } else { VECTORS * V::LANES };
        if let (true, Goal::Full(target)) = (columns.add, columns.target) {
            add::<V, VECTORS, EDGE>(&mut sums, target.add(place * columns.stride), count);
        }
        if let Some(finish) = &columns.finish {
            add::<V, VECTORS, false>(&mut sums, finish.bias, count);
            if let Some(residual) = &finish.residual {
                add::<V, VECTORS, EDGE>(&mut sums, residual.start.add(place * residual.stride), count);
            }
            if finish.relu {
                if let Keep::Slopes { to, image, former } = finish.keep {
                    let former = former.add(output * VECTORS * V::LANES);
                    if let Some(place) = place.checked_sub(image) {
                        slopes::<V, VECTORS, EDGE>(former, &sums, to.start.add(place * to.stride), count);
                    }
                    store(&sums, former);
                }
                let bits = relu(&mut sums);
                if let Keep::Bits(mask) = finish.keep {
                    let to = mask.start.add(place * mask.stride);
                    to.copy_from_nonoverlapping(bits.to_le_bytes().as_ptr(), count.div_ceil(8));
                }
            }
            match &finish.through {
                Some(Through::Bits(bits)) => {
                    let mut whole = [0; size_of::<u64>()];
                    let from = bits.start.add(place * bits.stride);
                    whole.as_mut_ptr().copy_from_nonoverlapping(from, count.div_ceil(8));
                    let bits = u64::from_le_bytes(whole);
                    for vector in 0..VECTORS {
                        sums[vector] = sums[vector].keep((bits >> (vector * V::LANES)) as u32);
                    }
                }
                Some(Through::Slopes(slopes)) => {
                    let mut whole = [0; MOST];
                    let mut from = slopes.start.add(place * slopes.stride);
                    if EDGE {
                        whole.as_mut_ptr().copy_from_nonoverlapping(from, count);
                        from = whole.as_ptr();
                    }
                    for vector in 0..VECTORS {
                        sums[vector] = sums[vector].weigh(from.add(vector * V::LANES));
                    }
                }
                None => (),
            }
        }
        if let Some(taken) = taken {
            taken.take_in::<EDGE>(&sums, place, count);
        }
        match columns.target {
            Goal::Full(target) => {
                write::<V, VECTORS, EDGE>(&sums, target.add(place * columns.stride), (count, streams));
            }
            Goal::Rounded(target) => {
                round::<V, VECTORS, EDGE>(&sums, target.add(place * columns.stride), (count, streams));
            }
        }
    }
}

/// Writes the columns that are there, past the caches or not.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn write<V: Vector, const VECTORS: usize, const EDGE: bool>(
    sums: &[V; VECTORS],
    to: *mut f32,
    (columns, streams): (usize, bool),
) {
    // SAFETY: as in `finish`.
    unsafe {
        if EDGE {
            let mut whole = [0.0; MOST];
            store(sums, whole.as_mut_ptr());
            to.copy_from_nonoverlapping(whole.as_ptr(), columns);
        } else if streams {
            for vector in 0..VECTORS {
                sums[vector].stream(to.add(vector * V::LANES));
            }
        } else {
            store(sums, to);
        }
    }
}

/// The same, rounded.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn round<V: Vector, const VECTORS: usize, const EDGE: bool>(
    sums: &[V; VECTORS],
    to: *mut bf16,
    (columns, streams): (usize, bool),
) {
    // SAFETY: as in `finish`.
    unsafe {
        let mut whole = [bf16::ZERO; MOST];
        let start = if EDGE { whole.as_mut_ptr() } else { to };
        for vector in 0..VECTORS {
            let place = start.add(vector * V::LANES);
            if streams && !EDGE { sums[vector].stream_rounded(place) } else { sums[vector].round(place) }
        }
        if EDGE {
            to.copy_from_nonoverlapping(whole.as_ptr(), columns);
        }
    }
}

/// Writes all columns.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn store<V: Vector, const VECTORS: usize>(sums: &[V; VECTORS], to: *mut f32) {
    for vector in 0..VECTORS {
        // SAFETY: as in `finish`.
        unsafe { sums[vector].store(to.add(vector * V::LANES)) };
    }
}

/// Writes the slopes of a ReLU between two images, of `columns` that are there.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn slopes<V: Vector, const VECTORS: usize, const EDGE: bool>(
    former: *const f32,
    sums: &[V; VECTORS],
    to: *mut u8,
    columns: usize,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let mut whole = [0; MOST];
        let start = if EDGE { whole.as_mut_ptr() } else { to };
        for vector in 0..VECTORS {
            let from = V::load(former.add(vector * V::LANES));
            V::slopes(from, sums[vector], start.add(vector * V::LANES));
        }
        if EDGE {
            to.copy_from_nonoverlapping(whole.as_ptr(), columns);
        }
    }
}

/// Cuts off what is not positive; a bit for each column that is.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn relu<V: Vector, const VECTORS: usize>(sums: &mut [V; VECTORS]) -> u64 {
    let mut bits = 0;
    for vector in 0..VECTORS {
        // SAFETY: as in `multiply`.
        let (value, positive) = unsafe { sums[vector].relu() };
        sums[vector] = value;
        bits |= u64::from(positive) << (vector * V::LANES);
    }
    bits
}

/// Numbers of a line of cache.
const LINE: usize = 16;
/// How far ahead of what it reads a tile asks for its panel, in numbers.
const AHEAD: usize = 1024;
/// Columns of a panel at most.
pub const MOST: usize = 64;

/// Adds numbers from memory, of which `columns` are there.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn add<V: Vector, const VECTORS: usize, const EDGE: bool>(
    sums: &mut [V; VECTORS],
    from: *const f32,
    columns: usize,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let mut whole = [0.0; MOST];
        let mut from = from;
        if EDGE {
            whole.as_mut_ptr().copy_from_nonoverlapping(from, columns);
            from = whole.as_ptr();
        }
        for vector in 0..VECTORS {
            sums[vector] = sums[vector].add(V::load(from.add(vector * V::LANES)));
        }
    }
}

/// Reads numbers that are rounded, of which `columns` are there.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
pub unsafe fn widen<V: Vector, const VECTORS: usize, const EDGE: bool>(
    from: *const bf16,
    columns: usize,
) -> [V; VECTORS] {
    // SAFETY: as in `finish`.
    unsafe {
        let mut whole = [bf16::ZERO; MOST];
        let mut from = from;
        if EDGE {
            whole.as_mut_ptr().copy_from_nonoverlapping(from, columns);
            from = whole.as_ptr();
        }
        let mut numbers = [V::zero(); VECTORS];
        for vector in 0..VECTORS {
            numbers[vector] = V::widen(from.add(vector * V::LANES));
        }
        numbers
    }
}
