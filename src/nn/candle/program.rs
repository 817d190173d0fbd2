//! A [`Plan`] comes in; the same steps with their weights on a device go out.

use candle_core::{Device, Result, Tensor, WithDType};

use super::convolution::Convolution;
use super::cuda::{self, Card};
use super::pool::{AvgPool, MaxPool};
use crate::nn::graph::Affine;
use crate::nn::plan::{Operation, Plan, StepId};
use crate::nn::real::Real;

/// The steps of a plan on a device, shared by all executors.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) device: Device,
    /// What runs kernels of our own there.
    pub(super) card: Option<&'static dyn Card>,
    pub(super) side: usize,
    pub(super) classes: usize,
    pub(super) features: StepId,
    pub(super) steps: Vec<Step>,
    /// The last step that reads each step's value.
    pub(super) last_reader: Vec<StepId>,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) work: Work,
    pub(super) inputs: Vec<StepId>,
    /// Height, width, channels.
    pub(super) shape: [usize; 3],
}

#[derive(Debug)]
pub(super) enum Work {
    Preprocess(Preprocess),
    Convolution { weights: Convolution, residual: Option<StepId>, relu: bool },
    MaxPool(MaxPool),
    AvgPool(AvgPool),
    Concat,
    GlobalAvgPool,
}

/// The affine step from RGB in [0, 1].
#[derive(Debug)]
pub(super) struct Preprocess {
    /// Which of R, G, B each channel comes from.
    source: Tensor,
    /// Which channel each of R, G, B goes to.
    back: Tensor,
    /// `[1, 3, 1, 1]`, as is `offset`.
    scale: Tensor,
    offset: Tensor,
}

impl Preprocess {
    fn new<T: Real + WithDType>(affine: &Affine, device: &Device) -> Result<Self> {
        let column = |values: [f64; 3]| Tensor::new(&values.map(<T as Real>::from_f64), device)?.reshape((1, 3, 1, 1));
        let mut back = [0; 3];
        for (channel, &source) in affine.source.iter().enumerate() {
            back[source] = channel as u32;
        }
        Ok(Self {
            source: Tensor::new(&affine.source.map(|source| source as u32), device)?,
            back: Tensor::new(&back, device)?,
            scale: column(affine.scale)?,
            offset: column(affine.offset)?,
        })
    }

    pub(super) fn forward(&self, rgb: &Tensor) -> Result<Tensor> {
        rgb.index_select(&self.source, 1)?.broadcast_mul(&self.scale)?.broadcast_add(&self.offset)
    }

    pub(super) fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        gradient.broadcast_mul(&self.scale)?.index_select(&self.back, 1)
    }
}

impl Program {
    pub(super) fn new<T: Real + WithDType>(plan: &Plan<T>, device: &Device) -> Result<Self> {
        Self::with(plan, device, cuda::card(device, T::DTYPE))
    }

    /// With or without kernels of our own.
    pub(super) fn with<T: Real + WithDType>(
        plan: &Plan<T>,
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let mut last_reader: Vec<StepId> = (0..plan.steps.len()).collect();
        let mut steps = Vec::with_capacity(plan.steps.len());
        for (id, step) in plan.steps.iter().enumerate() {
            let work = Work::new(plan, id, device, card)?;
            let residual = if let Work::Convolution { residual, .. } = &work { *residual } else { None };
            for input in step.inputs.iter().copied().chain(residual) {
                last_reader[input] = id;
            }
            steps.push(Step { work, inputs: step.inputs.clone(), shape: step.shape });
        }
        let (side, classes, features) = (plan.side, plan.classes(), plan.features);
        Ok(Self { device: device.clone(), card, side, classes, features, steps, last_reader })
    }
}

impl Work {
    fn new<T: Real + WithDType>(
        plan: &Plan<T>,
        id: StepId,
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let step = &plan.steps[id];
        let size = |id: StepId| [plan.steps[id].shape[0], plan.steps[id].shape[1]];
        let sizes = || [size(step.inputs[0]), size(id)];
        Ok(match &step.operation {
            Operation::Preprocess(affine) => Self::Preprocess(Preprocess::new::<T>(affine, device)?),
            Operation::Convolution(convolution) => Self::Convolution {
                weights: Convolution::new(convolution, sizes(), device, card)?,
                residual: convolution.residual,
                relu: convolution.relu,
            },
            Operation::MaxPool(window) => Self::MaxPool(MaxPool::new(*window, sizes(), card)),
            Operation::AvgPool { window, count_padding } => {
                Self::AvgPool(AvgPool::new::<T>(*window, *count_padding, sizes(), device, card)?)
            }
            Operation::Concat => Self::Concat,
            Operation::GlobalAvgPool => Self::GlobalAvgPool,
        })
    }
}
