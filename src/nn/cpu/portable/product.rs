//! Patches of an image times a matrix: the heart of a convolution and of its gradient.
//!
//! An output pixel's patch is what the window sees there, `[kernel height, kernel width, channels]`, zeros outside the
//! image. The patches of a tile of output pixels are gathered into a buffer that stays in cache (im2col) and multiplied;
//! a 1x1 window of stride 1 needs no gathering. The matrix product is the `gemm` crate's.

use std::ops::Range;

use crate::nn::cpu::kernel::{Buffers, Source, Sweep, Workers};
use crate::nn::cpu::parallel::{Threads, at_least};
use crate::nn::real::Real;

/// Numbers of a tile's patches, or of its output, that should stay in the second-level cache.
pub const TILE: usize = 96 * 1024;
/// Output pixels of a tile: so many that packing the matrix does not tell, and so few that the tile stays in cache.
pub const PIXELS: [usize; 2] = [128, 1024];
/// Columns that a thread should get at least.
const COLUMNS: usize = 48;

/// Whether the patches are the image itself.
fn is_identity<T>(sweep: &Sweep, source: &Source<T>) -> bool {
    sweep.kernel == [1, 1] && sweep.stride == 1 && sweep.origin == [0, 0] && sweep.grid == source.size
}

/// A rectangle of the output: some pixels, some columns of the matrix.
#[derive(Clone, Debug)]
pub struct Tile {
    pub pixels: Range<usize>,
    pub columns: Range<usize>,
}

/// Where a tile's product goes.
#[derive(Debug)]
pub struct Output<T> {
    pub start: *mut T,
    pub stride: usize,
    /// Whether the product is added to what is there.
    pub accumulate: bool,
}

/// What is done with the product of a tile.
pub trait Sink<T>: Sync {
    /// Says where it goes; `spare` may hold it.
    fn open(&self, tile: &Tile, spare: &mut Vec<T>) -> Output<T>;
    /// It is there.
    fn close(&self, tile: &Tile, spare: &[T]);
}

/// Multiplies the patches of `source` by `matrix`, `[kernel height * kernel width * channels, columns]`.
pub fn multiply<T: Real>(
    source: Source<T>,
    sweep: &Sweep,
    (matrix, columns): (&[T], usize),
    (threads, spares): Workers<T>,
    sink: &impl Sink<T>,
) {
    let depth = sweep.kernel[0] * sweep.kernel[1] * source.channels;
    assert!(matrix.len() == depth * columns, "a matrix of {} for {depth} x {columns}", matrix.len());
    let tiles = tiles(sweep.grid[0] * sweep.grid[1], columns, depth, threads);
    threads.each(&tiles, |tile| {
        spares.with(|Buffers { patches, spare, .. }| {
            let output = sink.open(tile, spare);
            let (left, stride) = if is_identity(sweep, &source) {
                (&source.data[tile.pixels.start * source.stride..], source.stride)
            } else {
                let patches = at_least(patches, tile.pixels.len() * depth);
                gather(source, sweep, tile.pixels.clone(), patches);
                (&*patches, depth)
            };
            product((left, stride), (matrix, columns), depth, tile, &output);
            sink.close(tile, spare);
        });
    });
}

/// Cuts the output so that a tile stays in cache and every thread has as much to do.
fn tiles(pixels: usize, columns: usize, depth: usize, threads: Threads) -> Vec<Tile> {
    let chunk = (TILE / depth.max(columns)).clamp(PIXELS[0], PIXELS[1]);
    let mut chunks = pixels.div_ceil(chunk).max(1);
    let mut parts = 1;
    if chunks < 2 * threads.0 && columns >= threads.0 * COLUMNS {
        parts = threads.0;
    } else {
        chunks = chunks.next_multiple_of(threads.0).min(pixels.div_ceil(16).max(1));
    }
    let (height, width) = (pixels.div_ceil(chunks), columns.div_ceil(parts).next_multiple_of(8));
    let cut = |end: usize, step: usize| (0..end).step_by(step.max(1)).map(move |from| from..end.min(from + step));
    cut(pixels, height)
        .flat_map(|pixels| cut(columns, width).map(move |columns| Tile { pixels: pixels.clone(), columns }))
        .collect()
}

/// Writes the patches of some output pixels one after another.
pub fn gather<T: Real>(source: Source<T>, sweep: &Sweep, pixels: Range<usize>, patches: &mut [T]) {
    let [height, width] = source.size;
    let line = sweep.kernel[1] * source.channels;
    let patch = sweep.kernel[0] * line;
    for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(patch)) {
        let (row, column) = (pixel / sweep.grid[1], pixel % sweep.grid[1]);
        let top = (row * sweep.stride) as isize + sweep.origin[0];
        let left = (column * sweep.stride) as isize + sweep.origin[1];
        // Taps `from..to` of a line see the image, the others its padding.
        let from = (-left).clamp(0, sweep.kernel[1] as isize) as usize;
        let to = (width as isize - left).clamp(from as isize, sweep.kernel[1] as isize) as usize;
        for (tap, line) in patch.chunks_exact_mut(line).enumerate() {
            let y = top + tap as isize;
            if y < 0 || y >= height as isize || from == to {
                line.fill(T::ZERO);
                continue;
            }
            line[..from * source.channels].fill(T::ZERO);
            line[to * source.channels..].fill(T::ZERO);
            let inside = &mut line[from * source.channels..to * source.channels];
            let start = (y as usize * width + (left + from as isize) as usize) * source.stride;
            if source.stride == source.channels {
                inside.copy_from_slice(&source.data[start..start + inside.len()]);
            } else {
                for (x, pixel) in inside.chunks_exact_mut(source.channels).enumerate() {
                    let start = start + x * source.stride;
                    pixel.copy_from_slice(&source.data[start..start + source.channels]);
                }
            }
        }
    }
}

/// `output (+)= left[pixels, depth] * matrix[depth, columns]`.
fn product<T: Real>(
    (left, stride): (&[T], usize),
    (matrix, columns): (&[T], usize),
    depth: usize,
    tile: &Tile,
    output: &Output<T>,
) {
    let (m, n) = (tile.pixels.len(), tile.columns.len());
    assert!(left.len() >= (m - 1) * stride + depth && matrix.len() >= (depth - 1) * columns + tile.columns.end);
    // SAFETY: the assertion bounds what is read; a sink's `open` gives a checked rectangle of m rows and n columns.
    unsafe {
        gemm::gemm(
            m,
            n,
            depth,
            output.start,
            1,
            output.stride as isize,
            output.accumulate,
            left.as_ptr(),
            1,
            stride as isize,
            matrix.as_ptr().add(tile.columns.start),
            1,
            columns as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
