//! A convolution as a product of patches that are never gathered: the micro-kernel reads each tap of each pixel where it
//! lies in the image ("indirect convolution", Dukhan, arXiv 1907.02129), and writes where the result belongs.
//!
//! A task is some pixels by some panels. For its pixels the beginning of every tap is looked up once; then each panel stays in
//! the second-level cache while all pixels of the task pass by it, tile by tile: what a tile reads of it at once is asked for
//! in time, and cutting the depth so that a block stays in the first-level cache costs more than it saves, for sums then go
//! to memory and back. Where products are of bf16, panels are packed in pairs of channels, and what the task's taps see is
//! narrowed once for all panels.

use std::ops::Range;

use super::Workspace;
use super::image::{Bias, Fused, Output, View};
use super::pairs::{PairLoops, apart, pairs};
use super::panels::Panels;
use super::product::{BORDER, Strip, rows};
use super::vector::Engine;
use crate::nn::cpu::kernel::{Sweep, Workers};
use crate::nn::cpu::parallel::Threads;

/// Pixels of a task: so many that reading the panels does not tell, and so few that they stay in cache.
const PIXELS: usize = 96;

/// The matrix of a convolution, ready to be multiplied.
#[derive(Debug)]
pub struct Direct<E> {
    engine: E,
    /// Where products are of bf16: then a word of panels and zeros is a pair.
    pub pairs: Option<&'static PairLoops>,
    panels: Panels,
    taps: usize,
    channels: usize,
    pub bias: Bias,
    /// What a tap sees outside the image.
    zeros: Vec<f32>,
}

impl<E: Engine> Direct<E> {
    /// `matrix` is `[taps, channels, columns]`, `bias` `[columns]`.
    pub fn new(engine: E, matrix: &[f32], taps: usize, bias: &[f32]) -> Self {
        let depth = matrix.len() / bias.len();
        let channels = depth / taps;
        assert_eq!(matrix.len(), channels * taps * bias.len(), "every tap has as many channels");
        let pairs = pairs(engine, channels);
        let together = if pairs.is_some() { 2 } else { 1 };
        let panels = Panels::zeros(depth / together, bias.len(), E::COLUMNS);
        let (bias, zeros) = (Bias::new(bias, E::COLUMNS), vec![0.0; channels / together]);
        let mut direct = Self { engine, pairs, panels, taps, channels, bias, zeros };
        direct.update(matrix);
        direct
    }

    /// The matrix again, as it is multiplied.
    pub fn matrix(&self) -> Vec<f32> {
        let matrix = self.panels.unpack();
        if self.pairs.is_none() {
            return matrix;
        }
        let rows = matrix.chunks_exact(self.panels.columns);
        rows.flat_map(|row| [0, 1].map(|half| row.iter().map(move |&pair| apart(pair)[half]))).flatten().collect()
    }

    /// Takes another matrix of the same shape.
    pub fn update(&mut self, matrix: &[f32]) {
        let Some(loops) = self.pairs else { return self.panels.fill(matrix) };
        assert_eq!(matrix.len(), 2 * self.panels.depth * self.panels.columns, "a matrix of another shape");
        let mut pairs = vec![0.0; self.panels.columns];
        for (row, numbers) in matrix.chunks_exact(2 * self.panels.columns).enumerate() {
            loops.couple(numbers.split_at(self.panels.columns).into(), &mut pairs);
            self.panels.fill_row(row, &pairs);
        }
    }

    /// Multiplies the patches of `source`.
    pub fn run(&self, source: &View, sweep: &Sweep, output: &Output, fused: &Fused, (threads, spares): Workers<f32>) {
        assert!(sweep.kernel[0] * sweep.kernel[1] == self.taps && source.channels == self.channels);
        assert_eq!(source.images, output.images);
        source.check();
        output.check(sweep, fused, self.panels.columns);
        let (pixels, panels) = (source.images * sweep.grid[0] * sweep.grid[1], self.panels.count());
        let [height, width] = self.cut(pixels, fused.together(source.images), threads);
        let across = panels.div_ceil(width);
        threads.tasks(pixels.div_ceil(height) * across, |task| {
            let (row, column) = (task / across * height, task % across * width);
            let tile = (row..pixels.min(row + height), column..panels.min(column + width));
            spares
                .with(|buffers| self.tile((source, sweep), (output, fused), task / across, tile, &mut buffers.packed));
        });
    }

    /// Adds the pixels of each part that [`Direct::run`] takes sums of.
    pub fn parts(&self, images: usize, sweep: &Sweep, threads: Threads, to: &mut Vec<usize>) {
        let pixels = images * sweep.grid[0] * sweep.grid[1];
        let [height, _] = self.cut(pixels, 1, threads);
        to.extend((0..pixels).step_by(height).map(|first| height.min(pixels - first)));
    }

    /// Pixels and panels of a task, so that every thread has as much to do; a pixel of `together` images is one task's.
    fn cut(&self, pixels: usize, together: usize, threads: Threads) -> [usize; 2] {
        let (panels, rows) = (self.panels.count(), *E::ROWS.end());
        let mut high = pixels.div_ceil(PIXELS);
        let mut wide = 1;
        if threads.0 > 1 {
            if high < 2 * threads.0 {
                wide = (2 * threads.0).div_ceil(high).min(panels);
            } else {
                high = high.next_multiple_of(threads.0);
            }
        }
        let whole = (1..=together)
            .map(|times| times * rows)
            .find(|rows| rows.is_multiple_of(together))
            .unwrap_or(rows * together);
        [pixels.div_ceil(high).next_multiple_of(whole), panels.div_ceil(wide)]
    }

    /// Some pixels by some panels; no two threads may work on the same. The pixels are a `part`'s.
    fn tile(
        &self,
        (source, sweep): (&View, &Sweep),
        (output, fused): (&Output, &Fused),
        part: usize,
        (some, panels): (Range<usize>, Range<usize>),
        Workspace { pixels, offsets, places, former, narrowed, .. }: &mut Workspace,
    ) {
        let rows = rows(some.len(), &E::ROWS);
        let together = fused.together(source.images);
        pixels.clear();
        pixels.extend(sweep.places(some.start, together).take(some.len()));
        look_up(source, sweep, pixels, rows, offsets);
        places.clear();
        places.extend(pixels.iter().map(|&pixel| output.place(pixel)));
        let seen = match self.pairs {
            Some(loops) => narrowed.take_in(loops, source, offsets),
            None => source.data,
        };
        for panel in panels.clone() {
            let strip = Strip {
                panel: self.panels.panel(panel).as_ptr(),
                source: seen.as_ptr(),
                zeros: self.zeros.as_ptr(),
                offsets,
                taps: self.taps,
                words: self.zeros.len(),
                rows,
                places,
                columns: output.columns(fused, (&self.bias, panel * E::COLUMNS), former, part),
            };
            // SAFETY: `run` has checked what offsets and places reach, pairs are where `take_in` says; zeros are as many as a
            // tap has words.
            unsafe {
                match self.pairs {
                    Some(loops) => (loops.multiply)(&strip),
                    None => self.engine.multiply(&strip),
                }
            }
        }
        if fused.past_cache {
            self.engine.fence();
        }
    }
}

/// Where each tap of each pixel begins in the source, `[tiles, taps, rows]`; pixels beyond the last are it again.
fn look_up(source: &View, sweep: &Sweep, pixels: &[[usize; 3]], rows: usize, offsets: &mut Vec<usize>) {
    let [down, across] = sweep.kernel;
    let tile = rows * down * across;
    offsets.clear();
    offsets.resize(pixels.len().div_ceil(rows) * tile, BORDER);
    for (tile, pixels) in offsets.chunks_exact_mut(tile).zip(pixels.chunks(rows)) {
        for row in 0..rows {
            let [image, y, x] = pixels[row.min(pixels.len() - 1)];
            let top = (y * sweep.stride) as isize + sweep.origin[0];
            let left = (x * sweep.stride) as isize + sweep.origin[1];
            let mut offsets = tile[row..].iter_mut().step_by(rows);
            for y in 0..down as isize {
                for (x, offset) in (0..across as isize).zip(&mut offsets) {
                    *offset = source.offset(image, top + y, left + x).unwrap_or(BORDER);
                }
            }
        }
    }
}
