//! Pools of one image forward, and their gradients by the input. Gradients are gathered, not scattered: each input pixel asks the
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
    fn pixel(&self, y: usize, x: usize) -> &'a [T] {
        let start = (y * self.size[1] + x) * self.stride;
        &self.data[start..start + self.channels]
    }
}

/// Calls `work` with each pixel of the target: row, column, channels.
fn each_pixel<T: Real>(
    target: Target<T>,
    channels: usize,
    threads: Threads,
    work: impl Fn(usize, usize, &mut [T]) + Sync + Send,
) {
    let Target { data, stride, size, .. } = target;
    threads.chunks(data, size[1] * stride, |y, line| {
        for (x, pixel) in line.chunks_mut(stride).enumerate() {
            work(y, x, &mut pixel[..channels]);
        }
    });
}

/// Which tap of its window each output of a max pool came from, `[pixels, channels]`: at most 256 taps.
pub type Arguments = [u8];

/// Max pool; the first of equals wins, padding never does.
pub fn max_forward<T: Real>(window: &Window, source: Source<T>, target: Target<T>, threads: Threads) {
    let [rows, columns] = axes(window);
    each_pixel(target, source.channels, threads, |y, x, pixel| {
        pixel.fill(T::LEAST);
        for (ky, kx) in grid(taps(y, rows, source.size[0]), taps(x, columns, source.size[1])) {
            lanes::maximum(pixel, source.pixel(y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2));
        }
    });
}

/// Max pool that keeps which tap won.
pub fn max_forward_with<T: Real>(window: &Window, source: Source<T>, target: Target<T>, arguments: &mut Arguments) {
    let [rows, columns] = axes(window);
    let (Target { data, stride, size, .. }, channels) = (target, source.channels);
    for ((place, pixel), argument) in data.chunks_mut(stride).enumerate().zip(arguments.chunks_exact_mut(channels)) {
        let (y, x) = (place / size[1], place % size[1]);
        let pixel = &mut pixel[..channels];
        pixel.fill(T::LEAST);
        for (ky, kx) in grid(taps(y, rows, source.size[0]), taps(x, columns, source.size[1])) {
            let value = source.pixel(y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2);
            lanes::maximum_with(pixel, argument, value, (ky * columns.0 + kx) as u8);
        }
    }
}

/// The gradient of a max pool by its input, `source` being that by its output.
pub fn max_backward<T: Real>(
    window: &Window,
    source: Source<T>,
    arguments: &Arguments,
    target: Target<T>,
    accumulate: bool,
    threads: Threads,
) {
    let [rows, columns] = axes(window);
    let channels = source.channels;
    each_pixel(target, channels, threads, |y, x, pixel| {
        if !accumulate {
            pixel.fill(T::ZERO);
        }
        for (oy, ox) in grid(covering(y, rows, source.size[0]), covering(x, columns, source.size[1])) {
            let tap = (y + rows.2 - oy * rows.1) * columns.0 + (x + columns.2 - ox * columns.1);
            let start = (oy * source.size[1] + ox) * channels;
            lanes::add_where(pixel, source.pixel(oy, ox), &arguments[start..start + channels], tap as u8);
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
    each_pixel(target, source.channels, threads, |y, x, pixel| {
        pixel.fill(T::ZERO);
        for (ky, kx) in grid(taps(y, rows, source.size[0]), taps(x, columns, source.size[1])) {
            lanes::add(pixel, source.pixel(y * rows.1 + ky - rows.2, x * columns.1 + kx - columns.2));
        }
        lanes::scale(pixel, share(window, count_padding, source.size, y, x));
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
    each_pixel(target, source.channels, threads, |y, x, pixel| {
        if !accumulate {
            pixel.fill(T::ZERO);
        }
        for (oy, ox) in grid(covering(y, rows, source.size[0]), covering(x, columns, source.size[1])) {
            lanes::add_scaled(pixel, source.pixel(oy, ox), share(window, count_padding, size, oy, ox));
        }
    });
}

/// The mean over all pixels.
pub fn global_forward<T: Real>(source: Source<T>, Target { data, .. }: Target<T>) {
    let pixels = source.size[0] * source.size[1];
    let target = &mut data[..source.channels];
    target.fill(T::ZERO);
    for (y, x) in grid(0..source.size[0], 0..source.size[1]) {
        lanes::add(target, source.pixel(y, x));
    }
    lanes::scale(target, T::from_f64(1.0 / pixels as f64));
}

/// The gradient of the mean over all pixels.
pub fn global_backward<T: Real>(source: Source<T>, target: Target<T>, accumulate: bool, threads: Threads) {
    let share = T::from_f64(1.0 / (target.size[0] * target.size[1]) as f64);
    each_pixel(target, source.channels, threads, |_, _, pixel| {
        if !accumulate {
            pixel.fill(T::ZERO);
        }
        lanes::add_scaled(pixel, source.pixel(0, 0), share);
    });
}

/// All pairs, the second running faster.
fn grid(rows: Range<usize>, columns: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    rows.flat_map(move |row| columns.clone().map(move |column| (row, column)))
}
