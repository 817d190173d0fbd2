//! A kernel turned for the gradient by the input.
//!
//! The gradient is a product of patches as well: input pixels whose place is equal modulo the stride (a phase) see the
//! output's gradient through the same taps of the turned kernel. With stride 1 there is one phase; otherwise each phase is
//! a product of its own with exactly its taps, or, where the input has few channels, all phases share one product, whose
//! columns would else be too few. This gathers instead of scattering, so that tiles can be worked on at the same time.

use std::mem;
use std::ops::Range;

use super::kernel::{Sweep, Target};
use super::lanes;
use super::parallel::Threads;
use crate::nn::graph::Window;
use crate::nn::real::Real;

/// Input channels below which all phases share one product.
const FEW: usize = 16;

/// The turned kernel for some phases of the input.
#[derive(Clone, Debug)]
pub struct Group<T> {
    /// Row and column modulo the stride: one phase, or all.
    pub phases: Vec<[usize; 2]>,
    /// The window over the output's gradient, relative to the pixel's place divided by the stride.
    origin: [isize; 2],
    pub kernel: [usize; 2],
    /// `[kernel height, kernel width, out, phases, in]`.
    pub matrix: Vec<T>,
}

/// A convolution's kernel, turned for its gradient by the input.
#[derive(Clone, Debug)]
pub struct Turned<T> {
    pub groups: Vec<Group<T>>,
    pub stride: usize,
    pub inputs: usize,
    pub outputs: usize,
    window: Window,
}

impl<T: Real> Turned<T> {
    /// Turns `kernel`, `[height, width, in, outputs]`.
    pub fn new(window: Window, kernel: &[T], outputs: usize) -> Self {
        let inputs = kernel.len() / (window.kernel[0] * window.kernel[1] * outputs);
        let phases: Vec<[usize; 2]> =
            (0..window.stride).flat_map(|y| (0..window.stride).map(move |x| [y, x])).collect();
        let sets: Vec<Vec<[usize; 2]>> =
            if inputs < FEW { vec![phases] } else { phases.into_iter().map(|phase| vec![phase]).collect() };
        let groups = sets.into_iter().filter_map(|phases| Group::new(phases, window)).collect();
        let mut turned = Self { groups, stride: window.stride, inputs, outputs, window };
        turned.turn_all(kernel);
        turned
    }

    /// Turns another kernel of the same shape.
    pub fn turn_all(&mut self, kernel: &[T]) {
        for place in 0..self.groups.len() {
            let mut matrix = mem::take(&mut self.groups[place].matrix);
            self.turn(&self.groups[place], kernel, &mut matrix);
            self.groups[place].matrix = matrix;
        }
    }

    /// The matrix of a group.
    pub fn turn(&self, group: &Group<T>, kernel: &[T], matrix: &mut Vec<T>) {
        let Self { inputs, outputs, window, .. } = *self;
        let taps = window.kernel[0] * window.kernel[1];
        assert_eq!(kernel.len(), taps * inputs * outputs, "a kernel of another shape");
        let row = group.phases.len() * inputs;
        matrix.resize(group.kernel[0] * group.kernel[1] * outputs * row, T::ZERO);
        for (cell, matrix) in matrix.chunks_exact_mut(outputs * row).enumerate() {
            for (place, &phase) in group.phases.iter().enumerate() {
                let columns = place * inputs..(place + 1) * inputs;
                match group.tap(cell, phase, window) {
                    Some(tap) => {
                        transpose(&kernel[tap * inputs * outputs..][..inputs * outputs], matrix, row, &columns);
                    }
                    None => matrix.chunks_exact_mut(row).for_each(|row| row[columns.clone()].fill(T::ZERO)),
                }
            }
        }
    }

    /// The same without its numbers, which are packed elsewhere.
    pub fn without_matrices(&self) -> Self {
        let groups =
            self.groups.iter().map(|group| Group { matrix: Vec::new(), phases: group.phases.clone(), ..*group });
        Self { groups: groups.collect(), ..*self }
    }

    /// Whether there are pixels that no tap reaches (a window smaller than its stride): their gradient is nought.
    pub fn leaves_gaps(&self) -> bool {
        self.groups.iter().map(|group| group.phases.len()).sum::<usize>() < self.stride * self.stride
    }

    /// The product of a group of several phases, `[images, grid, phases, in]`, to the pixels of the images: written or added.
    pub fn scatter(&self, group: &Group<T>, product: &[T], target: Target<T>, accumulate: bool, threads: Threads) {
        let Target { data, stride: apart, size, .. } = target;
        let (step, inputs) = (self.stride, self.inputs);
        let [rows, columns] = group.grid(size, step);
        threads.chunks(data, size[1] * apart, |line_of_all, line| {
            let (image, y) = (line_of_all / size[0], line_of_all % size[0]);
            for (x, pixel) in line.chunks_mut(apart).enumerate() {
                let phase = y % step * step + x % step;
                let cell = ((image * rows + y / step) * columns + x / step) * group.phases.len() + phase;
                let (pixel, gradient) = (&mut pixel[..inputs], &product[cell * inputs..][..inputs]);
                if accumulate { lanes::add(pixel, gradient) } else { pixel.copy_from_slice(gradient) }
            }
        });
    }
}

impl<T> Group<T> {
    /// Height and width of its product for an image of `size`.
    fn grid(&self, size: [usize; 2], stride: usize) -> [usize; 2] {
        let start = self.phases[0];
        [0, 1].map(|axis| size[axis].saturating_sub(start[axis]).div_ceil(stride))
    }

    /// How its window goes over the output's gradient, for an image of `size`.
    pub fn sweep(&self, size: [usize; 2], stride: usize) -> Sweep {
        Sweep { kernel: self.kernel, stride: 1, origin: self.origin, grid: self.grid(size, stride) }
    }
}

impl<T: Real> Group<T> {
    /// `None` where no tap reaches these phases (a window smaller than its stride).
    fn new(phases: Vec<[usize; 2]>, window: Window) -> Option<Self> {
        let (stride, pad) = (window.stride as isize, [window.padding.top as isize, window.padding.left as isize]);
        let [height, width] = window.kernel.map(|taps| taps as isize);
        // Tap k of an input pixel `stride * i + phase` meets output `i + o` where k = phase + pad - stride * o.
        let reach = |axis: usize, taps: isize| {
            let place = |phase: &[usize; 2]| phase[axis] as isize + pad[axis];
            let low = phases.iter().map(|phase| -((taps - 1 - place(phase)).div_euclid(stride))).min()?;
            let high = phases.iter().map(|phase| place(phase).div_euclid(stride)).max()?;
            (low <= high).then_some((low, (high - low + 1) as usize))
        };
        let ((top, rows), (left, columns)) = (reach(0, height)?, reach(1, width)?);
        Some(Self { phases, origin: [top, left], kernel: [rows, columns], matrix: Vec::new() })
    }

    /// The tap of the kernel that a phase sees in a cell of its window, if there is one.
    fn tap(&self, cell: usize, phase: [usize; 2], window: Window) -> Option<usize> {
        let place = [cell / self.kernel[1], cell % self.kernel[1]];
        let pad = [window.padding.top, window.padding.left];
        let [y, x] = [0, 1].map(|axis| {
            let outputs = self.origin[axis] + place[axis] as isize;
            (phase[axis] + pad[axis]) as isize - window.stride as isize * outputs
        });
        let inside = (0..window.kernel[0] as isize).contains(&y) && (0..window.kernel[1] as isize).contains(&x);
        inside.then(|| y as usize * window.kernel[1] + x as usize)
    }
}

/// Rows and columns that are turned together, so that both sides stay in cache.
const BLOCK: usize = 16;

/// Writes `from`, `[columns, rows]`, into some columns of `[rows, stride]`.
fn transpose<T: Copy>(from: &[T], to: &mut [T], stride: usize, columns: &Range<usize>) {
    let (width, height) = (columns.len(), from.len() / columns.len());
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for row in top..height.min(top + BLOCK) {
                let line = &mut to[row * stride + columns.start..][left..width.min(left + BLOCK)];
                for (column, value) in line.iter_mut().enumerate() {
                    *value = from[(left + column) * height + row];
                }
            }
        }
    }
}
