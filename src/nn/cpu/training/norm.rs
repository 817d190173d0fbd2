//! What stands between a convolution's products and its value, over all pixels of a batch or some of its images: chunks go to
//! the loops of an instruction set, and sums of chunks become those of all pixels.

use crate::nn::cpu::kernel::{Parts, mask_bytes};
use crate::nn::cpu::lanes::lanes;
use crate::nn::cpu::norm::{Affine, Back, Incoming, Loops, Passing, Values};
use crate::nn::cpu::parallel::{Threads, at_least};
use crate::nn::cpu::stored::Numbers;
use crate::nn::real::Real;

/// Numbers that a thread takes at once: enough that sums of chunks are few; few in tests.
const CHUNK: usize = if cfg!(test) { 4 * 1024 } else { 64 * 1024 };
/// Pixels that it takes at least: sums of a chunk are as many numbers as two pixels.
const LEAST: usize = 32;
/// Channels whose sums a thread takes in at once.
const TOGETHER: usize = 32;

/// Pixels of a chunk. Independent of the number of threads, so that sums are too.
fn chunk(channels: usize) -> usize {
    (CHUNK / channels).max(LEAST)
}

/// Mean and (biased) variance of each channel over all pixels that were taken in.
#[derive(Clone, Debug)]
pub struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
    pixels: usize,
}

impl Moments {
    /// Of so many channels, and no pixel.
    pub fn new(channels: usize) -> Self {
        Self { mean: vec![0.0; channels], variance: vec![0.0; channels], pixels: 0 }
    }

    /// Forgets all pixels.
    pub fn clear(&mut self) {
        self.mean.fill(0.0);
        self.variance.fill(0.0);
        self.pixels = 0;
    }

    /// Takes in `products`; `spare` holds the sums of their chunks on the way.
    pub fn take_in<T: Real>(&mut self, loops: &dyn Loops<T>, products: &[T], spare: &mut Vec<T>, threads: Threads) {
        let channels = self.mean.len();
        let (pixels, length) = (products.len() / channels, chunk(channels));
        let sums = at_least(spare, pixels.div_ceil(length) * 2 * channels);
        threads.chunks(sums, 2 * channels, |place, sums| {
            let end = products.len().min((place + 1) * length * channels);
            sums.fill(T::ZERO);
            loops.moments(&products[place * length * channels..end], sums.split_at_mut(channels).into());
        });
        for (place, sums) in sums.chunks_exact(2 * channels).enumerate() {
            let first = &products[place * length * channels..][..channels];
            let (above, squares) = sums.split_at(channels);
            let more = length.min(pixels - place * length);
            join(&mut self.mean, &mut self.variance, [above, squares, first], [self.pixels, more]);
            self.pixels += more;
        }
    }

    /// Takes in what a convolution has summed on the way.
    pub fn take_in_parts<T: Real>(&mut self, parts: &Parts<T>, threads: Threads) {
        let before = self.pixels;
        threads.pairs((&mut self.mean, TOGETHER), (&mut self.variance, TOGETHER), |place, mean, variance| {
            let channels = place * TOGETHER..place * TOGETHER + mean.len();
            let mut before = before;
            for (pixels, rows) in parts.iter() {
                join(mean, variance, rows.map(|row| &row[channels.clone()]), [before, pixels]);
                before += pixels;
            }
        });
        self.pixels += parts.iter().map(|(pixels, _)| pixels).sum::<usize>();
    }
}

lanes! {
    /// Takes into mean and variance of so many pixels those of so many more, of which `rows` are the sums of what they are above
    /// the first one, of the squares of that, and the first one.
    ///
    /// Taken from the first one nothing is lost that the variance would miss: a square of its distance from the mean is among those
    /// that the variance is the mean of. The rest is the formula of Chan et al. 1983.
    fn join<T>(mean: &mut [f64], variance: &mut [f64], rows: [&[T]; 3], pixels: [usize; 2]) {
        let [before, more] = pixels.map(|pixels| pixels as f64);
        let (each, share) = (1.0 / more, more / (before + more));
        let rows = rows[0].iter().zip(rows[1]).zip(rows[2]);
        for ((mean, variance), ((above, square), first)) in mean.iter_mut().zip(variance).zip(rows) {
            let above = above.to_f64() * each;
            let own = (square.to_f64() * each - above * above).max(0.0);
            let off = first.to_f64() + above - *mean;
            *mean += off * share;
            *variance += (own - *variance + off * off * (1.0 - share)) * share;
        }
    }
}

/// The sums that gradients of a batch norm consist of, per channel, over all pixels that were taken in.
#[derive(Clone, Debug)]
pub struct Sums {
    /// Of the gradient.
    pub gradient: Vec<f64>,
    /// Of the gradient times what the product is above the mean.
    pub product: Vec<f64>,
}

impl Sums {
    /// Of so many channels, and no pixel.
    pub fn new(channels: usize) -> Self {
        Self { gradient: vec![0.0; channels], product: vec![0.0; channels] }
    }

    /// Forgets all pixels.
    pub fn clear(&mut self) {
        self.gradient.fill(0.0);
        self.product.fill(0.0);
    }

    /// Takes in a gradient, where products were like this; `spare` holds the sums of chunks on the way.
    pub fn take_in<T: Real>(
        &mut self,
        loops: &dyn Loops<T>,
        incoming: Incoming<T>,
        (products, minus): (Numbers<T>, &[T]),
        spare: &mut Vec<T>,
        threads: Threads,
    ) {
        let channels = minus.len();
        let (pixels, length, bytes) = (products.len() / channels, chunk(channels), mask_bytes(channels));
        let sums = at_least(spare, pixels.div_ceil(length) * 2 * channels);
        threads.chunks(sums, 2 * channels, |place, sums| {
            let end = products.len().min((place + 1) * length * channels);
            let incoming = Incoming {
                data: &incoming.data[place * length * incoming.stride..],
                bits: &incoming.bits[place * length * bytes..],
                ..incoming
            };
            sums.fill(T::ZERO);
            let products = products.some(place * length * channels..end);
            loops.sum(incoming, products, minus, sums.split_at_mut(channels).into());
        });
        for sums in sums.chunks_exact(2 * channels) {
            let (gradient, product) = sums.split_at(channels);
            add(&mut self.gradient, gradient);
            add(&mut self.product, product);
        }
    }

    /// Takes in what a convolution's gradient has summed on the way, with the first or the second of what lies beneath.
    pub fn take_in_parts<T: Real>(&mut self, parts: &Parts<T>, beneath: usize, threads: Threads) {
        threads.pairs((&mut self.gradient, TOGETHER), (&mut self.product, TOGETHER), |place, gradients, products| {
            for (_, [gradient, rows @ ..]) in parts.iter() {
                add(gradients, &gradient[place * TOGETHER..]);
                add(products, &rows[beneath][place * TOGETHER..]);
            }
        });
    }
}

lanes! {
    fn add<T>(sums: &mut [f64], more: &[T]) {
        sums.iter_mut().zip(more).for_each(|(sum, value)| *sum += value.to_f64());
    }
}

/// Products become values, all of them.
pub fn normalise<T: Real>(
    loops: &dyn Loops<T>,
    affine: &Affine<T>,
    products: Numbers<T>,
    Values { data, stride, shortcut, relu, bits, past_cache }: Values<T>,
    threads: Threads,
) {
    let channels = affine.factor.len();
    let (length, bytes) = (chunk(channels), mask_bytes(channels));
    threads.pairs((data, length * stride), (bits, length * bytes), |place, data, bits| {
        let end = products.len().min((place + 1) * length * channels);
        let shortcut = shortcut.map(|shortcut| shortcut.from(place * length));
        let values = Values { data, stride, shortcut, relu, bits, past_cache };
        loops.normalise(affine, products.some(place * length * channels..end), values);
    });
}

/// Gradients by values become those by products, all of them.
pub fn go_back<T: Real>(
    loops: &dyn Loops<T>,
    back: &Back<T>,
    products: Numbers<T>,
    Passing { data, stride, bits, keep }: Passing<T>,
    to: &mut [T],
    threads: Threads,
) {
    let channels = back.factor.len();
    let (length, bytes) = (chunk(channels), mask_bytes(channels));
    threads.pairs((to, length * channels), (data, length * stride), |place, to, data| {
        let first = place * length * channels;
        let gradient = Passing { data, stride, bits: &bits[place * length * bytes..], keep };
        loops.back(back, products.some(first..first + to.len()), gradient, to);
    });
}
