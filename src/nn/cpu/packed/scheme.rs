//! Which of Winograd's transforms a convolution gets, if any.

use super::axis::{self, Axis, F23, F43, F45, F47, One};
use super::transform::{self, Gather, Spread};
use super::vector::Vector;

/// Tiles from which on a transform is faster: the kernel has more numbers at the points than taps, and with fewer tiles
/// reading them takes what multiplying saves.
const TILES: usize = 16;
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
            const ALL: &'static [Self] = &[$(Self::$name),*];

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

            /// The values of a window at the points.
            pub fn kernel(self, taps: &[f64]) -> Vec<f64> {
                match self {
                    $(Self::$name => kernel::<$down, $across>(taps),)*
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
            let [height, width] = scheme.outputs();
            let tiles = grid[0].div_ceil(height) * grid[1].div_ceil(width);
            scheme.taps() == taps && tiles >= TILES && channels.into_iter().all(|channels| channels >= CHANNELS)
        };
        Self::ALL.iter().copied().find(fits)
    }

    /// Height and width of a tile's inputs, and of its points.
    pub fn inputs(self) -> [usize; 2] {
        [0, 1].map(|axis| self.outputs()[axis] + self.taps()[axis] - 1)
    }
}

/// The values of a window at the points of two axes.
fn kernel<Y: Axis, X: Axis>(taps: &[f64]) -> Vec<f64> {
    let lines: Vec<Vec<f64>> = taps.chunks_exact(X::TAPS).map(axis::kernel::<X>).collect();
    let mut points = vec![0.0; Y::POINTS * X::POINTS];
    for x in 0..X::POINTS {
        let column: Vec<f64> = lines.iter().map(|line| line[x]).collect();
        for (y, value) in axis::kernel::<Y>(&column).into_iter().enumerate() {
            points[y * X::POINTS + x] = value;
        }
    }
    points
}
