//! Images as kernels see them: what windows slide over, where results go, and what is fused into them.

use std::array;

use half::bf16;

use super::aligned::Aligned;
use super::axis::MOST;
use super::product::{BORDER, Beside, Columns, Finish, Goal, Keep, Seen, Through};
use super::totals::{MOST_TOTALS, Summed, Totals, Under};
use crate::nn::cpu::kernel::{Beneath, Bits, Gate, Slopes, Sweep, mask_bytes};
use crate::nn::cpu::lanes::MASK;
use crate::nn::cpu::lines::LINE;
use crate::nn::cpu::parallel::Shared;
use crate::nn::cpu::stored::Numbers;

/// Images that windows slide over.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub data: &'a [f32],
    /// How many.
    pub images: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Numbers between two images, between two lines and between two pixels.
    pub apart: [usize; 3],
    /// Numbers that a tap sees.
    pub channels: usize,
}

impl View<'_> {
    /// Every pixel that is inside has its channels in the data.
    pub fn check(&self) {
        let ([height, width], [image, line, pixel]) = (self.size, self.apart);
        let reach = (self.images - 1) * image + (height - 1) * line + (width - 1) * pixel + self.channels;
        assert!(reach <= self.data.len(), "an image of {} numbers that should have {reach}", self.data.len());
    }

    /// Where a pixel of an image begins, if it is inside.
    pub fn offset(&self, image: usize, y: isize, x: isize) -> Option<usize> {
        // What is negative becomes very large.
        let (y, x) = (y as usize, x as usize);
        let inside = y < self.size[0] && x < self.size[1];
        inside.then(|| image * self.apart[0] + y * self.apart[1] + x * self.apart[2])
    }

    /// Where the pixels of a tile of a transform begin, or [`BORDER`], line by line.
    pub fn offsets(&self, image: usize, [top, left]: [isize; 2], [height, width]: [usize; 2]) -> [usize; MOST * MOST] {
        let mut offsets = [BORDER; MOST * MOST];
        for (place, offset) in offsets[..height * width].iter_mut().enumerate() {
            let (y, x) = (top + (place / width) as isize, left + (place % width) as isize);
            *offset = self.offset(image, y, x).unwrap_or(BORDER);
        }
        offsets
    }
}

/// Where results go: pixel `(y, x)` of the product is pixel `(y, x) * step + phase` of an image.
#[derive(Debug)]
pub struct Output<'a> {
    pub target: To<'a>,
    /// How many images.
    pub images: usize,
    /// Height and width of each.
    pub size: [usize; 2],
    pub step: usize,
    pub phase: [usize; 2],
    /// Whether the product is added to what is there.
    pub add: bool,
}

/// Memory for results, in full or rounded.
#[derive(Debug)]
pub enum To<'a> {
    Full(Shared<'a, f32>),
    Rounded(Shared<'a, bf16>),
}

impl To<'_> {
    fn stride(&self) -> usize {
        match self {
            Self::Full(target) => target.stride(),
            Self::Rounded(target) => target.stride(),
        }
    }

    /// Where a column of pixel 0 lies.
    fn column(&self, first: usize) -> Goal {
        match self {
            Self::Full(target) => Goal::Full(target.start().wrapping_add(first)),
            Self::Rounded(target) => Goal::Rounded(target.start().wrapping_add(first)),
        }
    }

    /// A pixel has its columns in it.
    fn check(&self, pixel: usize, columns: usize) {
        match self {
            Self::Full(target) => _ = target.rectangle(&(pixel..pixel + 1), &(0..columns)),
            Self::Rounded(target) => _ = target.rectangle(&(pixel..pixel + 1), &(0..columns)),
        }
    }

    /// Address and bytes between two pixels.
    fn bytes(&self) -> [usize; 2] {
        match self {
            Self::Full(target) => [target.start().addr(), target.stride() * size_of::<f32>()],
            Self::Rounded(target) => [target.start().addr(), target.stride() * size_of::<bf16>()],
        }
    }
}

/// What is fused into the product.
#[derive(Debug, Default)]
pub struct Fused<'a> {
    /// Images of the output's shape that are added, and the numbers between their pixels.
    pub residual: Option<(&'a [f32], usize)>,
    pub relu: bool,
    pub keep: Kept<'a>,
    /// What each number goes through at last, of the output's pixels.
    pub through: Option<Gate<'a>>,
    /// Whether results are so many that no cache holds them until they are read.
    pub past_cache: bool,
    /// What is summed of each part of the product's pixels.
    pub sums: Option<Sums<'a>>,
}

/// Sums over pixels, which a task takes for the part that it works on.
#[derive(Debug)]
pub struct Sums<'a> {
    /// Rows of [`Parts`].
    pub rows: Shared<'a, f32>,
    /// What a number is multiplied with; where there is nothing, moments are taken.
    pub beneath: &'a [Beneath<'a, f32>],
}

impl Sums<'_> {
    /// Of a part's columns from `first` on, `width` of them.
    fn totals(&self, part: usize, first: usize, width: usize) -> Totals {
        let rows = part * MOST_TOTALS..(part + 1) * MOST_TOTALS;
        let start = self.rows.rectangle(&rows, &(first..first + width));
        let to = array::from_fn(|row| start.wrapping_add(row * self.rows.stride()));
        let under = |Beneath { products, minus }: &Beneath<f32>| Under {
            products: match products {
                Numbers::Full(numbers) => Seen::Full(numbers.as_ptr().wrapping_add(first)),
                Numbers::Rounded(numbers) => Seen::Rounded(numbers.as_ptr().wrapping_add(first)),
            },
            stride: minus.len(),
            minus: minus.as_ptr().wrapping_add(first),
        };
        let of = if self.beneath.is_empty() {
            Summed::Moments { first: to[2] }
        } else {
            Summed::Products(array::from_fn(|place| self.beneath.get(place).map(under)))
        };
        Totals { to, of }
    }
}

/// What is kept of the ReLU, beside the output's pixels.
#[derive(Debug, Default)]
pub enum Kept<'a> {
    #[default]
    Nothing,
    /// A bit for each value that is positive.
    Bits(Shared<'a, u8>),
    /// A byte for each value and every image but the last: the slope between this image and the next.
    Slopes(Shared<'a, u8>),
}

impl Fused<'_> {
    /// Of so many images, those whose pixels must be finished together, each pixel in all of them before the next one.
    pub fn together(&self, images: usize) -> usize {
        if matches!(self.keep, Kept::Slopes(_)) { images } else { 1 }
    }
}

impl Output<'_> {
    /// Which pixel of the images, counted through all, a pixel of the product is.
    pub fn place(&self, [image, y, x]: [usize; 3]) -> usize {
        (image * self.size[0] + y * self.step + self.phase[0]) * self.size[1] + x * self.step + self.phase[1]
    }

    /// Whether vectors can be written past the caches.
    pub fn takes_streams(&self) -> bool {
        self.target.bytes().iter().all(|bytes| bytes.is_multiple_of(LINE))
    }

    /// Every pixel of the product has its columns in the images and in all that lies beside them.
    pub fn check(&self, sweep: &Sweep, fused: &Fused, columns: usize) {
        let last = self.place([self.images - 1, sweep.grid[0] - 1, sweep.grid[1] - 1]);
        self.target.check(last, columns);
        assert!(!self.add || matches!(self.target, To::Full(_)), "sums that would be rounded on the way");
        if let Some((image, stride)) = fused.residual {
            assert!(last * stride + columns <= image.len(), "a residual that ends too early");
        }
        match &fused.keep {
            Kept::Bits(bits) => _ = bits.rectangle(&(last..last + 1), &(0..mask_bytes(columns))),
            Kept::Slopes(slopes) if self.images > 1 => {
                let last = last - self.size[0] * self.size[1];
                slopes.rectangle(&(last..last + 1), &(0..columns));
            }
            Kept::Nothing | Kept::Slopes(_) => (),
        }
        let (kept, reach) = match fused.through {
            Some(Gate::Bits(Bits { data, stride })) => (data, last * stride + mask_bytes(columns)),
            Some(Gate::Slopes(Slopes { data, stride })) => (data, last * stride + columns),
            None => (&[][..], 0),
        };
        assert!(reach <= kept.len(), "a gate that ends too early");
        for Beneath { products, minus } in fused.sums.iter().flat_map(|sums| sums.beneath) {
            assert!(minus.len() == columns && (last + 1) * columns <= products.len(), "products that end too early");
        }
        assert!(!fused.past_cache || self.takes_streams(), "a target that vectors do not divide");
    }

    /// Some columns from `first` on; `former` is room for the columns of all outputs of a tile; `part` is that which sums are
    /// taken of.
    pub fn columns(&self, fused: &Fused, (bias, first): (&Bias, usize), former: &mut Aligned, part: usize) -> Columns {
        let residual =
            fused.residual.map(|(image, stride)| Beside { start: image.as_ptr().wrapping_add(first), stride });
        let beside =
            |kept: &Shared<u8>, from: usize| Beside { start: kept.start().wrapping_add(from), stride: kept.stride() };
        let keep = match &fused.keep {
            Kept::Nothing => Keep::Nothing,
            Kept::Bits(bits) => Keep::Bits(beside(bits, first / MASK)),
            Kept::Slopes(slopes) => {
                let former = former.at_least(MOST * MOST * bias.width).as_mut_ptr();
                Keep::Slopes { to: beside(slopes, first), image: self.size[0] * self.size[1], former }
            }
        };
        let through = fused.through.map(|gate| match gate {
            Gate::Bits(Bits { data, stride }) => {
                Through::Bits(Beside { start: data.as_ptr().wrapping_add(first / MASK), stride })
            }
            Gate::Slopes(Slopes { data, stride }) => {
                Through::Slopes(Beside { start: data.as_ptr().wrapping_add(first), stride })
            }
        });
        let panel = bias.panel(first);
        let totals = fused.sums.as_ref().map(|sums| sums.totals(part, first, bias.width));
        let finish = Finish { bias: panel.as_ptr(), residual, relu: fused.relu, keep, through, totals };
        Columns {
            target: self.target.column(first),
            stride: self.target.stride(),
            count: panel.len().min(bias.columns - first),
            add: self.add,
            finish: Some(finish),
            past_cache: fused.past_cache && !self.add,
        }
    }
}

/// What is added to each column, those included that only panels have.
#[derive(Debug)]
pub struct Bias {
    numbers: Aligned,
    columns: usize,
    width: usize,
}

impl Bias {
    pub fn new(bias: &[f32], width: usize) -> Self {
        let mut numbers = Aligned::zeros(bias.len().next_multiple_of(width));
        numbers.numbers_mut()[..bias.len()].copy_from_slice(bias);
        Self { numbers, columns: bias.len(), width }
    }

    /// Takes others, as many.
    pub fn update(&mut self, bias: &[f32]) {
        assert_eq!(bias.len(), self.columns, "a bias of another length");
        self.numbers.numbers_mut()[..bias.len()].copy_from_slice(bias);
    }

    fn panel(&self, first: usize) -> &[f32] {
        &self.numbers.numbers()[first..first + self.width]
    }
}
