//! A convolution's gradient by its kernel, as sums over pixels of outer products (`outer`).
//!
//! The output is cut into blocks of some hundred pixels, so that a panel of a block's gradients stays in the first-level
//! cache while all taps and channels pass by it. Per block, what the taps see is packed once: groups of channels, and in a
//! group pixel after pixel with the padding around them, so that a tap is only another beginning. With a stride, pixels of
//! equal place modulo the stride (a phase) lie together. Where a transform is faster, `winograd_weights` does all that.
//!
//! Where products are of bf16, a pair is the same pixel of two images, so that it stands alike at every tap: what is said here
//! of an image then is of two, whose numbers are coupled as they are packed.

use std::ops::Range;

use super::Workspace;
use super::convolution::{FEW, pad, view};
use super::image::View;
use super::outer::{Outer, Span};
use super::pairs::{PairLoops, pairs};
use super::product::{MOST, rows};
use super::scheme::Scheme;
use super::vector::Engine;
use super::winograd_weights;
use crate::nn::cpu::kernel::{Source, Sweep, WeightGradient, Workers};
use crate::nn::cpu::lanes;
use crate::nn::cpu::parallel::{Shared, Threads, at_least};
use crate::nn::graph::Window;

/// Pixels of a block: so many that writing a tile's sums does not tell, and so few that a panel of them stays in cache.
const DEPTH: usize = 320;
/// Numbers of a kernel up to which threads share the pixels, each with sums of its own; else they share the columns.
const SMALL: usize = 160 * 1024;
/// Channels of all pixels that are packed together, so that reading and writing both stay in cache.
const TOGETHER: usize = 8;

/// The gradient by the kernel of a convolution.
#[derive(Debug)]
pub struct Weights<E> {
    engine: E,
    window: Window,
    channels: [usize; 2],
    /// The transform that is faster, if there is one.
    scheme: Option<Scheme>,
}

impl<E: Engine> Weights<E> {
    /// For so many channels in and out.
    pub fn new(engine: E, window: Window, channels: [usize; 2], size: [usize; 2]) -> Self {
        // In bf16 none was faster.
        let may = window.stride == 1 && pairs(engine, channels[0]).is_none();
        let scheme = Scheme::of(window.kernel, size, channels).filter(|scheme| may && scheme.is_faster_by_kernel());
        Self { engine, window, channels, scheme }
    }
}

impl<E: Engine> WeightGradient<f32> for Weights<E> {
    fn run(
        &self,
        source: Source<f32>,
        gradient: Source<f32>,
        kernel: &mut [f32],
        bias: &mut [f32],
        workers: Workers<f32>,
    ) {
        let sweep = Sweep::new(self.window, gradient.size);
        assert!([source.channels, gradient.channels] == self.channels && source.images == gradient.images);
        if let Some(scheme) = self.scheme {
            let source = view(source);
            winograd_weights::Job::new(self.engine, scheme, &source, &sweep, &gradient).run(kernel, bias, workers);
        } else if source.channels < FEW {
            workers.1.with(|buffers| {
                let (view, sweep) = pad(source, &sweep, &mut buffers.spare);
                Job::new(self.engine, &view, &sweep, &gradient).run(kernel, bias, workers);
            });
        } else {
            Job::new(self.engine, &view(source), &sweep, &gradient).run(kernel, bias, workers);
        }
    }
}

/// Calls [`Job::copy`] for a tile's rows, of which there may be so many.
macro_rules! copy_by_rows {
    ($job:ident, [$($rows:literal),*], $arguments:tt) => {
        match $job.rows {
            $($rows => copy_by_rows!(@ $job, $rows, $arguments),)*
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
    (@ $job:ident, $rows:literal, ($($argument:expr),*)) => { $job.copy::<$rows>($($argument),*) };
}

/// All that a gradient is computed from, and how it is cut.
struct Job<'a, E> {
    engine: E,
    pairs: Option<&'static PairLoops>,
    /// Images, or pairs of them.
    images: usize,
    source: &'a View<'a>,
    sweep: &'a Sweep,
    gradient: &'a Source<'a, f32>,
    /// Channels of a tile.
    rows: usize,
    /// Images and lines of the output in a block; more than one image only where a block has all their lines.
    block: [usize; 2],
    blocks: usize,
    /// Lines and columns of a phase of one image in a block.
    phase: [usize; 2],
    /// How many phases there are down and across.
    phases: [usize; 2],
}

/// Where a task's sums go: `[taps, channels, columns]` and `[columns]`.
struct Sums<'a> {
    kernel: &'a Shared<'a, f32>,
    bias: &'a Shared<'a, f32>,
}

impl<'a, E: Engine> Job<'a, E> {
    fn new(engine: E, source: &'a View<'a>, sweep: &'a Sweep, gradient: &'a Source<'a, f32>) -> Self {
        let Sweep { kernel, stride, grid: [height, width], .. } = *sweep;
        let pairs = pairs(engine, source.channels);
        let images = if pairs.is_some() { source.images.div_ceil(2) } else { source.images };
        let whole = (DEPTH / (height * width)).min(images);
        let cut = height.div_ceil((DEPTH / width).max(1));
        let block = if whole > 0 { [whole, height] } else { [1, height.div_ceil(cut)] };
        let blocks = images.div_ceil(block[0]) * height.div_ceil(block[1]);
        let phase = [block[1] + (kernel[0] - 1) / stride, width + (kernel[1] - 1) / stride];
        let phases = kernel.map(|taps| taps.min(stride));
        let rows = rows(source.channels, &E::ROWS);
        Self { engine, pairs, images, source, sweep, gradient, rows, block, blocks, phase, phases }
    }

    fn taps(&self) -> usize {
        self.sweep.kernel[0] * self.sweep.kernel[1]
    }

    /// Pixels of a block for one group of channels.
    fn area(&self) -> usize {
        self.block[0] * self.phases[0] * self.phases[1] * self.phase[0] * self.phase[1]
    }

    fn run(&self, kernel: &mut [f32], bias: &mut [f32], (threads, spares): Workers<f32>) {
        let columns = self.gradient.channels;
        let numbers = self.taps() * self.source.channels * columns;
        assert!(kernel.len() == numbers && bias.len() == columns, "a kernel of {numbers} numbers");
        self.source.check();
        let pixels = self.gradient.images * self.sweep.grid[0] * self.sweep.grid[1];
        assert!((pixels - 1) * self.gradient.stride + columns <= self.gradient.data.len());
        let panels = columns.div_ceil(E::COLUMNS);
        if threads.0 > 1 && (numbers <= SMALL || panels < threads.0) && self.blocks > 1 {
            let parts = (2 * threads.0).min(self.blocks);
            spares.with(|buffers| {
                let all = at_least(&mut buffers.spare, parts * (numbers + columns));
                threads.chunks(all, numbers + columns, |part, sums| {
                    let blocks = part * self.blocks / parts..(part + 1) * self.blocks / parts;
                    let (kernel, bias) = sums.split_at_mut(numbers);
                    let sums = Sums { kernel: &Shared::new(kernel, columns), bias: &Shared::new(bias, columns) };
                    spares.with(|buffers| self.task(blocks, 0..panels, &sums, &mut buffers.packed));
                });
                add_up(kernel, all, (numbers + columns, 0), threads);
                add_up(bias, all, (numbers + columns, numbers), threads);
            });
        } else {
            let sums = Sums { kernel: &Shared::new(kernel, columns), bias: &Shared::new(bias, columns) };
            let parts = threads.0.min(panels);
            threads.tasks(parts, |part| {
                let panels = part * panels / parts..(part + 1) * panels / parts;
                spares.with(|buffers| self.task(0..self.blocks, panels, &sums, &mut buffers.packed));
            });
        }
    }

    /// Some blocks by some panels; no two threads may have the same sums.
    fn task(&self, blocks: Range<usize>, panels: Range<usize>, sums: &Sums, space: &mut Workspace) {
        let groups = self.source.channels.div_ceil(self.rows);
        let columns = panels.start * E::COLUMNS..self.gradient.channels.min(panels.end * E::COLUMNS);
        let Workspace { left, right, spans, coupled, .. } = space;
        for block in blocks.clone() {
            let (images, lines) = self.block(block);
            let first = block == blocks.start;
            self.spans(images.len(), lines.len(), spans);
            let depth: usize = spans.iter().map(|span| span.length).sum();
            let numbers = groups * self.area() * self.rows;
            let left = &mut left.at_least(numbers)[..numbers];
            self.pack_left(images.clone(), &lines, coupled, left);
            let numbers = panels.len() * depth * E::COLUMNS;
            let right = &mut right.at_least(numbers)[..numbers];
            let [height, width] = self.sweep.grid;
            let pixel = (images.start * height + lines.start) * width;
            let pixels = pixel..pixel + depth;
            self.pack_right(pixels.clone(), &columns, right);
            // SAFETY: no other task has these columns of these sums.
            let bias = unsafe { sums.bias.row(0, &columns) };
            self.sum_columns(pixels, &columns, right, bias, !first);
            for panel in panels.clone() {
                let right = &right[(panel - panels.start) * depth * E::COLUMNS..][..depth * E::COLUMNS];
                let columns = panel * E::COLUMNS..columns.end.min((panel + 1) * E::COLUMNS);
                for group in 0..groups {
                    let left = &left[group * self.area() * self.rows..][..self.area() * self.rows];
                    self.group(group, left, (right, &columns), (spans, !first), sums);
                }
            }
        }
    }

    /// One group of channels by one panel, at all taps.
    fn group(
        &self,
        group: usize,
        left: &[f32],
        (right, columns): (&[f32], &Range<usize>),
        (spans, add): (&[Span], bool),
        sums: &Sums,
    ) {
        let channels = group * self.rows..self.source.channels.min((group + 1) * self.rows);
        let reach = spans.last().map_or(0, |span| span.start + span.length);
        for tap in 0..self.taps() {
            let start = self.tap(tap);
            assert!((start + reach) * self.rows <= left.len());
            let rows = tap * self.source.channels + channels.start..tap * self.source.channels + channels.end;
            let tile = Outer {
                spans,
                left: left[start * self.rows..].as_ptr(),
                left_apart: self.rows,
                right: right.as_ptr(),
                right_apart: E::COLUMNS,
                rows: self.rows,
                there: [channels.len(), columns.len()],
                target: sums.kernel.rectangle(&rows, columns),
                stride: sums.kernel.stride(),
                add,
            };
            // SAFETY: the assertion bounds the left, `task` has packed as many pixels on the right as spans have, and the
            // target is checked and this task's alone.
            unsafe {
                match self.pairs {
                    Some(loops) => (loops.accumulate)(&tile),
                    None => self.engine.accumulate(&tile),
                }
            }
        }
    }

    /// Images, and lines of their output.
    fn block(&self, block: usize) -> (Range<usize>, Range<usize>) {
        let height = self.sweep.grid[0];
        let across = height.div_ceil(self.block[1]);
        let (image, line) = (block / across * self.block[0], block % across * self.block[1]);
        let images = image..self.images.min(image + self.block[0]);
        (images, line..height.min(line + self.block[1]))
    }

    /// The pixels of a block, as its first tap sees them.
    fn spans(&self, images: usize, lines: usize, spans: &mut Vec<Span>) {
        let ([height, width], length) = (self.phase, self.sweep.grid[1]);
        let apart = self.phases[0] * self.phases[1] * height * width;
        spans.clear();
        for start in (0..images).flat_map(|image| (0..lines).map(move |line| image * apart + line * width)) {
            match spans.last_mut() {
                Some(last) if last.start + last.length == start => last.length += length,
                _ => spans.push(Span { start, length }),
            }
        }
    }

    /// How much later another tap begins.
    fn tap(&self, tap: usize) -> usize {
        let Sweep { kernel, stride, .. } = *self.sweep;
        let (y, x) = (tap / kernel[1], tap % kernel[1]);
        let phase = y % stride * self.phases[1] + x % stride;
        (phase * self.phase[0] + y / stride) * self.phase[1] + x / stride
    }

    /// What taps see in a block: `[groups, images, phases, lines, columns, rows]`.
    fn pack_left(&self, images: Range<usize>, lines: &Range<usize>, room: &mut Vec<f32>, left: &mut [f32]) {
        let (Sweep { stride, origin, .. }, channels) = (*self.sweep, self.source.channels);
        let (coupled, nothing) = at_least(room, (TOGETHER + 1) * channels).split_at_mut(TOGETHER * channels);
        nothing.fill(0.0);
        let [height, width] = self.phase;
        let mut first = 0;
        for image in images {
            for phase in 0..self.phases[0] * self.phases[1] {
                let [down, across] = [phase / self.phases[1], phase % self.phases[1]];
                for line in 0..height {
                    let y = ((lines.start + line) * stride + down) as isize + origin[0];
                    let pixel = |image: usize, x: usize| {
                        let offset = self.source.offset(image, y, (x * stride + across) as isize + origin[1])?;
                        Some(&self.source.data[offset..][..channels])
                    };
                    for from in (0..width).step_by(TOGETHER) {
                        let mut pixels = [None; TOGETHER];
                        let there = &mut pixels[..TOGETHER.min(width - from)];
                        let places = there.iter_mut().zip(coupled.chunks_exact_mut(channels)).zip(from..);
                        for ((seen, coupled), x) in places {
                            *seen = match self.pairs {
                                None => pixel(image, x),
                                Some(loops) => pixel(2 * image, x).map(|one| {
                                    let other = (2 * image + 1 < self.source.images).then(|| pixel(2 * image + 1, x));
                                    loops.couple([one, other.flatten().unwrap_or(nothing)], coupled);
                                    &*coupled
                                }),
                            };
                        }
                        copy_by_rows!(self, [4, 5, 6, 7, 8, 9, 10, 11, 12], (first + from, there, left));
                    }
                    first += width;
                }
            }
        }
    }

    /// Some pixels to the place of the first of them, in all groups.
    fn copy<const ROWS: usize>(&self, first: usize, pixels: &[Option<&[f32]>], left: &mut [f32]) {
        let channels = self.source.channels;
        for (group, left) in left.chunks_exact_mut(self.area() * ROWS).enumerate() {
            let there = ROWS.min(channels - group * ROWS);
            let left = &mut left[first * ROWS..][..pixels.len() * ROWS];
            for (to, pixel) in left.as_chunks_mut::<ROWS>().0.iter_mut().zip(pixels) {
                match pixel.map(|pixel| &pixel[group * ROWS..]) {
                    Some(from) if there == ROWS => to.copy_from_slice(&from[..ROWS]),
                    Some(from) => {
                        to[..there].copy_from_slice(&from[..there]);
                        to[there..].fill(0.0);
                    }
                    None => to.fill(0.0),
                }
            }
        }
    }

    /// Some gradients of a block's pixel: of one image, or of a pair, whose second may be missing.
    fn gradients(&self, pixel: usize, columns: &Range<usize>) -> (&'a [f32], Option<&'a [f32]>) {
        let Source { data, stride, .. } = *self.gradient;
        let row = |pixel: usize| &data[pixel * stride..][columns.clone()];
        if self.pairs.is_none() {
            return (row(pixel), None);
        }
        let area = self.sweep.grid[0] * self.sweep.grid[1];
        let (image, first) = (2 * (pixel / area), pixel + pixel / area * area);
        (row(first), (image + 1 < self.gradient.images).then(|| row(first + area)))
    }

    /// Gradients in panels, `[panels, pixels, columns]`.
    fn pack_right(&self, pixels: Range<usize>, columns: &Range<usize>, right: &mut [f32]) {
        let depth = pixels.len();
        for from in (0..depth).step_by(TOGETHER) {
            let to = depth.min(from + TOGETHER);
            for (panel, right) in right.chunks_exact_mut(depth * E::COLUMNS).enumerate() {
                let first = columns.start + panel * E::COLUMNS;
                let columns = first..columns.end.min(first + E::COLUMNS);
                for pixel in from..to {
                    let row = &mut right[pixel * E::COLUMNS..][..E::COLUMNS];
                    let (there, beyond) = row.split_at_mut(columns.len());
                    let (one, other) = self.gradients(pixels.start + pixel, &columns);
                    match self.pairs {
                        Some(loops) => loops.couple([one, other.unwrap_or(&[0.0; MOST][..one.len()])], there),
                        None if one.len() == E::COLUMNS => there.copy_from_slice(&one[..E::COLUMNS]),
                        None => there.copy_from_slice(one),
                    }
                    beyond.fill(0.0);
                }
            }
        }
    }

    /// The sum of each column over some pixels.
    fn sum_columns(&self, pixels: Range<usize>, columns: &Range<usize>, right: &[f32], sums: &mut [f32], add: bool) {
        if !add {
            sums.fill(0.0);
        }
        if self.pairs.is_none() {
            return sum_panels(right, (pixels.len(), E::COLUMNS), sums);
        }
        // As there, a sum for each block, so that long sums do not lose what is small.
        for (column, sums) in sums.chunks_mut(FEW_COLUMNS).enumerate() {
            let first = columns.start + column * FEW_COLUMNS;
            let columns = first..first + sums.len();
            let mut total = [0.0; FEW_COLUMNS];
            for (one, other) in pixels.clone().map(|pixel| self.gradients(pixel, &columns)) {
                for row in [Some(one), other].into_iter().flatten() {
                    total.iter_mut().zip(row).for_each(|(total, value)| *total += value);
                }
            }
            sums.iter_mut().zip(total).for_each(|(sum, total)| *sum += total);
        }
    }
}

/// Adds each column of some panels of `(depth, width)`.
fn sum_panels(panels: &[f32], (depth, width): (usize, usize), sums: &mut [f32]) {
    for (panel, sums) in panels.chunks_exact(depth * width).zip(sums.chunks_mut(width)) {
        for (column, sums) in sums.chunks_mut(FEW_COLUMNS).enumerate() {
            let mut total = [0.0; FEW_COLUMNS];
            for row in panel[column * FEW_COLUMNS..].chunks(width) {
                total.iter_mut().zip(&row[..FEW_COLUMNS]).for_each(|(total, value)| *total += value);
            }
            sums.iter_mut().zip(total).for_each(|(sum, total)| *sum += total);
        }
    }
}

/// Columns that are summed in registers; every panel has a multiple of them.
const FEW_COLUMNS: usize = 8;

/// The sum of what each part has from `first` on, a part being `length` numbers.
fn add_up(sum: &mut [f32], parts: &[f32], (length, first): (usize, usize), threads: Threads) {
    threads.chunks(sum, 4096, |chunk, sum| {
        for (part, parts) in parts.chunks_exact(length).enumerate() {
            let parts = &parts[first + chunk * 4096..][..sum.len()];
            if part == 0 { sum.copy_from_slice(parts) } else { lanes::add(sum, parts) }
        }
    });
}
