//! A convolution's gradient by its kernel by Winograd's transforms: the transpose of `winograd`, with the same points.
//!
//! Tiles of what the convolution has seen are spread to points, tiles of gradients are scattered to them; at each point the sum
//! over all tiles of outer products is the gradient by the kernel's value there, and goes back to its taps at the end.

use std::ops::Range;

use super::axis::MOST;
use super::image::View;
use super::outer::{Outer, Span};
use super::scheme::{LANES, Scheme};
use super::transform::Spread;
use super::vector::Engine;
use super::winograd::Cut;
use crate::nn::cpu::kernel::{Source, Sweep, Workers};
use crate::nn::cpu::parallel::{Shared, Threads};

/// Tiles of a group: so many that adding to the sums does not tell, and so few that a point of them stays in cache.
const TILES: usize = 192;
/// All that a gradient is computed from.
pub struct Job<'a, E> {
    engine: E,
    scheme: Scheme,
    source: &'a View<'a>,
    sweep: &'a Sweep,
    gradient: &'a Source<'a, f32>,
    cut: Cut,
    points: usize,
}

impl<'a, E: Engine> Job<'a, E> {
    /// Channels of a tile of the product.
    const ROWS: usize = *E::ROWS.end();
    /// Channels that lie together at a point, tile after tile: some tiles of the product, and some whole vectors.
    const GROUP: usize = if 24_usize.is_multiple_of(E::LANES) { 24 } else { 48 };

    pub fn new(
        engine: E,
        scheme: Scheme,
        source: &'a View<'a>,
        sweep: &'a Sweep,
        gradient: &'a Source<'a, f32>,
    ) -> Self {
        const { assert!(Self::GROUP.is_multiple_of(Self::ROWS) && Self::GROUP.is_multiple_of(E::LANES)) };
        assert!(sweep.stride == 1 && sweep.kernel == scheme.taps() && sweep.grid == gradient.size);
        let [down, across] = scheme.inputs();
        let cut = Cut::new(sweep.grid, scheme.outputs(), 1);
        Self { engine, scheme, source, sweep, gradient, cut, points: down * across }
    }

    /// Into `kernel`, `[taps, channels, columns]`, and `bias`, `[columns]`.
    pub fn run(&self, kernel: &mut [f32], bias: &mut [f32], (threads, spares): Workers<f32>) {
        let (channels, columns) = (self.source.channels, self.gradient.channels);
        let [height, width] = self.sweep.kernel;
        assert!(kernel.len() == height * width * channels * columns && bias.len() == columns);
        self.source.check();
        let pixels = self.gradient.images * self.sweep.grid[0] * self.sweep.grid[1];
        assert!((pixels - 1) * self.gradient.stride + columns <= self.gradient.data.len());
        sum_pixels(self.gradient, pixels, bias, threads);
        let tiles = self.source.images * self.cut.tiles[0] * self.cut.tiles[1];
        let most = tiles.div_ceil(tiles.div_ceil(TILES));
        let wide = [channels.next_multiple_of(Self::GROUP), columns.next_multiple_of(E::COLUMNS)];
        spares.with(|buffers| {
            let space = &mut buffers.packed;
            let left = space.left.at_least(self.points * most * wide[0]);
            let right = space.right.at_least(self.points * most * wide[1]);
            let sums = space.sums.at_least(self.points * channels * columns);
            let zeros = space.zeros.at_least(channels.max(columns));
            for from in (0..tiles).step_by(most) {
                let group = from..tiles.min(from + most);
                self.to_points(&group, (&mut *left, &mut *right), zeros, threads);
                let (spans, sums) = ([Span { start: 0, length: group.len() }], Shared::new(sums, columns));
                threads.tasks(self.points, |point| {
                    self.point(point, &spans, (left, right), &sums, from > 0);
                });
            }
            self.to_taps(&sums[..self.points * channels * columns], kernel, threads);
        });
    }

    /// Both sides of some tiles to the points, `[points, groups of channels, tiles, channels of a group]`.
    fn to_points(
        &self,
        group: &Range<usize>,
        (left, right): (&mut [f32], &mut [f32]),
        zeros: &[f32],
        threads: Threads,
    ) {
        let (channels, columns, count) = (self.source.channels, self.gradient.channels, group.len());
        let wide = [channels.next_multiple_of(Self::GROUP), columns.next_multiple_of(E::COLUMNS)];
        let (left, right) = (Shared::new(left, count * wide[0]), Shared::new(right, count * wide[1]));
        let Source { data, images, size, stride, .. } = *self.gradient;
        let apart = [size[0] * size[1] * stride, size[1] * stride, stride];
        let gradient = View { data, images, size, apart, channels: columns };
        threads.tasks(count, |place| {
            let [image, y, x] = self.cut.corner(group.start + place);
            let corner = [y as isize + self.sweep.origin[0], x as isize + self.sweep.origin[1]];
            let (inputs, outputs) = (self.scheme.inputs(), self.scheme.outputs());
            let seen = self.source.offsets(image, corner, inputs);
            let given = gradient.offsets(image, [y as isize, x as isize], outputs);
            let tile = |view: &View, offsets, points: &Shared<f32>, group: usize| {
                points.rectangle(&(0..self.points), &(0..count * view.channels.next_multiple_of(group)));
                Spread {
                    source: view.data.as_ptr(),
                    zeros: zeros.as_ptr(),
                    offsets,
                    channels: view.channels,
                    points: points.start().wrapping_add(place * group),
                    apart: points.stride(),
                    group: [group, count * group],
                }
            };
            let seen = tile(self.source, &seen[..inputs[0] * inputs[1]], &left, Self::GROUP);
            let given = tile(&gradient, &given[..outputs[0] * outputs[1]], &right, E::COLUMNS);
            // SAFETY: `run` has checked both images and has zeros for either, `tile` the points, whose rows are this tile's alone.
            unsafe {
                self.engine.spread(self.scheme, &seen);
                self.engine.scatter(self.scheme, &given);
            }
        });
    }

    /// The sums of a group at one point.
    fn point(&self, point: usize, spans: &[Span; 1], (left, right): (&[f32], &[f32]), sums: &Shared<f32>, add: bool) {
        let (channels, columns, count) = (self.source.channels, self.gradient.channels, spans[0].length);
        let wide = [channels.next_multiple_of(Self::GROUP), columns.next_multiple_of(E::COLUMNS)];
        let left = &left[point * count * wide[0]..][..count * wide[0]];
        let right = &right[point * count * wide[1]..][..count * wide[1]];
        for panel in (0..columns).step_by(E::COLUMNS) {
            let range = panel..columns.min(panel + E::COLUMNS);
            for first in (0..channels).step_by(Self::ROWS) {
                let there = first..channels.min(first + Self::ROWS);
                let tile = Outer {
                    spans,
                    left: left[first / Self::GROUP * count * Self::GROUP + first % Self::GROUP..].as_ptr(),
                    left_apart: Self::GROUP,
                    right: right[panel * count..].as_ptr(),
                    right_apart: E::COLUMNS,
                    rows: Self::ROWS,
                    there: [there.len(), range.len()],
                    target: sums.rectangle(&(point * channels + there.start..point * channels + there.end), &range),
                    stride: sums.stride(),
                    add,
                };
                // SAFETY: both sides have whole groups of `count` tiles; the target is checked and this point's alone.
                unsafe { self.engine.accumulate(&tile) };
            }
        }
    }

    /// From the sums at the points, `[points, channels, columns]`, to the taps'.
    fn to_taps(&self, sums: &[f32], kernel: &mut [f32], threads: Threads) {
        let (channels, columns) = (self.source.channels, self.gradient.channels);
        let taps = self.sweep.kernel[0] * self.sweep.kernel[1];
        let axes = self.scheme.axes();
        let kernel = Shared::new(kernel, columns);
        threads.tasks(channels, |channel| {
            let (mut points, mut gradients) = ([[0.0; LANES]; MOST * MOST], [[0.0; LANES]; MOST * MOST]);
            let (points, gradients) = (&mut points[..self.points], &mut gradients[..taps]);
            for from in (0..columns).step_by(LANES) {
                let range = from..columns.min(from + LANES);
                for (point, values) in points.iter_mut().enumerate() {
                    let sums = &sums[(point * channels + channel) * columns + from..][..range.len()];
                    values.iter_mut().zip(sums).for_each(|(value, sum)| *value = f64::from(*sum));
                }
                axes.gradients(points, gradients);
                for (tap, values) in gradients.iter().enumerate() {
                    // SAFETY: each channel is one task's alone.
                    let row = unsafe { kernel.row(tap * channels + channel, &range) };
                    row.iter_mut().zip(values).for_each(|(to, value)| *to = *value as f32);
                }
            }
        });
    }
}

/// The sum of all pixels, in blocks, so that long sums do not lose what is small.
fn sum_pixels(gradient: &Source<f32>, pixels: usize, sums: &mut [f32], threads: Threads) {
    const BLOCK: usize = 256;
    const COLUMNS: usize = 16;
    let width = sums.len().div_ceil(threads.0).next_multiple_of(COLUMNS);
    threads.chunks(sums, width, |place, sums| {
        sums.fill(0.0);
        for block in (0..pixels).step_by(BLOCK) {
            for (column, sums) in sums.chunks_mut(COLUMNS).enumerate() {
                let mut total = [0.0; COLUMNS];
                let first = place * width + column * COLUMNS;
                for pixel in block..pixels.min(block + BLOCK) {
                    let row = &gradient.data[pixel * gradient.stride + first..][..sums.len()];
                    total.iter_mut().zip(row).for_each(|(total, value)| *total += value);
                }
                sums.iter_mut().zip(total).for_each(|(sum, total)| *sum += total);
            }
        }
    });
}
