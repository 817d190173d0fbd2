//! Pools of images forward, and their gradients by the input. Gradients are gathered, not scattered: each input pixel asks the
//! windows that cover it, so that lines can be worked on at the same time.

use std::ops::Range;

use super::kernel::{Source, Target};
use super::lanes;
use super::parallel::Threads;
use crate::nn::graph::Window;
use crate::nn::real::Real;

/// The taps of a window along one axis that see the image.
fn taps(output: usize, (kernel, stride, padding): (usize, usize, usize), size: usize) -> Range<usize> {
    let start = output * stride;
    padding.saturating_sub(start)..kernel.min((size + padding).saturating_sub(start))
}

/// The outputs along one axis whose windows cover a pixel.
fn covering(pixel: usize, (kernel, stride, padding): (usize, usize, usize), outputs: usize) -> Range<usize> {
    let place = pixel + padding;
    (place + 1).saturating_sub(kernel).div_ceil(stride)..outputs.min(place / stride + 1)
}

/// Kernel, stride and padding along the two axes.
fn axes(window: &Window) -> [(usize, usize, usize); 2] {
    let pad = [window.padding.top, window.padding.left];
    [0, 1].map(|axis| (window.kernel[axis], window.stride, pad[axis]))
}

impl<'a, T> Source<'a, T> {
    fn pixel(&self, [image, y, x]: [usize; 3]) -> &'a [T] {
        let start = ((image * self.size[0] + y) * self.size[1] + x) * self.stride;
        &self.data[start..start + self.channels]
    }
}

/// Calls `work` with each pixel of the target: image, row and column, and channels.
fn each_pixel<T: Real>(
    Target { data, stride, size, .. }: Target<T>,
    channels: usize,
    threads: Threads,
    work: impl Fn([usize; 3], &mut [T]) + Sync + Send,
) {
    threads.chunks(data, size[1] * stride, |line, pixels| {
        for (x, pixel) in pixels.chunks_mut(stride).enumerate() {
            work([line / size[0], line % size[0], x], &mut pixel[..channels]);
        }
    });
}

/// Which tap of its window each output of a max pool came from, `[images, pixels, channels]`: at most 256 taps.
pub type Arguments = [u8];

/// Max pool; the first of equals wins, padding never does.
pub fn max_forward<T: Real>(window: &Window, source: Source<T>, target: Target<T>, threads: Threads) {
    let [rows, columns] = axes(window);
    each_pixel(target, source.channels, threads, |[image, y, x], pixel| {
        pixel.fill(T::LEAST);
        for (ky, kx) in grid(taps(y, rows, source.size[0]), taps(x, columns, source.size[1])) {
            let seen = [image, y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2];
            lanes::maximum(pixel, source.pixel(seen));
        }
    });
}

/// Max pool that keeps which tap won.
pub fn max_forward_with<T: Real>(
    window: &Window,
    source: Source<T>,
    Target { data, stride, size, .. }: Target<T>,
    arguments: &mut Arguments,
    threads: Threads,
) {
    let ([rows, columns], channels) = (axes(window), source.channels);
    threads.pairs((data, size[1] * stride), (arguments, size[1] * channels), |line, pixels, arguments| {
        let (image, y) = (line / size[0], line % size[0]);
        let pixels = pixels.chunks_mut(stride).zip(arguments.chunks_exact_mut(channels));
        for (x, (pixel, argument)) in pixels.enumerate() {
            let pixel = &mut pixel[..channels];
            let (down, across) = (taps(y, rows, source.size[0]), taps(x, columns, source.size[1]));
            pixel.fill(T::LEAST);
            // Where nothing is greater than that, the first one inside has won.
            argument.fill((down.start * columns.0 + across.start) as u8);
            let seen = grid(down, across).map(|(ky, kx)| {
                let seen = [image, y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2];
                (source.pixel(seen), (ky * columns.0 + kx) as u8)
            });
            few_at_once(seen, |few| lanes::maximum_with(pixel, argument, few));
        }
    });
}

/// Winners that are compared at once.
const ALIKE: usize = 16;

/// How a max pool's slope between each image and the next, which are points of a path, is shared between the winners at both, each
/// output: the share of the first, of 255. On a straight line from one to the other the lead changes where the first one's is
/// used up. `output` is height and width of the outputs.
pub fn max_shares<T: Real>(
    window: &Window,
    source: Source<T>,
    output: [usize; 2],
    winners: &Arguments,
    shares: &mut [u8],
    threads: Threads,
) {
    let ([rows, columns], channels) = (axes(window), source.channels);
    let [height, width] = source.size;
    let image_size = output[0] * output[1] * channels;
    // Where a tap sees its pixel, from where the first one does: outside the image, perhaps, but then it did not win.
    let taps = grid(0..rows.0, 0..columns.0).map(|(ky, kx)| (ky * width + kx) * source.stride).collect::<Vec<_>>();
    threads.chunks(shares, output[1] * channels, |line, shares| {
        let (image, y) = (line / output[0], line % output[0]);
        for (x, shares) in shares.chunks_exact_mut(channels).enumerate() {
            let start = (line * output[1] + x) * channels;
            let [first, then] = [start, start + image_size].map(|start| winners[start..start + channels].chunks(ALIKE));
            let row = (image * height + y * rows.1).wrapping_sub(rows.2);
            let corner = (row.wrapping_mul(width)).wrapping_add(x * columns.1).wrapping_sub(columns.2);
            let corner = [corner, corner.wrapping_add(height * width)].map(|at| at.wrapping_mul(source.stride));
            let value = |end: usize, tap: u8, channel: usize| {
                source.data[corner[end].wrapping_add(taps[usize::from(tap)]).wrapping_add(channel)]
            };
            for ((block, shares), (first, then)) in shares.chunks_mut(ALIKE).enumerate().zip(first.zip(then)) {
                shares.fill(u8::MAX);
                // Between neighbours on a path most winners stay: they are passed over many at a time.
                if first == then {
                    continue;
                }
                for (lane, (share, (first, then))) in shares.iter_mut().zip(first.iter().zip(then)).enumerate() {
                    if first != then {
                        let [start, end] =
                            [0, 1].map(|end| [*first, *then].map(|winner| value(end, winner, block * ALIKE + lane)));
                        *share = share_of_first(start[0] - start[1], end[1] - end[0]);
                    }
                }
            }
        }
    });
}

/// Rows of an image that a loop over channels takes at once.
const FEW: usize = 9;

/// Calls `take` with a few rows at a time, until there are none.
fn few_at_once<'a, T: Real, F: Copy + Default>(
    mut rows: impl Iterator<Item = (&'a [T], F)>,
    mut take: impl FnMut(&[(&'a [T], F)]),
) {
    let mut few = [(&[][..], F::default()); FEW];
    loop {
        let mut count = 0;
        for (place, row) in few.iter_mut().zip(&mut rows) {
            *place = row;
            count += 1;
        }
        if count > 0 {
            take(&few[..count]);
        }
        if count < FEW {
            return;
        }
    }
}

/// `pixel` becomes the sum of rows, each times its factor, or that is added to it.
fn sum<'a, T: Real>(pixel: &mut [T], rows: impl Iterator<Item = (&'a [T], T)>, accumulate: bool) {
    let mut adds = accumulate;
    few_at_once(rows, |few| {
        lanes::sum(pixel, few, adds);
        adds = true;
    });
    if !adds {
        pixel.fill(T::ZERO);
    }
}

/// The share of the first winner, of 255, from its lead at the start and the other's at the end.
fn share_of_first<T: Real>(before: T, after: T) -> u8 {
    let sum = before + after;
    let part = if sum > T::ZERO { before / sum } else { T::from_f64(0.5) };
    T::to_byte(part * T::from_byte(u8::MAX))
}

/// The gradient of a max pool by its input, `source` being that by its output; `arguments` are those of the same images.
pub fn max_backward<T: Real>(
    window: &Window,
    source: Source<T>,
    arguments: &Arguments,
    target: Target<T>,
    accumulate: bool,
    threads: Threads,
) {
    from_windows(window, source, (target, accumulate), threads, |pixel, gradient, outputs, tap| {
        lanes::add_where(pixel, gradient, &arguments[outputs], tap);
    });
}

/// The gradient of a max pool by its input between each point of a path and the next, from the winners at all points and their
/// shares.
pub fn max_backward_between<T: Real>(
    window: &Window,
    source: Source<T>,
    (winners, shares): (&Arguments, &[u8]),
    target: Target<T>,
    accumulate: bool,
    threads: Threads,
) {
    let then = &winners[source.size[0] * source.size[1] * source.channels..];
    from_windows(window, source, (target, accumulate), threads, |pixel, gradient, outputs, tap| {
        let winners = [&winners[outputs.clone()], &then[outputs.clone()]];
        lanes::add_shares(pixel, gradient, winners, &shares[outputs], tap);
    });
}

/// Calls `add` for each pixel of the target and each window that covers it: the pixel, the window's gradient, where its outputs
/// are among all, and which of its taps the pixel is.
fn from_windows<T: Real>(
    window: &Window,
    source: Source<T>,
    (target, accumulate): (Target<T>, bool),
    threads: Threads,
    add: impl Fn(&mut [T], &[T], Range<usize>, u8) + Sync + Send,
) {
    let ([rows, columns], channels) = (axes(window), source.channels);
    each_pixel(target, channels, threads, |[image, y, x], pixel| {
        if !accumulate {
            pixel.fill(T::ZERO);
        }
        for (oy, ox) in grid(covering(y, rows, source.size[0]), covering(x, columns, source.size[1])) {
            let tap = (y + rows.2 - oy * rows.1) * columns.0 + (x + columns.2 - ox * columns.1);
            let start = ((image * source.size[0] + oy) * source.size[1] + ox) * channels;
            add(pixel, source.pixel([image, oy, ox]), start..start + channels, tap as u8);
        }
    });
}

/// One over the number of values that the window of output `(y, x)` averages.
fn share<T: Real>(window: &Window, count_padding: bool, size: [usize; 2], y: usize, x: usize) -> T {
    let [rows, columns] = axes(window);
    let count = if count_padding {
        window.kernel[0] * window.kernel[1]
    } else {
        taps(y, rows, size[0]).len() * taps(x, columns, size[1]).len()
    };
    T::from_f64(1.0 / count.max(1) as f64)
}

/// Average pool.
pub fn average_forward<T: Real>(
    (window, count_padding): (&Window, bool),
    source: Source<T>,
    target: Target<T>,
    threads: Threads,
) {
    let [rows, columns] = axes(window);
    each_pixel(target, source.channels, threads, |[image, y, x], pixel| {
        let share = share(window, count_padding, source.size, y, x);
        let seen = grid(taps(y, rows, source.size[0]), taps(x, columns, source.size[1]))
            .map(|(ky, kx)| (source.pixel([image, y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2]), T::ONE));
        // A share of each would be rounded once more.
        sum(pixel, seen, false);
        lanes::scale(pixel, share);
    });
}

/// The gradient of an average pool by its input, `source` being that by its output.
pub fn average_backward<T: Real>(
    (window, count_padding): (&Window, bool),
    source: Source<T>,
    target: Target<T>,
    accumulate: bool,
    threads: Threads,
) {
    let [rows, columns] = axes(window);
    let size = target.size;
    each_pixel(target, source.channels, threads, |[image, y, x], pixel| {
        let windows = grid(covering(y, rows, source.size[0]), covering(x, columns, source.size[1]));
        let share = |(oy, ox)| (source.pixel([image, oy, ox]), share(window, count_padding, size, oy, ox));
        sum(pixel, windows.map(share), accumulate);
    });
}

/// The mean over all pixels.
pub fn global_forward<T: Real>(source: Source<T>, target: Target<T>, threads: Threads) {
    let share = T::from_f64(1.0 / (source.size[0] * source.size[1]) as f64);
    each_pixel(target, source.channels, threads, |[image, ..], pixel| {
        let seen = grid(0..source.size[0], 0..source.size[1]);
        sum(pixel, seen.map(|(y, x)| (source.pixel([image, y, x]), T::ONE)), false);
        lanes::scale(pixel, share);
    });
}

/// The gradient of the mean over all pixels.
pub fn global_backward<T: Real>(source: Source<T>, target: Target<T>, accumulate: bool, threads: Threads) {
    let share = T::from_f64(1.0 / (target.size[0] * target.size[1]) as f64);
    each_pixel(target, source.channels, threads, |[image, ..], pixel| {
        sum(pixel, [(source.pixel([image, 0, 0]), share)].into_iter(), accumulate);
    });
}

/// All pairs, the second running faster.
fn grid(rows: Range<usize>, columns: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    rows.flat_map(move |row| columns.clone().map(move |column| (row, column)))
}
