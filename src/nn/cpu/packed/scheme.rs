//! Which of Winograd's transforms a convolution gets, if any.

use super::axis::{self, Axis, F23, F43, F45, F47, MOST, One};
use super::transform::{self, Gather, Spread};
use super::vector::Vector;

/// Tiles from which on a transform is faster: the kernel has more numbers at the points than taps, and with fewer tiles
/// reading them takes what multiplying saves.
const TILES: usize = 16;
/// The same beside a direct product of bf16, and for transforms along both axes alone.
const TILES_BF16: usize = 64;
/// Channels on both sides from which on products outweigh the transforms.
const CHANNELS: usize = 16;

/// Writes the pairs of axes that are compiled, and what goes through all of them.
macro_rules! schemes {
    ($($(#[$doc:meta])* $name:ident: $down:ident, $across:ident;)*) => {
        /// A transform down and one across.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Scheme {
            $($(#[$doc])* $name,)*
        }

        impl Scheme {
            /// All that there are.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Height and width of the window.
            pub fn taps(self) -> [usize; 2] {
                match self {
                    $(Self::$name => [$down::TAPS, $across::TAPS],)*
                }
            }

            /// Height and width of a tile's outputs.
            pub fn outputs(self) -> [usize; 2] {
                match self {
                    $(Self::$name => [$down::OUTPUTS, $across::OUTPUTS],)*
                }
            }

            /// What takes kernels to the points.
            pub fn axes(self) -> Axes {
                match self {
                    $(Self::$name => Axes { down: Matrix::new::<$down>(), across: Matrix::new::<$across>() },)*
                }
            }

            /// Spreads a tile.
            ///
            /// # Safety
            /// As [`transform::spread`].
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
            pub unsafe fn spread<V: Vector>(self, tile: &Spread) {
                // SAFETY: the caller's promise.
                unsafe {
                    match self {
                        $(Self::$name => transform::spread::<V, $down, $across>(tile),)*
                    }
                }
            }

            /// Scatters a tile of gradients.
            ///
            /// # Safety
            /// As [`transform::scatter`].
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "the body must take on the features of its caller")]
            pub unsafe fn scatter<V: Vector>(self, tile: &Spread) {
                // SAFETY: the caller's promise.
                unsafe {
                    match self {
                        $(Self::$name => transform::scatter::<V, $down, $across>(tile),)*
                    }
                }
            }

            /// Gathers a tile.
            ///
            /// # Safety
            /// As [`transform::gather`].
            #[inline(always)]
            #[allow(clippy::inline_always, reason = "as above")]
            pub unsafe fn gather<V: Vector, const VECTORS: usize>(self, tile: &Gather) {
                // SAFETY: the caller's promise.
                unsafe {
                    match self {
                        $(Self::$name => transform::gather::<V, $down, $across, VECTORS>(tile),)*
                    }
                }
            }
        }
    };
}

schemes! {
    /// 3 x 3.
    Square43: F43, F43;
    /// 3 x 3 on small images: fewer numbers of the kernel to read.
    Square23: F23, F23;
    /// 1 x 3.
    Line43: One, F43;
    /// 3 x 1.
    Column43: F43, One;
    /// 5 x 5.
    Square45: F45, F45;
    /// 1 x 7.
    Line47: One, F47;
    /// 7 x 1.
    Column47: F47, One;
}

impl Scheme {
    /// The one that is faster than a direct product, if there is one: for a window of `taps`, stride 1, `grid` outputs.
    pub fn of(taps: [usize; 2], grid: [usize; 2], channels: [usize; 2]) -> Option<Self> {
        let fits = |scheme: &Self| {
            let enough = channels.into_iter().all(|channels| channels >= CHANNELS);
            scheme.taps() == taps && scheme.tiles(grid) >= TILES && enough
        };
        #[cfg(test)]
        let fits = |scheme: &Self| fits(scheme) && !left_out::has(*scheme);
        Self::ALL.iter().copied().find(fits)
    }

    /// Whether it is faster than a direct product in bf16, which has twice the rate.
    pub fn is_faster_than_bf16(self, grid: [usize; 2]) -> bool {
        self.outputs().iter().all(|outputs| *outputs > 1) && self.tiles(grid) >= TILES_BF16
    }

    /// Whether it is faster for the gradient by the kernel too: for lines of three taps, which save least, it was not.
    pub fn is_faster_by_kernel(self) -> bool {
        !matches!(self, Self::Line43 | Self::Column43)
    }

    fn tiles(self, grid: [usize; 2]) -> usize {
        let [height, width] = self.outputs();
        grid[0].div_ceil(height) * grid[1].div_ceil(width)
    }

    /// Height and width of a tile's inputs, and of its points.
    pub fn inputs(self) -> [usize; 2] {
        [0, 1].map(|axis| self.outputs()[axis] + self.taps()[axis] - 1)
    }
}

/// Kernels that go to the points together.
pub const LANES: usize = 8;

/// The matrix that takes the taps of one axis to its points, and the one that takes them back.
#[derive(Clone, Copy, Debug)]
struct Matrix {
    /// `[points, taps]`.
    factors: [[f64; MOST]; MOST],
    /// `[taps, points]`: of least squares.
    inverse: [[f64; MOST]; MOST],
    points: usize,
    taps: usize,
}

impl Matrix {
    fn new<A: Axis>() -> Self {
        let mut factors = [[0.0; MOST]; MOST];
        for tap in 0..A::TAPS {
            let mut unit = [0.0; MOST];
            unit[tap] = 1.0;
            for (row, factor) in factors.iter_mut().zip(axis::kernel::<A>(&unit[..A::TAPS])) {
                row[tap] = factor;
            }
        }
        Self { factors, inverse: inverse(&factors, A::TAPS), points: A::POINTS, taps: A::TAPS }
    }
}

/// `(F^T F)^-1 F^T` of a matrix with so many columns, by Gauss and Jordan; their products are far from singular.
fn inverse(factors: &[[f64; MOST]; MOST], columns: usize) -> [[f64; MOST]; MOST] {
    let mut inverse = [[0.0; MOST]; MOST];
    let mut products = [[0.0; MOST]; MOST];
    for row in 0..columns {
        inverse[row] = factors.map(|point| point[row]);
        products[row] = std::array::from_fn(|column| factors.iter().map(|point| point[row] * point[column]).sum());
    }
    for pivot in 0..columns {
        let scale = 1.0 / products[pivot][pivot];
        let (own_products, own) = (products[pivot].map(|v| scale * v), inverse[pivot].map(|v| scale * v));
        (products[pivot], inverse[pivot]) = (own_products, own);
        for row in (0..columns).filter(|&row| row != pivot) {
            let factor = products[row][pivot];
            for column in 0..MOST {
                products[row][column] -= factor * own_products[column];
                inverse[row][column] -= factor * own[column];
            }
        }
    }
    inverse
}

/// The matrices of both axes.
#[derive(Clone, Copy, Debug)]
pub struct Axes {
    down: Matrix,
    across: Matrix,
}

impl Axes {
    /// The values at the points, row after row, of some kernels whose taps stand side by side.
    pub fn kernels(&self, taps: &[[f64; LANES]], points: &mut [[f64; LANES]]) {
        let Self { down, across } = self;
        for x in 0..across.points {
            let mut column = [[0.0; LANES]; MOST];
            for (value, taps) in column.iter_mut().zip(taps.chunks_exact(across.taps)) {
                add_all(value, &across.factors[x], taps);
            }
            for y in 0..down.points {
                let point = &mut points[y * across.points + x];
                *point = [0.0; LANES];
                add_all(point, &down.factors[y], &column[..down.taps]);
            }
        }
    }

    /// The opposite of [`Axes::kernels`]: taps from the values at the points.
    pub fn taps(&self, points: &[[f64; LANES]], taps: &mut [[f64; LANES]]) {
        let Self { down, across } = self;
        for y in 0..down.taps {
            let mut line = [[0.0; LANES]; MOST];
            for (x, value) in line.iter_mut().enumerate().take(across.points) {
                let column = points.chunks_exact(across.points).map(|line| &line[x]);
                down.inverse[y].iter().zip(column).for_each(|(factor, values)| add(value, *factor, values));
            }
            for x in 0..across.taps {
                let tap = &mut taps[y * across.taps + x];
                *tap = [0.0; LANES];
                add_all(tap, &across.inverse[x], &line[..across.points]);
            }
        }
    }

    /// The transpose of [`Axes::kernels`]: gradients by the taps from those by the points.
    pub fn gradients(&self, points: &[[f64; LANES]], taps: &mut [[f64; LANES]]) {
        let Self { down, across } = self;
        taps.fill([0.0; LANES]);
        for x in 0..across.points {
            for (tap, line) in taps.chunks_exact_mut(across.taps).enumerate() {
                let mut sum = [0.0; LANES];
                for (factors, points) in down.factors.iter().zip(points.chunks_exact(across.points)) {
                    add(&mut sum, factors[tap], &points[x]);
                }
                for (value, factor) in line.iter_mut().zip(&across.factors[x]) {
                    add(value, *factor, &sum);
                }
            }
        }
    }
}

/// Adds all `values`, each with its factor.
fn add_all(sum: &mut [f64; LANES], factors: &[f64; MOST], values: &[[f64; LANES]]) {
    factors.iter().zip(values).for_each(|(factor, values)| add(sum, *factor, values));
}

fn add(sum: &mut [f64; LANES], factor: f64, values: &[f64; LANES]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

/// Transforms that a measurement does without.
#[cfg(test)]
pub mod left_out {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::Scheme;

    static SCHEMES: Mutex<Vec<Scheme>> = Mutex::new(Vec::new());

    fn lock() -> MutexGuard<'static, Vec<Scheme>> {
        SCHEMES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn has(scheme: Scheme) -> bool {
        lock().contains(&scheme)
    }

    /// What `make` makes has none of them.
    pub fn without<R>(schemes: &[Scheme], make: impl FnOnce() -> R) -> R {
        lock().extend(schemes);
        let made = make();
        lock().clear();
        made
    }
}
