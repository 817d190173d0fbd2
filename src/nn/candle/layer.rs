//! What stands between convolutions: pools, concatenation, the mean of a whole image; forward and back.

use candle_core::{Result, Tensor, WithDType};

use super::pool::{AvgPool, MaxPool};
use crate::nn::real::Real;

/// One of them.
#[derive(Debug)]
pub(super) enum Layer {
    MaxPool(MaxPool),
    AvgPool(AvgPool),
    Concat,
    GlobalAvgPool,
}

/// What a maximum keeps for the way back.
#[derive(Debug)]
pub(super) struct Winners {
    /// Which value of each window was the largest.
    place: Tensor,
    /// Between each row and the next: how the winners at both share.
    share: Option<Tensor>,
}

/// What the rows of a batch are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Images that have nothing to do with each other.
    Images,
    /// Points of a path.
    Points,
}

impl Winners {
    /// From what a pool has seen and what it gave.
    fn new<T: Real + WithDType>(pool: &MaxPool, (x, y): (&Tensor, &Tensor), rows: Rows) -> Result<Self> {
        let place = pool.places::<T>(x, y)?;
        let share = match rows {
            Rows::Images => None,
            Rows::Points => Some(pool.shares::<T>(x, (y, &place))?),
        };
        Ok(Self { place, share })
    }
}

impl Layer {
    /// Of `inputs`, `[rows, channels, height, width]` each; a concatenation takes several, all others one. With what a maximum keeps
    /// for the way back, for rows that go there.
    pub(super) fn forward<T: Real + WithDType>(
        &self,
        inputs: &[&Tensor],
        keep: Option<Rows>,
    ) -> Result<(Tensor, Option<Winners>)> {
        Ok(match self {
            Self::MaxPool(pool) => {
                let y = pool.forward::<T>(inputs[0])?;
                let winners = keep.map(|rows| Winners::new::<T>(pool, (inputs[0], &y), rows)).transpose()?;
                (y, winners)
            }
            Self::AvgPool(pool) => (pool.forward::<T>(inputs[0])?, None),
            Self::Concat => (Tensor::cat(inputs, 1)?, None),
            Self::GlobalAvgPool => (inputs[0].mean_keepdim((2, 3))?, None),
        })
    }

    /// The gradient by each input, from that by the output; `shapes` are the inputs' heights, widths and channels.
    pub(super) fn backward<T: Real + WithDType>(
        &self,
        gradient: &Tensor,
        winners: Option<&Winners>,
        shapes: &[[usize; 3]],
    ) -> Result<Vec<Tensor>> {
        Ok(match self {
            Self::MaxPool(pool) => match winners {
                Some(Winners { place, share: None }) => vec![pool.backward(gradient, place)?],
                Some(Winners { place, share: Some(share) }) => vec![pool.between::<T>(gradient, place, share)?],
                None => candle_core::bail!("nobody kept where the largest values were"),
            },
            Self::AvgPool(pool) => vec![pool.backward(gradient)?],
            Self::Concat => {
                let mut from = 0;
                let mut parts = Vec::with_capacity(shapes.len());
                for [_, _, channels] in shapes {
                    parts.push(gradient.narrow(1, from, *channels)?);
                    from += channels;
                }
                parts
            }
            Self::GlobalAvgPool => {
                let ((rows, channels, _, _), [height, width, _]) = (gradient.dims4()?, shapes[0]);
                let share = (gradient / (height * width) as f64)?;
                vec![share.broadcast_as((rows, channels, height, width))?.contiguous()?]
            }
        })
    }
}
