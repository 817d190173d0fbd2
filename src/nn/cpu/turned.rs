//! A kernel turned for the gradient by the input.
//!
//! The gradient is a product of patches as well: input pixels whose place is equal modulo the stride (a phase) see the
//! output's gradient through the same taps of the turned kernel. With stride 1 there is one phase; otherwise each phase is
//! a product of its own with exactly its taps, or, where the input has few channels, all phases share one product, whose
//! columns would else be too few. This gathers instead of scattering, so that tiles can be worked on at the same time.

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
}

impl<T: Real> Turned<T> {
    /// Turns `kernel`, `[height, width, in, outputs]`.
    pub fn new(window: Window, kernel: &[T], outputs: usize) -> Self {
        let inputs = kernel.len() / (window.kernel[0] * window.kernel[1] * outputs);
        let phases: Vec<[usize; 2]> =
            (0..window.stride).flat_map(|y| (0..window.stride).map(move |x| [y, x])).collect();
        let sets: Vec<Vec<[usize; 2]>> =
            if inputs < FEW { vec![phases] } else { phases.into_iter().map(|phase| vec![phase]).collect() };
        let groups =
            sets.into_iter().filter_map(|phases| Group::new(phases, kernel, (inputs, outputs), window)).collect();
        Self { groups, stride: window.stride, inputs, outputs }
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
    fn new(phases: Vec<[usize; 2]>, kernel: &[T], (inputs, outputs): (usize, usize), window: Window) -> Option<Self> {
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
        let mut matrix = vec![T::ZERO; rows * columns * outputs * phases.len() * inputs];
        let mut cells = matrix.chunks_exact_mut(inputs);
        for (row, column) in (0..rows as isize).flat_map(|row| (0..columns as isize).map(move |column| (row, column))) {
            for output in 0..outputs {
                for phase in &phases {
                    let cell = cells.next()?;
                    let y = phase[0] as isize + pad[0] - stride * (top + row);
                    let x = phase[1] as isize + pad[1] - stride * (left + column);
                    if (0..height).contains(&y) && (0..width).contains(&x) {
                        let start = (y * width + x) as usize * inputs * outputs + output;
                        let taps = kernel[start..].iter().step_by(outputs);
                        cell.iter_mut().zip(taps).for_each(|(cell, tap)| *cell = *tap);
                    }
                }
            }
        }
        Some(Self { phases, origin: [top, left], kernel: [rows, columns], matrix })
    }
}
