//! A convolution's shape comes in; calls that read images where they lie go out: forward, back, and by the kernel.

use candle_core::{DType, Device, Result, Tensor};

use super::{Call, Card, Operand, THREADS};
use crate::nn::graph::Window;

/// A kernel and the outputs and pixels of its blocks' tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tile {
    kernel: &'static str,
    outputs: usize,
    pixels: usize,
    /// Products in a time, of those of the first, on an H100 or H200.
    rate: f64,
}

/// How a card makes convolutions in tiles, and in which order it reads weights.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Tiling {
    tiles: [Tile; 2],
    weights: Weights,
}

/// How weights lie.
#[derive(Debug, PartialEq)]
enum Weights {
    /// `[depth, outputs]`.
    Plain,
    /// By groups of outputs and slabs of the depth, as `hopper.cu` says. A phase begins with a slab, and a kernel has not more than
    /// so many taps.
    LaidOut { group: usize, slab: usize, taps: usize },
}

/// The kernel that lays weights out, and the one that adds up the parts of a depth.
pub(super) const LAY_OUT: &str = "hopper_lay_out";
const ADD_PARTS: &str = "add_parts";

const fn tile(kernel: &'static str, outputs: usize, pixels: usize, rate: f64) -> Tile {
    Tile { kernel, outputs, pixels, rate }
}

/// Products in f32, on every card.
pub(in super::super) static PLAIN: Tiling =
    Tiling { tiles: [tile("convolve_128", 128, 128, 1.0), tile("convolve_64", 64, 64, 0.8)], weights: Weights::Plain };
/// Each product as three by tensor cores, from Ampere on.
pub(in super::super) static SPLIT: Tiling =
    Tiling { tiles: [tile("split_128", 64, 128, 1.0), tile("split_64", 64, 64, 0.83)], weights: Weights::Plain };
/// The same as Hopper has them.
pub(in super::super) static HOPPER: Tiling = Tiling {
    tiles: [tile("hopper_convolve_128", 128, 128, 1.0), tile("hopper_convolve_64", 64, 128, 0.8)],
    weights: Weights::LaidOut { group: 64, slab: 16, taps: 64 },
};

impl Tiling {
    /// Whether its kernels can go over phases that begin there, of so many taps together.
    fn takes(&self, begins: &[u32], taps: usize) -> bool {
        match self.weights {
            Weights::Plain => true,
            Weights::LaidOut { slab, taps: most, .. } => {
                taps <= most && begins.iter().all(|&begin| (begin as usize).is_multiple_of(slab))
            }
        }
    }

    /// All that its convolutions call.
    #[cfg(test)]
    pub(in super::super) fn kernels(&self) -> Vec<&'static str> {
        let laid_out = (self.weights != Weights::Plain).then_some(LAY_OUT);
        self.tiles.iter().map(|tile| tile.kernel).chain([FEW.1, ADD_PARTS]).chain(laid_out).collect()
    }

    /// Outputs and pixels of a tile of one of its kernels.
    #[cfg(feature = "cuda")]
    pub(super) fn tile_of(&self, kernel: &str) -> Option<[usize; 2]> {
        self.tiles.iter().find(|tile| tile.kernel == kernel).map(|tile| [tile.outputs, tile.pixels])
    }
}

/// Where there are at most so many outputs a thread makes all of a pixel.
const FEW: (usize, &str) = (8, "convolve_few");
/// The tiles of a kernel's gradient: values of the kernel and outputs.
const OUTER_TILES: [(usize, &str); 2] = [(128, "outer_128"), (64, "outer_64")];
/// Multiprocessors, which take turns with blocks: an H100's.
const MULTIPROCESSORS: usize = 132;
/// Blocks that fill a card.
const ENOUGH: usize = 2 * MULTIPROCESSORS;

/// Images of a batch that should fill a card.
const BATCH: usize = 16;
/// The tile by which blocks of a batch are counted: outputs and pixels.
const TYPICAL: [usize; 2] = [128, 128];
/// Products of a part of the depth at least, and parts at most: their sums must be added up.
const DEEP: usize = 256;
const MOST_PARTS: usize = 8;

/// Pixels that a sum of outer products goes over at least before it is split among more blocks.
const LEAST: usize = 256;

/// What a convolution goes over.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Shape {
    pub(in super::super) window: Window,
    /// Inputs and outputs.
    pub(in super::super) channels: [usize; 2],
    /// Height and width of the input and of the output.
    pub(in super::super) sizes: [[usize; 2]; 2],
}

/// One direction of a convolution, its weights aside.
#[derive(Debug)]
pub(in super::super) struct Product {
    /// `[depth, 2]`: how far in an image from a pixel's place; rows and columns from there, 16 bits each.
    taps: Tensor,
    /// `[spread * spread + 1]`: where in the depth each phase begins, and the end.
    phases: Tensor,
    /// The places of the kernel in the order of the depth, if that is another one.
    order: Option<Tensor>,
    depth: usize,
    /// The kernels, but where there are few outputs.
    tiling: &'static Tiling,
    /// Into which the depth is cut where the batch alone would fill no card: by the shape alone, so that an image is the same alone
    /// and among others.
    parts: usize,
    /// Channels, height, width of what is read.
    read: [usize; 3],
    /// The same of what is made.
    made: [usize; 3],
    stride: usize,
    /// How far apart pixels of a phase stand in what is made.
    spread: usize,
}

/// What comes to the result before it is written.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Finish<'a> {
    pub(in super::super) bias: Option<&'a Tensor>,
    pub(in super::super) residual: Option<&'a Tensor>,
    /// A slope's, in bytes, by which the sum with the others is multiplied; contiguous.
    pub(in super::super) shares: Option<&'a Tensor>,
    pub(in super::super) relu: bool,
}

impl Product {
    /// From an image to the convolution's outputs.
    pub(in super::super) fn forward(shape: Shape, device: &Device, card: &dyn Card) -> Result<Self> {
        let Shape { window: Window { kernel, stride, padding }, channels: [inputs, outputs], sizes: [from, to] } =
            shape;
        let before = [padding.top, padding.left];
        let (read, made) = ([inputs, from[0], from[1]], [outputs, to[0], to[1]]);
        Self::new((kernel, before), (read, made), (stride, 1), (device, card))
    }

    /// From the gradient by the outputs to that by the image, with the kernel turned by 180 degrees and its channels exchanged.
    pub(in super::super) fn back(shape: Shape, device: &Device, card: &dyn Card) -> Result<Self> {
        let Shape { window: Window { kernel, stride, padding }, channels: [inputs, outputs], sizes: [from, to] } =
            shape;
        let before = [kernel[0] - 1 - padding.top, kernel[1] - 1 - padding.left];
        let (read, made) = ([outputs, to[0], to[1]], [inputs, from[0], from[1]]);
        Self::new((kernel, before), (read, made), (1, stride), (device, card))
    }

    /// Of a kernel with so many rows and columns of zeros above and at the left of what is read, which has `spread - 1` zeros
    /// between its values.
    fn new(
        (kernel, before): ([usize; 2], [usize; 2]),
        (read, made): ([usize; 3], [usize; 3]),
        (stride, spread): (usize, usize),
        (device, card): (&Device, &dyn Card),
    ) -> Result<Self> {
        let [channels, height, width] = read;
        let (mut taps, mut phases, mut order) = (Vec::new(), vec![0], Vec::new());
        for phase in 0..spread * spread {
            let first = [phase / spread, phase % spread];
            // Places of the kernel, and where they see; the others see zeros.
            let seen = |axis: usize| {
                (0..kernel[axis]).filter_map(move |place| {
                    let at = (first[axis] + place) as i32 - before[axis] as i32;
                    (at % spread as i32 == 0).then_some((place, at / spread as i32))
                })
            };
            for (row, down) in seen(0) {
                for (column, across) in seen(1) {
                    order.push((row * kernel[1] + column) as u32);
                    for channel in 0..channels {
                        let offset = (channel * height * width) as i32 + down * width as i32 + across;
                        taps.extend([offset, (down << 16) | (across & 0xFFFF)].map(i32::cast_unsigned));
                    }
                }
            }
            phases.push((taps.len() / 2) as u32);
        }
        let (depth, count, places) = (taps.len() / 2, phases.len(), order.len());
        // Only Hopper's ask for more than others: that card runs those of Ampere as well.
        let takes = card.tiling().takes(&phases[..count - 1], places);
        let tiling = if takes { card.tiling() } else { &SPLIT };
        let parts = if spread == 1 { parts(depth, made) } else { 1 };
        let taps = Tensor::from_vec(taps, (depth, 2), device)?;
        let phases = Tensor::from_vec(phases, count, device)?;
        let order = if order.is_sorted() { None } else { Some(Tensor::from_vec(order, places, device)?) };
        Ok(Self { taps, phases, order, depth, tiling, parts, read, made, stride, spread })
    }

    /// `[taps, read, made]` as a kernel reads it.
    pub(in super::super) fn weights(&self, kernel: &Tensor, card: &dyn Card) -> Result<Tensor> {
        let kernel = kernel.contiguous()?;
        let kernel = self.order.as_ref().map_or_else(|| Ok(kernel.clone()), |order| kernel.index_select(order, 0))?;
        let (weights, outputs) = (kernel.flatten(0, 1)?, self.made[0]);
        match self.tiling.weights {
            Weights::LaidOut { group, slab, .. } if !self.makes_few() => {
                let [slabs, groups] = [self.depth.div_ceil(slab), outputs.div_ceil(group)];
                card.one(&Call {
                    kernel: LAY_OUT,
                    blocks: [slabs, groups],
                    operands: &[Operand::Read(&weights), Operand::Written(0)],
                    numbers: &[self.depth, outputs],
                    outputs: &[((groups, slabs, slab * group).into(), DType::F32)],
                })
            }
            _ => Ok(weights),
        }
    }

    /// Of `[rows, channels, height, width]` by `weights`.
    pub(in super::super) fn of(
        &self,
        images: &Tensor,
        weights: &Tensor,
        finish: Finish,
        card: &dyn Card,
    ) -> Result<Tensor> {
        let images = images.contiguous()?;
        let residual = finish.residual.map(Tensor::contiguous).transpose()?;
        let finish = Finish { residual: residual.as_ref(), ..finish };
        if self.parts == 1 {
            return self.sums(&images, weights, finish, card);
        }
        let sums = self.sums(&images, weights, Finish::default(), card)?;
        let (rows, [outputs, height, width]) = (images.dim(0)?, self.made);
        let area = height * width;
        card.one(&Call {
            kernel: ADD_PARTS,
            blocks: super::blocks(rows * outputs * area)?,
            operands: &[
                Operand::Read(&sums),
                finish.bias.into(),
                finish.residual.into(),
                finish.shares.into(),
                Operand::Written(0),
            ],
            numbers: &[self.parts, rows, outputs, area, usize::from(finish.relu)],
            outputs: &[((rows, outputs, height, width).into(), DType::F32)],
        })
    }

    /// The sums over each part of the depth, `[parts * rows, channels, height, width]`, and what comes to them.
    fn sums(&self, images: &Tensor, weights: &Tensor, finish: Finish, card: &dyn Card) -> Result<Tensor> {
        let rows = images.dim(0)?;
        let ([inputs, height, width], [outputs, out_height, out_width]) = (self.read, self.made);
        let (kernel, blocks) = self.blocks(rows);
        card.one(&Call {
            kernel,
            blocks,
            operands: &[
                Operand::Read(images),
                Operand::Read(weights),
                Operand::Read(&self.taps),
                Operand::Read(&self.phases),
                finish.bias.into(),
                finish.residual.into(),
                finish.shares.into(),
                Operand::Written(0),
            ],
            numbers: &[
                rows,
                inputs,
                height,
                width,
                outputs,
                out_height,
                out_width,
                self.stride,
                self.spread,
                usize::from(finish.relu),
                self.parts,
            ],
            outputs: &[((self.parts * rows, outputs, out_height, out_width).into(), DType::F32)],
        })
    }

    /// The kernel that should be the fastest for so many images, and its blocks.
    fn blocks(&self, rows: usize) -> (&'static str, [usize; 2]) {
        let [outputs, height, width] = self.made;
        let phases = self.spread * self.spread;
        let pixels = rows * height.div_ceil(self.spread) * width.div_ceil(self.spread);
        if self.makes_few() {
            return (FEW.1, [phases * pixels.div_ceil(THREADS), 1]);
        }
        let blocks = |tile: &Tile| [phases * pixels.div_ceil(tile.pixels), outputs.div_ceil(tile.outputs) * self.parts];
        let time = |tile: &Tile| {
            let turns = blocks(tile).iter().product::<usize>().div_ceil(MULTIPROCESSORS);
            (turns * tile.outputs * tile.pixels) as f64 / tile.rate
        };
        let [one, other] = &self.tiling.tiles;
        let tile = if time(one) <= time(other) { one } else { other };
        (tile.kernel, blocks(tile))
    }

    fn makes_few(&self) -> bool {
        self.made[0] <= FEW.0
    }
}

/// How many parts of the depth it takes for a batch's blocks to fill a card.
fn parts(depth: usize, [outputs, height, width]: [usize; 3]) -> usize {
    let blocks = outputs.div_ceil(TYPICAL[0]) * (BATCH * height * width).div_ceil(TYPICAL[1]);
    if outputs <= FEW.0 { 1 } else { (ENOUGH / blocks).min(depth / DEEP).clamp(1, MOST_PARTS) }
}

/// From an image and the gradient by the convolution's outputs to that by its kernel.
#[derive(Debug)]
pub(in super::super) struct Outer {
    shape: Shape,
    /// As of the forward product.
    taps: Tensor,
    depth: usize,
}

impl Outer {
    pub(in super::super) fn new(shape: Shape, forward: &Product) -> Self {
        Self { shape, taps: forward.taps.clone(), depth: forward.depth }
    }

    /// `[depth, outputs]`, summed over all pixels of all rows. Blocks share the pixels, so that a small kernel fills a card as
    /// well, and their sums are added in an order that is always the same.
    pub(in super::super) fn of(&self, images: &Tensor, gradient: &Tensor, card: &dyn Card) -> Result<Tensor> {
        let (images, gradient) = (images.contiguous()?, gradient.contiguous()?);
        let Shape { window: Window { stride, .. }, channels: [inputs, outputs], sizes: [from, to] } = self.shape;
        let rows = images.dim(0)?;
        let pixels = rows * to[0] * to[1];
        let [large, small] = OUTER_TILES;
        let (tile, kernel) = if outputs.min(self.depth) >= large.0 { large } else { small };
        let tiles = self.depth.div_ceil(tile) * outputs.div_ceil(tile);
        let part = pixels.div_ceil(ENOUGH.div_ceil(tiles)).max(LEAST);
        let parts = pixels.div_ceil(part);
        let sums = card.one(&Call {
            kernel,
            blocks: [tiles, parts],
            operands: &[
                Operand::Read(&images),
                Operand::Read(&gradient),
                Operand::Read(&self.taps),
                Operand::Written(0),
            ],
            numbers: &[rows, inputs, from[0], from[1], outputs, to[0], to[1], self.depth, stride, part],
            outputs: &[((parts, self.depth, outputs).into(), DType::F32)],
        })?;
        if parts == 1 { sums.squeeze(0) } else { sums.sum(0) }
    }
}
