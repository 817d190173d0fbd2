//! A [`Plan`] comes in; the same steps with their weights on a device go out.

use std::sync::atomic::AtomicUsize;

use candle_core::{Device, Result, Tensor, WithDType};

use super::convolution::{Convolution, Finish, Kernel, Shape};
use super::cuda::{self, Card};
use super::layer::Layer;
use super::pool::{AvgPool, MaxPool};
use crate::nn::graph::Affine;
use crate::nn::plan::{self, Plan};
use crate::nn::real::Real;
use crate::nn::steps::{self, Operation, StepId};

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
    /// Rows at once that the device's memory was found to hold.
    pub(super) most_rows: AtomicUsize,
    /// The first step that reads each step's value; its own where there is none.
    pub(super) first_reader: Vec<StepId>,
    /// The last one.
    pub(super) last_reader: Vec<StepId>,
}

/// The first convolution's step.
pub(super) const STEM: StepId = 1;

/// The steps up to the first ReLU, which are linear but for a constant.
#[derive(Clone, Copy)]
pub(super) struct Stem<'a> {
    preprocess: &'a Preprocess,
    convolution: &'a Frozen,
}

/// A step; `C` is what a convolution is, frozen or trained.
#[derive(Debug)]
pub(super) struct Step<C = Frozen> {
    pub(super) work: Work<C>,
    pub(super) inputs: Vec<StepId>,
    /// Height, width, channels.
    pub(super) shape: [usize; 3],
}

#[derive(Debug)]
pub(super) enum Work<C> {
    Preprocess(Preprocess),
    Convolution(C),
    Layer(Layer),
}

/// A convolution with weights that stay as they are.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) convolution: Convolution,
    pub(super) kernel: Kernel,
    pub(super) bias: Tensor,
    pub(super) residual: Option<StepId>,
    pub(super) relu: bool,
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
    pub(super) fn new<T: Real + WithDType>(affine: &Affine, device: &Device) -> Result<Self> {
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
        let mut first_reader = last_reader.clone();
        let mut steps = Vec::with_capacity(plan.steps.len());
        for id in 0..plan.steps.len() {
            let frozen = |of: &plan::Convolution<T>, span| Frozen::new(of, span, device, card);
            let step = Step::new::<T, _>(&plan.steps, id, (device, card), frozen)?;
            for input in step.inputs.iter().copied().chain(step.residual()) {
                last_reader[input] = id;
                first_reader[input] = if first_reader[input] == input { id } else { first_reader[input] };
            }
            steps.push(step);
        }
        let (side, classes, features) = (plan.side, plan.classes(), plan.features);
        let most_rows = AtomicUsize::new(usize::MAX);
        Ok(Self { device: device.clone(), card, side, classes, features, steps, most_rows, first_reader, last_reader })
    }
}

impl Program {
    /// The stem, where the image goes nowhere else.
    pub(super) fn stem(&self) -> Option<Stem<'_>> {
        let [Step { work: Work::Preprocess(preprocess), .. }, Step { work: Work::Convolution(convolution), .. }, ..] =
            self.steps.as_slice()
        else {
            return None;
        };
        let is_alone = self.last_reader[0] == STEM && convolution.residual.is_none() && convolution.relu;
        is_alone.then_some(Stem { preprocess, convolution })
    }
}

impl Stem<'_> {
    /// What its ReLU sees of images.
    pub(super) fn see<T: Real + WithDType>(&self, images: &Tensor) -> Result<Tensor> {
        let Frozen { convolution, kernel, bias, .. } = self.convolution;
        convolution.forward::<T>(
            &self.preprocess.forward(images)?,
            kernel,
            Finish { bias: Some(bias), ..Finish::default() },
        )
    }

    /// From the gradient by that to the one by the images.
    pub(super) fn back<T: Real + WithDType>(&self, gradient: &Tensor) -> Result<Tensor> {
        let Frozen { convolution, kernel, .. } = self.convolution;
        self.preprocess.backward(&convolution.backward::<T>(gradient, kernel, None, None)?)
    }
}

impl Step {
    /// What is added to a convolution.
    pub(super) fn residual(&self) -> Option<StepId> {
        if let Work::Convolution(Frozen { residual, .. }) = &self.work { *residual } else { None }
    }
}

/// From what a convolution goes to what: channels; heights and widths.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) channels: [usize; 2],
    pub(super) sizes: [[usize; 2]; 2],
}

impl<C> Step<C> {
    /// Step `id` of `steps`; `convolution` makes one of its kind.
    pub(super) fn new<T: Real + WithDType, D>(
        steps: &[steps::Step<D>],
        id: StepId,
        (device, card): (&Device, Option<&'static dyn Card>),
        convolution: impl FnOnce(&D, Span) -> Result<C>,
    ) -> Result<Self> {
        let step = &steps[id];
        let span = || {
            let [from, to] = [steps[step.inputs[0]].shape, step.shape];
            Span { channels: [from[2], to[2]], sizes: [[from[0], from[1]], [to[0], to[1]]] }
        };
        let work = match &step.operation {
            Operation::Preprocess(affine) => Work::Preprocess(Preprocess::new::<T>(affine, device)?),
            Operation::Convolution(of) => Work::Convolution(convolution(of, span())?),
            Operation::MaxPool(window) => Work::Layer(Layer::MaxPool(MaxPool::new(*window, span().sizes, card))),
            Operation::AvgPool { window, count_padding } => {
                let pool = AvgPool::new::<T>(*window, *count_padding, span().sizes, device, card)?;
                Work::Layer(Layer::AvgPool(pool))
            }
            Operation::Concat => Work::Layer(Layer::Concat),
            Operation::GlobalAvgPool => Work::Layer(Layer::GlobalAvgPool),
        };
        Ok(Self { work, inputs: step.inputs.clone(), shape: step.shape })
    }
}

impl Frozen {
    fn new<T: Real + WithDType>(
        of: &plan::Convolution<T>,
        Span { channels, sizes }: Span,
        device: &Device,
        card: Option<&'static dyn Card>,
    ) -> Result<Self> {
        let convolution = Convolution::new(Shape { window: of.window, channels, sizes }, device, card)?;
        let kernel = convolution.kernel(&Tensor::from_slice(&of.kernel, of.kernel.len(), device)?)?;
        let bias = Tensor::from_slice(&of.bias, of.bias.len(), device)?;
        Ok(Self { convolution, kernel, bias, residual: of.residual, relu: of.relu })
    }
}
