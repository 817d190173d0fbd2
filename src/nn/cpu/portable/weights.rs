//! A convolution's gradient by its kernel: gathered patches, turned, times the gradient by the output.

use super::product::{PIXELS, TILE, gather};
use crate::nn::cpu::kernel::{Source, Sweep, WeightGradient, Workers};
use crate::nn::cpu::lanes;
use crate::nn::cpu::parallel::{Shared, Threads, at_least};
use crate::nn::graph::Window;
use crate::nn::real::Real;

/// Columns of a task at least.
const COLUMNS: usize = 16;

/// The gradient by the kernel of a convolution with this window.
#[derive(Debug)]
pub struct Weights(pub Window);

impl<T: Real> WeightGradient<T> for Weights {
    fn run(
        &self,
        source: Source<T>,
        gradient: Source<T>,
        kernel: &mut [T],
        bias: &mut [T],
        (threads, spares): Workers<T>,
    ) {
        let sweep = Sweep::new(self.0, gradient.size);
        let depth = self.0.kernel[0] * self.0.kernel[1] * source.channels;
        let columns = gradient.channels;
        assert!(kernel.len() == depth * columns && bias.len() == columns, "a kernel of {depth} x {columns}");
        kernel.fill(T::ZERO);
        bias.fill(T::ZERO);
        let pixels = gradient.size[0] * gradient.size[1];
        let chunk = (TILE / depth).clamp(PIXELS[0], PIXELS[1]);
        for image in 0..source.images {
            let (source, gradient) = (source.image(image), gradient.image(image));
            for from in (0..pixels).step_by(chunk) {
                let tile = from..pixels.min(from + chunk);
                let rows = &gradient.data[tile.start * gradient.stride..];
                for row in rows.chunks(gradient.stride).take(tile.len()) {
                    lanes::add(bias, &row[..columns]);
                }
                spares.with(|buffers| {
                    let patches = at_least(&mut buffers.patches, tile.len() * depth);
                    gather(source, &sweep, tile.clone(), patches);
                    add_product((patches, depth), (rows, gradient.stride), kernel, columns, threads);
                });
            }
        }
    }
}

/// `sum[depth, columns] += patches[pixels, depth]^T * rows[pixels, columns]`, threads over columns.
fn add_product<T: Real>(
    (patches, depth): (&[T], usize),
    (rows, stride): (&[T], usize),
    sum: &mut [T],
    columns: usize,
    threads: Threads,
) {
    let pixels = patches.len() / depth;
    assert!(rows.len() >= (pixels - 1) * stride + columns);
    let width = columns.div_ceil(threads.0).max(COLUMNS);
    let sum = Shared::new(sum, columns);
    threads.tasks(columns.div_ceil(width), |task| {
        let range = task * width..columns.min((task + 1) * width);
        // SAFETY: the assertion bounds what is read; the rectangle is checked, and each task has columns of its own.
        unsafe {
            gemm::gemm(
                depth,
                range.len(),
                pixels,
                sum.rectangle(&(0..depth), &range),
                1,
                columns as isize,
                true,
                patches.as_ptr(),
                depth as isize,
                1,
                rows.as_ptr().add(range.start),
                1,
                stride as isize,
                T::ONE,
                T::ONE,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
}
