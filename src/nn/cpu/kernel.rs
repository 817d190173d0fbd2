//! What an instruction set makes of a convolution, and the images that go in and out.

use std::borrow::Cow;
use std::fmt::Debug;
use std::iter;
use std::ops::Range;

use super::lanes;
use super::packed::Workspace;
use super::parallel::{Shared, Spares, Threads};
use super::stored::{Numbers, NumbersMut};
use crate::nn::graph::Window;
use crate::nn::real::Real;

/// Bits of a ReLU, pixel after pixel: one for each channel, set where its value was positive. `data` begins with channel 0 of
/// pixel 0.
#[derive(Clone, Copy, Debug)]
pub struct Bits<'a> {
    pub data: &'a [u8],
    /// Bytes between two pixels.
    pub stride: usize,
}

/// The same, to be written.
#[derive(Debug)]
pub struct BitsMut<'a> {
    pub data: &'a mut [u8],
    /// Bytes between two pixels.
    pub stride: usize,
}

/// Slopes of a ReLU between two points of a path, pixel after pixel: a byte for each channel, 255 for a slope of 1.
/// `data` begins with channel 0 of pixel 0.
#[derive(Clone, Copy, Debug)]
pub struct Slopes<'a> {
    pub data: &'a [u8],
    /// Bytes between two pixels.
    pub stride: usize,
}

/// The same, to be written.
#[derive(Debug)]
pub struct SlopesMut<'a> {
    pub data: &'a mut [u8],
    /// Bytes between two pixels.
    pub stride: usize,
}

/// What a gradient goes through on its way back over a ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a> {
    /// At one point: through or not.
    Bits(Bits<'a>),
    /// Between two points: the share of the way on which it is through.
    Slopes(Slopes<'a>),
}

/// What a convolution does with its ReLU, if it has one.
#[derive(Debug)]
pub enum Relu<'a> {
    /// Applies it.
    Apply,
    /// Applies it and keeps the bits.
    Keep(BitsMut<'a>),
    /// Applies it and keeps its slopes between each image and the next.
    Between(SlopesMut<'a>),
}

/// Bytes of the bits of a pixel.
pub fn mask_bytes(channels: usize) -> usize {
    channels.div_ceil(lanes::MASK)
}

/// Images of one shape that are read, pixel after pixel, image after image: `data` begins with channel 0 of pixel 0.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a, T> {
    pub data: &'a [T],
    /// How many.
    pub images: usize,
    /// Height and width.
    pub size: [usize; 2],
    pub channels: usize,
    /// Numbers between two pixels.
    pub stride: usize,
}

impl<'a, T> Source<'a, T> {
    /// Of all images.
    pub fn pixels(&self) -> usize {
        self.images * self.size[0] * self.size[1]
    }

    /// The channels of each pixel.
    pub fn rows(&self) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let channels = self.channels;
        self.data.chunks(self.stride).take(self.pixels()).map(move |row| &row[..channels])
    }

    /// One of the images alone.
    pub fn image(&self, image: usize) -> Self {
        self.some(image..image + 1)
    }

    /// Some of the images alone.
    pub fn some(&self, images: Range<usize>) -> Self {
        let length = self.size[0] * self.size[1] * self.stride;
        let end = self.data.len().min(images.end * length);
        Self { data: &self.data[images.start * length..end], images: images.len(), ..*self }
    }
}

/// Images of one shape that are written: `data` begins with channel 0 of pixel 0.
#[derive(Debug)]
pub struct Target<'a, T> {
    pub data: &'a mut [T],
    /// How many.
    pub images: usize,
    /// Numbers between two pixels.
    pub stride: usize,
    /// Height and width.
    pub size: [usize; 2],
}

impl<T> Target<'_, T> {
    /// All of them, for a while.
    pub fn all(&mut self) -> Target<'_, T> {
        Target { data: &mut *self.data, ..*self }
    }

    /// One of the images alone.
    pub fn image(&mut self, image: usize) -> Target<'_, T> {
        self.some(image..image + 1)
    }

    /// Some of the images alone.
    pub fn some(&mut self, images: Range<usize>) -> Target<'_, T> {
        let length = self.size[0] * self.size[1] * self.stride;
        let end = self.data.len().min(images.end * length);
        Target { data: &mut self.data[images.start * length..end], images: images.len(), ..*self }
    }
}

/// What is added before the ReLU.
#[derive(Clone, Copy, Debug)]
pub enum Residual<'a, T> {
    /// Nothing.
    None,
    /// What already lies where the result goes.
    InPlace,
    /// Other images of the result's shape.
    Images(Source<'a, T>),
}

/// A thread's buffers, made once.
#[derive(Debug, Default)]
pub struct Buffers<T> {
    /// Patches of the portable path.
    pub patches: Vec<T>,
    /// A product on its way to where it belongs.
    pub spare: Vec<T>,
    /// Of the packed path.
    pub packed: Workspace,
}

/// Who works, and with what.
pub type Workers<'a, T> = (Threads, &'a Spares<Buffers<T>>);

/// Sums over the pixels that a convolution writes, channel by channel: in parts, as its tasks have taken them.
#[derive(Debug, Default)]
pub struct Parts<T> {
    /// Part after part, [`Parts::ROWS`] of `width` numbers.
    numbers: Vec<T>,
    /// Pixels of each.
    pixels: Vec<usize>,
    width: usize,
}

impl<T: Real> Parts<T> {
    /// Rows of a part.
    pub const ROWS: usize = 3;

    /// Forgets what there is; rows have so many numbers from now on.
    pub fn clear(&mut self, width: usize) {
        self.numbers.clear();
        self.pixels.clear();
        self.width = width;
    }

    /// More parts, whose sums are nought: their rows. `pixels` adds those of each.
    pub fn open(&mut self, pixels: impl FnOnce(&mut Vec<usize>)) -> Shared<'_, T> {
        let before = self.numbers.len();
        pixels(&mut self.pixels);
        self.numbers.resize(self.pixels.len() * Self::ROWS * self.width, T::ZERO);
        Shared::new(&mut self.numbers[before..], self.width)
    }

    /// Pixels of each part, and its rows.
    pub fn iter(&self) -> impl Iterator<Item = (usize, [&[T]; 3])> {
        let rows = self.numbers.chunks_exact(Self::ROWS * self.width);
        self.pixels.iter().copied().zip(rows).map(|(pixels, rows)| {
            let (first, rest) = rows.split_at(self.width);
            let (second, third) = rest.split_at(self.width);
            (pixels, [first, second, third])
        })
    }
}

/// A convolution, ready to run.
pub trait Forward<T: Clone>: Debug + Send + Sync {
    /// `target = relu(conv(source) + bias + residual)`, image by image.
    fn run(&self, source: Source<T>, target: Target<T>, residual: Residual<T>, relu: Relu, workers: Workers<T>);

    /// Whether products may be kept rounded, since they are made of numbers with no more digits. Then
    /// [`Forward::run_with_moments`] always runs.
    fn rounds(&self) -> bool {
        false
    }

    /// `target = relu(conv(source) + bias)`, of dense pixels of images of `size`; and of each part of its pixels the sums of what a
    /// value is above that of the part's first pixel, those of the squares of that, and that pixel itself, before it is rounded if
    /// it is; the numbers are taken for such as are read much later. Does nothing and says `false` where there is nothing to gain.
    fn run_with_moments(
        &self,
        _source: Source<T>,
        _target: NumbersMut<T>,
        _size: [usize; 2],
        _parts: &mut Parts<T>,
        _workers: Workers<T>,
    ) -> bool {
        false
    }

    /// The kernel that it was made of, `[height, width, in, out]`: the same numbers, or as near as products have them.
    fn kernel(&self) -> Cow<'_, [T]>;

    /// Takes another kernel and bias of the same shapes, in the memory of the old ones.
    fn update(&mut self, kernel: &[T], bias: &[T]);
}

/// What a gradient is multiplied with in sums: `products + minus`, channel by channel, of pixels that lie together.
#[derive(Clone, Copy, Debug)]
pub struct Beneath<'a, T> {
    pub products: Numbers<'a, T>,
    pub minus: &'a [T],
}

/// A convolution's gradient by its input, ready to run.
pub trait Backward<T>: Debug + Send + Sync {
    /// The gradient by the input (into `target`, or added to it) from that by the output (`source`, already through its
    /// ReLU). With a `gate` the sum then goes through the ReLU that the input came out of.
    fn run(&self, source: Source<T>, target: Target<T>, accumulate: bool, gate: Option<Gate>, workers: Workers<T>);

    /// The same, and of each part of the target's pixels the sums of what they have become, and those of that times what lies
    /// beneath: up to two images. Does nothing and says `false` where there is nothing to gain.
    fn run_with_sums(
        &self,
        _: Source<T>,
        _: Target<T>,
        _: (bool, Option<Gate>),
        _: &[Beneath<T>],
        _: &mut Parts<T>,
        _: Workers<T>,
    ) -> bool {
        false
    }

    /// Takes another kernel of the same shape, `[height, width, in, out]`; `spare` is there to be written to.
    fn update(&mut self, kernel: &[T], spare: &mut Vec<T>);
}

/// A convolution's gradient by its kernel and bias, ready to run.
pub trait WeightGradient<T>: Debug + Send + Sync {
    /// From what the convolution has seen (`source`) and the gradient by its output: into `kernel`, `[height, width, in, out]`,
    /// for each tap the sum over all pixels of what it saw there times the gradient; into `bias`, `[out]`, that of the
    /// gradient.
    fn run(&self, source: Source<T>, gradient: Source<T>, kernel: &mut [T], bias: &mut [T], workers: Workers<T>);
}

/// Where a window goes, in each of some images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub kernel: [usize; 2],
    pub stride: usize,
    /// Row and column of the image that the window of output pixel (0, 0) begins with; negative in the padding.
    pub origin: [isize; 2],
    /// Height and width of the output.
    pub grid: [usize; 2],
}

impl Sweep {
    /// That of a convolution's window, for an output of `grid`.
    pub fn new(Window { kernel, stride, padding }: Window, grid: [usize; 2]) -> Self {
        Self { kernel, stride, origin: [-(padding.top as isize), -(padding.left as isize)], grid }
    }

    /// Image, row and column of an output pixel, where each pixel of `together` images is counted before their next one.
    fn place(&self, place: usize, together: usize) -> [usize; 3] {
        let [height, width] = self.grid;
        let (pixel, image) = (place / together, place % together);
        [pixel / (height * width) * together + image, pixel / width % height, pixel % width]
    }

    /// The same of all output pixels from `first` on, without a division for each.
    pub fn places(&self, first: usize, together: usize) -> impl Iterator<Item = [usize; 3]> + use<> {
        let [height, width] = self.grid;
        let next = move |&([image, y, x], among): &([usize; 3], usize)| {
            let first = image - among;
            Some(if among + 1 < together {
                ([image + 1, y, x], among + 1)
            } else if x + 1 < width {
                ([first, y, x + 1], 0)
            } else if y + 1 < height {
                ([first, y + 1, 0], 0)
            } else {
                ([first + together, 0, 0], 0)
            })
        };
        iter::successors(Some((self.place(first, together), first % together)), next).map(|(place, _)| place)
    }
}

/// The gradient before a ReLU, from that after it.
pub fn through_relu<T: Real>(target: Target<T>, channels: usize, gate: Gate, threads: Threads) {
    let Target { data, stride, size: [_, width], .. } = target;
    let (kept, apart) = match gate {
        Gate::Bits(Bits { data, stride }) | Gate::Slopes(Slopes { data, stride }) => (data, stride),
    };
    threads.chunks(data, width * stride, |row, line| {
        for (pixel, kept) in line.chunks_mut(stride).zip(kept[row * width * apart..].chunks(apart)) {
            match gate {
                Gate::Bits(_) => lanes::apply_mask(&mut pixel[..channels], kept),
                Gate::Slopes(_) => lanes::apply_slopes(&mut pixel[..channels], kept),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_follow_each_other(
            grid in [1usize..5, 1usize..5],
            groups in 1usize..4,
            together in 1usize..4,
            first in 0usize..20,
        ) {
            let sweep = Sweep { kernel: [1, 1], stride: 1, origin: [0, 0], grid };
            let all = grid[0] * grid[1] * groups * together;
            let first = first % all;
            let expected: Vec<_> = (first..all).map(|place| sweep.place(place, together)).collect();
            prop_assert_eq!(sweep.places(first, together).take(all - first).collect::<Vec<_>>(), expected);
        }
    }
}
