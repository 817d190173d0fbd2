//! What stands behind a convolution's products, on vectors: channels come in blocks whose bits are two bytes.

use half::bf16;

use super::vector::{Engine, Vector};
use crate::nn::cpu::norm::{Affine, Back, Incoming, Loops, Passing, Values};
use crate::nn::cpu::stored::Numbers;

/// Channels of a block.
const BLOCK: usize = 16;
/// How far ahead of what it reads a loop asks for memory, in numbers: what the processor asks for by itself ends with a page.
const AHEAD: usize = 256;
type Block<N = f32> = [N; BLOCK];
type Bits = [u8; BLOCK / 8];

/// For channels that fill blocks; others that they are given are left out.
#[derive(Debug)]
pub struct WholeBlocks<E>(E);

impl<E: Engine> WholeBlocks<E> {
    /// `None` for other channels.
    pub fn new(engine: E, channels: usize) -> Option<Self> {
        channels.is_multiple_of(BLOCK).then_some(Self(engine))
    }
}

/// One of the loops.
#[derive(Debug)]
pub enum Pass<'a> {
    /// [`Loops::moments`].
    Moments(&'a [f32], [&'a mut [f32]; 2]),
    /// [`Loops::normalise`].
    Normalise(&'a Affine<f32>, Numbers<'a, f32>, Values<'a, f32>),
    /// [`Loops::sum`].
    Sum(Incoming<'a, f32>, Numbers<'a, f32>, &'a [f32], [&'a mut [f32]; 2]),
    /// [`Loops::back`].
    Back(&'a Back<f32>, Numbers<'a, f32>, Passing<'a, f32>, &'a mut [f32]),
}

impl<E: Engine> Loops<f32> for WholeBlocks<E> {
    fn moments(&self, products: &[f32], sums: [&mut [f32]; 2]) {
        self.0.norm(Pass::Moments(products, sums));
    }

    fn normalise(&self, affine: &Affine<f32>, products: Numbers<f32>, values: Values<f32>) {
        self.0.norm(Pass::Normalise(affine, products, values));
    }

    fn sum(&self, incoming: Incoming<f32>, products: Numbers<f32>, minus: &[f32], sums: [&mut [f32]; 2]) {
        self.0.norm(Pass::Sum(incoming, products, minus, sums));
    }

    fn back(&self, back: &Back<f32>, products: Numbers<f32>, gradient: Passing<f32>, to: &mut [f32]) {
        self.0.norm(Pass::Back(back, products, gradient, to));
    }
}

/// Runs a loop.
///
/// # Safety
/// Called from code compiled for the vector's instruction set, where the processor has it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "to be compiled for the instruction set")]
pub unsafe fn run<V: Vector>(pass: Pass) {
    const { assert!(BLOCK.is_multiple_of(V::LANES)) };
    // SAFETY: the caller's promise.
    unsafe {
        match pass {
            Pass::Moments(products, sums) => moments::<V>(products, sums),
            Pass::Normalise(affine, Numbers::Full(products), values) => normalise::<V, _>(affine, products, values),
            Pass::Normalise(affine, Numbers::Rounded(products), values) => normalise::<V, _>(affine, products, values),
            Pass::Sum(incoming, Numbers::Full(products), minus, sums) => sum::<V, _>(incoming, products, minus, sums),
            Pass::Sum(incoming, Numbers::Rounded(products), minus, sums) => {
                sum::<V, _>(incoming, products, minus, sums);
            }
            Pass::Back(back, Numbers::Full(products), gradient, to) => go_back::<V, _>(back, products, gradient, to),
            Pass::Back(back, Numbers::Rounded(products), gradient, to) => go_back::<V, _>(back, products, gradient, to),
        }
    }
}

/// A row of channels, block by block.
fn blocks<N>(row: &[N]) -> &[Block<N>] {
    row.as_chunks().0
}

/// Those of all channels: factor, minus, shift.
fn coefficients(Affine { factor, minus, shift }: &Affine<f32>) -> [&[Block]; 3] {
    [blocks(factor), blocks(minus), blocks(shift)]
}

/// The same to be written.
fn blocks_mut(row: &mut [f32]) -> &mut [Block] {
    row.as_chunks_mut().0
}

/// The bits of a block's vector that begins with channel `from`, the first of them lowest.
fn bits_from(bits: Bits, from: usize) -> u32 {
    u32::from(u16::from_le_bytes(bits)) >> from
}

/// A vector of a block that is read once, and so from memory.
///
/// # Safety
/// As of [`run`]; a block is whole vectors.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn read<V: Vector, N: Number>(block: &Block<N>, from: usize) -> V {
    let start = block.as_ptr();
    // SAFETY: the caller's promise.
    unsafe {
        V::prefetch(start.wrapping_add(from + AHEAD).cast());
        N::load(start.add(from))
    }
}

/// How a number lies in memory.
trait Number: Copy {
    /// As [`Vector::load`].
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Number for f32 {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::load(from) }
    }
}

impl Number for bf16 {
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "as above")]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: the caller's promise.
        unsafe { V::widen(from) }
    }
}

/// Whether pixels of this memory can be written past the caches.
fn takes_streams<V: Vector>(data: &[f32], stride: usize) -> bool {
    data.as_ptr().addr().is_multiple_of(size_of::<f32>() * V::LANES) && stride.is_multiple_of(V::LANES)
}

/// # Safety
/// As of [`run`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn moments<V: Vector>(products: &[f32], sums: [&mut [f32]; 2]) {
    let [above, squares] = sums.map(blocks_mut);
    let channels = above.len() * BLOCK;
    let first = blocks(&products[..channels]);
    for products in products.chunks_exact(channels) {
        for (place, product) in blocks(products).iter().enumerate() {
            for from in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: the caller's promise; a block is whole vectors.
                unsafe {
                    let at = |block: &Block| V::load(block.as_ptr().add(from));
                    let off = read::<V, _>(product, from).sub(at(&first[place]));
                    at(&above[place]).add(off).store(above[place].as_mut_ptr().add(from));
                    off.fma(off, at(&squares[place])).store(squares[place].as_mut_ptr().add(from));
                }
            }
        }
    }
}

/// # Safety
/// As of [`run`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn normalise<V: Vector, N: Number>(affine: &Affine<f32>, products: &[N], values: Values<f32>) {
    let Values { data, stride, shortcut, relu, bits, past_cache } = values;
    let streams = past_cache && takes_streams::<V>(data, stride);
    let channels = affine.factor.len();
    let (own, others) = (coefficients(affine), shortcut.and_then(|shortcut| shortcut.affine).map(coefficients));
    let rows = products.chunks_exact(channels).zip(data.chunks_mut(stride));
    for ((pixel, (products, data)), bits) in rows.enumerate().zip(bits.chunks_exact_mut(channels / 8)) {
        let (products, data, bits) = (blocks(products), blocks_mut(&mut data[..channels]), bits.as_chunks_mut().0);
        let shortcut = shortcut.map(|shortcut| shortcut.from(pixel).data);
        for place in 0..channels / BLOCK {
            let mut positive = 0;
            for from in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: as in `moments`.
                unsafe {
                    let at = |block: &Block| V::load(block.as_ptr().add(from));
                    let through = |product: V, [factor, minus, shift]: [&[Block]; 3]| {
                        product.add(at(&minus[place])).fma(at(&factor[place]), at(&shift[place]))
                    };
                    let mut value = through(read(&products[place], from), own);
                    if let Some(shortcut) = shortcut {
                        let other = match shortcut {
                            Numbers::Full(numbers) => read(&blocks(numbers)[place], from),
                            Numbers::Rounded(numbers) => read(&blocks(numbers)[place], from),
                        };
                        value = value.add(others.map_or(other, |others| through(other, others)));
                    }
                    if relu {
                        let bits;
                        (value, bits) = value.relu();
                        positive |= bits << from;
                    }
                    let to = data[place].as_mut_ptr().add(from);
                    if streams { value.stream(to) } else { value.store(to) }
                }
            }
            let all: Bits = if relu { (positive as u16).to_le_bytes() } else { [u8::MAX; 2] };
            bits[place] = all;
        }
    }
    if streams {
        // SAFETY: the caller's promise.
        unsafe { V::fence() };
    }
}

/// # Safety
/// As of [`run`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn sum<V: Vector, N: Number>(incoming: Incoming<f32>, products: &[N], minus: &[f32], sums: [&mut [f32]; 2]) {
    let channels = minus.len();
    let minus = blocks(minus);
    let [gradients, others] = sums.map(blocks_mut);
    let rows = products.chunks_exact(channels).zip(incoming.data.chunks(incoming.stride));
    for ((products, data), bits) in rows.zip(incoming.bits.chunks_exact(channels / 8)) {
        let (products, data, bits) = (blocks(products), blocks(&data[..channels]), bits.as_chunks().0);
        for place in 0..channels / BLOCK {
            for from in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: as in `moments`.
                unsafe {
                    let at = |block: &Block| V::load(block.as_ptr().add(from));
                    let gradient = read::<V, _>(&data[place], from).keep(bits_from(bits[place], from));
                    let above = read::<V, _>(&products[place], from).add(at(&minus[place]));
                    at(&gradients[place]).add(gradient).store(gradients[place].as_mut_ptr().add(from));
                    gradient.fma(above, at(&others[place])).store(others[place].as_mut_ptr().add(from));
                }
            }
        }
    }
}

/// # Safety
/// As of [`run`].
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
unsafe fn go_back<V: Vector, N: Number>(back: &Back<f32>, products: &[N], gradient: Passing<f32>, to: &mut [f32]) {
    let Passing { data, stride, bits, keep } = gradient;
    let channels = back.factor.len();
    // Always: these lines of cache hold another layer's gradients, which would be read first; steps are as long for small layers.
    let streams = takes_streams::<V>(to, channels);
    let (factor, slope) = (blocks(&back.factor), blocks(&back.slope));
    let (minus, shift) = (blocks(&back.minus), blocks(&back.shift));
    let rows = products.chunks_exact(channels).zip(data.chunks_mut(stride)).zip(to.chunks_exact_mut(channels));
    for (((products, data), to), bits) in rows.zip(bits.chunks_exact(channels / 8)) {
        let (products, data, bits) = (blocks(products), blocks_mut(&mut data[..channels]), bits.as_chunks().0);
        let to = blocks_mut(to);
        for place in 0..channels / BLOCK {
            for from in (0..BLOCK).step_by(V::LANES) {
                // SAFETY: as in `moments`.
                unsafe {
                    let at = |block: &Block| V::load(block.as_ptr().add(from));
                    let before = read::<V, _>(&data[place], from).keep(bits_from(bits[place], from));
                    let above = read::<V, _>(&products[place], from).add(at(&minus[place]));
                    let product = before.fma(at(&factor[place]), above.fma(at(&slope[place]), at(&shift[place])));
                    let to = to[place].as_mut_ptr().add(from);
                    if streams {
                        product.stream(to);
                    } else {
                        product.store(to);
                    }
                    if keep {
                        before.store(data[place].as_mut_ptr().add(from));
                    }
                }
            }
        }
    }
    if streams {
        // SAFETY: the caller's promise.
        unsafe { V::fence() };
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Plain;
    use super::*;
    use crate::nn::cpu::norm::Shortcut;
    use crate::nn::cpu::tests::numbers;

    const PIXELS: usize = 5;
    const CHANNELS: usize = 2 * BLOCK;

    fn some(salt: u64, count: usize) -> Vec<f32> {
        numbers(salt, count).into_iter().map(|value| value as f32).collect()
    }

    /// What all passes give: numbers and bits.
    fn all<V: Vector>() -> (Vec<f32>, Vec<u8>) {
        let channel = |salt| some(salt, CHANNELS);
        let (factor, minus, shift, slope) = (channel(1), channel(2), channel(3), channel(4));
        let affine = Affine { factor: factor.clone(), minus: minus.clone(), shift: shift.clone() };
        let back = Back { factor, slope, minus, shift };
        let [products, mut gradient, shortcut] = [5, 6, 7].map(|salt| some(salt, PIXELS * CHANNELS));
        let (mut value, mut bits) = (products.clone(), vec![0; PIXELS * CHANNELS / 8]);
        let mut sums = [[0.0; CHANNELS]; 4];
        let [first, second, third, fourth] = &mut sums;
        // SAFETY: it takes no instructions of its own.
        unsafe { run::<V>(Pass::Moments(&products, [third, fourth])) };
        let values = Values {
            data: &mut value,
            stride: CHANNELS,
            shortcut: Some(Shortcut { data: Numbers::Full(&shortcut), stride: CHANNELS, affine: Some(&affine) }),
            relu: true,
            bits: &mut bits,
            past_cache: true,
        };
        // SAFETY: as above.
        unsafe { run::<V>(Pass::Normalise(&affine, Numbers::Full(&products), values)) };
        let incoming = Incoming { data: &gradient, stride: CHANNELS, bits: &bits };
        // SAFETY: as above.
        unsafe { run::<V>(Pass::Sum(incoming, Numbers::Full(&products), &affine.minus, [first, second])) };
        let passing = Passing { data: &mut gradient, stride: CHANNELS, bits: &bits, keep: true };
        let mut by_products = vec![0.0; PIXELS * CHANNELS];
        // SAFETY: as above.
        unsafe { run::<V>(Pass::Back(&back, Numbers::Full(&products), passing, &mut by_products)) };
        ([value, sums.concat(), by_products, gradient].concat(), bits)
    }

    #[test]
    fn narrow_vectors_do_what_wide_ones_do() {
        let wide = all::<Plain<16>>();
        assert!(wide.0.iter().any(|&value| value > 0.5) && wide.1.iter().any(|&bits| bits != 0 && bits != u8::MAX));
        assert!(all::<Plain<4>>() == wide && all::<Plain<8>>() == wide);
    }
}
