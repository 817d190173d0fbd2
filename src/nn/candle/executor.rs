//! Rows of images come in; logits and gradients go out, a batch at a time, all of it on the device.
//!
//! Backward walks the plan itself: weights are frozen, so that candle's autograd would compute twice what is needed.
//! Forward keeps one byte per ReLU and one or two per maximum; a value is dropped after its last reader.

use std::marker::PhantomData;
use std::sync::Arc;

use candle_core::{Device, Result, Tensor, WithDType};

use super::convolution::Finish;
use super::cuda::Card;
use super::layer::{Rows, Winners};
use super::program::{Frozen, Program, Step, Work};
use super::share;
use crate::nn::real::Real;
use crate::nn::steps::StepId;
use crate::nn::{self, At, Between, Cotangent, Executor, Gradients, Interrupt, NnError, Secants};

/// Runs a plan on one of candle's devices, in f32 or f64.
#[derive(Debug)]
pub struct CandleExecutor<T> {
    program: Arc<Program>,
    rows: usize,
    number: PhantomData<fn() -> T>,
}

/// What forward keeps of a step for backward.
enum Kept {
    /// Where a ReLU let through, 1 in a byte.
    Mask(Tensor),
    /// A ReLU's slope between each row and the next.
    Slope(Tensor),
    /// Of a maximum.
    Winners(Winners),
}

/// What a forward pass is for, and so what it keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// Over images: for the gradient at each, by the value of this step; nothing if there is none.
    Images(Option<StepId>),
    /// Over points of a path: for the secants between neighbours.
    Points,
}

impl Pass {
    fn keeps(self, id: StepId) -> bool {
        match self {
            Self::Images(from) => from.is_some_and(|from| id > from),
            Self::Points => true,
        }
    }

    fn rows(self) -> Rows {
        match self {
            Self::Images(_) => Rows::Images,
            Self::Points => Rows::Points,
        }
    }
}

/// One forward pass.
struct Forward {
    /// `[rows, classes]`.
    logits: Tensor,
    /// By step; empty where backward needs nothing.
    kept: Vec<Option<Kept>>,
    /// The features' values, if they were asked for.
    features: Option<Tensor>,
}

impl<T: Real + WithDType> CandleExecutor<T> {
    pub(super) fn of(program: Arc<Program>, rows: usize) -> Self {
        Self { program, rows: rows.max(1), number: PhantomData }
    }

    fn row(&self) -> usize {
        self.program.side * self.program.side * 3
    }

    fn forward(&self, images: &[T], pass: Pass) -> Result<Forward> {
        let Program { steps, last_reader, features, .. } = &*self.program;
        let image = upload(images, self.program.side, &self.program.device)?;
        let mut values: Vec<Option<Tensor>> = vec![None; steps.len()];
        let mut forward = Forward { logits: image.clone(), kept: Vec::with_capacity(steps.len()), features: None };
        for (id, step) in steps.iter().enumerate() {
            let (value, kept) = run::<T>(step, &image, &values, pass.rows(), self.program.card)?;
            forward.kept.push(kept.filter(|_| pass.keeps(id)));
            if pass == Pass::Images(Some(*features)) && id == *features {
                forward.features = Some(value.clone());
            }
            if id + 1 == steps.len() {
                forward.logits = value.flatten_from(1)?;
            }
            values[id] = Some(value);
            let read = step.inputs.iter().copied().chain(step.residual());
            read.filter(|&input| last_reader[input] == id).for_each(|input| values[input] = None);
        }
        Ok(forward)
    }

    /// From the derivative by the logits to the one by the value of step `to`, or by the image if that is the first step.
    fn backward(&self, derivative: &Tensor, kept: &[Option<Kept>], to: StepId) -> Result<Tensor> {
        let steps = &self.program.steps;
        let mut gradients: Vec<Option<Tensor>> = vec![None; steps.len()];
        let last = steps.len() - 1;
        gradients[last] = Some(derivative.unsqueeze(2)?.unsqueeze(3)?);
        for id in (to + 1..steps.len()).rev() {
            if let Some(gradient) = gradients[id].take() {
                for (input, part) in self.back(id, gradient, kept[id].as_ref())? {
                    add(&mut gradients[input], part)?;
                }
            }
        }
        let missing = || candle_core::Error::Msg(format!("no way leads back from the logits to step {to}"));
        let gradient = gradients[to].take().ok_or_else(missing)?;
        match &steps[to].work {
            Work::Preprocess(preprocess) => preprocess.backward(&gradient),
            _ => Ok(gradient),
        }
    }

    /// What one step sends back to each of its inputs.
    fn back(&self, id: StepId, gradient: Tensor, kept: Option<&Kept>) -> Result<Vec<(StepId, Tensor)>> {
        let Program { steps, card, .. } = &*self.program;
        let step = &steps[id];
        match &step.work {
            Work::Preprocess(_) => Ok(Vec::new()),
            Work::Convolution(Frozen { convolution, kernel, residual, .. }) => {
                let gradient = match kept {
                    Some(Kept::Mask(mask)) => share::masked(&gradient, mask, *card)?,
                    Some(Kept::Slope(slope)) => share::times::<T>(&gradient, slope, *card)?,
                    _ => gradient,
                };
                let to_input = convolution.backward::<T>(&gradient, kernel)?;
                Ok(residual
                    .map(|residual| (residual, gradient))
                    .into_iter()
                    .chain([(step.inputs[0], to_input)])
                    .collect())
            }
            Work::Layer(layer) => {
                let shapes: Vec<_> = step.inputs.iter().map(|&input| steps[input].shape).collect();
                let winners = if let Some(Kept::Winners(winners)) = kept { Some(winners) } else { None };
                let parts = layer.backward::<T>(&gradient, winners, &shapes)?;
                Ok(step.inputs.iter().copied().zip(parts).collect())
            }
        }
    }

    fn value_and_gradient_of(&self, images: &[T], at: At, cotangent: &Cotangent) -> Result<Gradients<T>> {
        let program = &self.program;
        let to = match at {
            At::Input => 0,
            At::Features => program.features,
        };
        let forward = self.forward(images, Pass::Images(Some(to)))?;
        let logits = to_host::<T>(&forward.logits)?;
        let (values, derivatives): (Vec<f64>, Vec<Vec<f64>>) =
            logits.chunks_exact(program.classes).map(cotangent).unzip();
        let derivatives: Vec<T> = derivatives.into_iter().flatten().map(<T as Real>::from_f64).collect();
        let derivative = Tensor::from_vec(derivatives, (values.len(), program.classes), &program.device)?;
        let gradient = channels_last(&self.backward(&derivative, &forward.kept, to)?)?;
        let activation = forward.features.map_or_else(|| Ok(Vec::new()), |features| channels_last(&features))?;
        let shape = if to == 0 { [program.side, program.side, 3] } else { program.steps[to].shape };
        Ok(Gradients { logits, values, gradient, activation, shape })
    }

    fn secants_of(&self, points: &[T], between: &Between) -> Result<Secants<T>> {
        let Program { classes, device, .. } = &*self.program;
        let forward = self.forward(points, Pass::Points)?;
        let logits = to_host::<T>(&forward.logits)?;
        let cotangents = nn::cotangents(&logits, *classes, between);
        let derivatives: Vec<T> = cotangents.into_iter().map(<T as Real>::from_f64).collect();
        let derivative = Tensor::from_vec(derivatives, (logits.len() / classes - 1, *classes), device)?;
        let gradient = channels_last(&self.backward(&derivative, &forward.kept, 0)?)?;
        Ok(Secants { logits, gradient })
    }

    /// Cuts the rows into batches, after a look at their size.
    fn batches<'a>(&self, images: &'a [T]) -> std::result::Result<std::slice::Chunks<'a, T>, NnError> {
        let expected = self.row();
        if images.len().is_multiple_of(expected) {
            Ok(images.chunks(expected * self.rows))
        } else {
            Err(NnError::Shape { expected, given: images.len() })
        }
    }
}

/// A step's value and what backward needs of it.
fn run<T: Real + WithDType>(
    step: &Step,
    image: &Tensor,
    values: &[Option<Tensor>],
    rows: Rows,
    card: Option<&'static dyn Card>,
) -> Result<(Tensor, Option<Kept>)> {
    let value = |id: StepId| {
        values[id].as_ref().ok_or_else(|| candle_core::Error::Msg(format!("the value of step {id} is gone")))
    };
    Ok(match &step.work {
        Work::Preprocess(preprocess) => (preprocess.forward(image)?, None),
        Work::Convolution(Frozen { convolution, kernel, bias, residual, relu }) => {
            let (input, residual) = (value(step.inputs[0])?, residual.map(value).transpose()?);
            let run = |relu| convolution.forward::<T>(input, kernel, Finish { bias: Some(bias), residual, relu });
            match rows {
                _ if !relu => (run(false)?, None),
                Rows::Images => {
                    let y = run(true)?;
                    let mask = y.gt(0.0)?;
                    (y, Some(Kept::Mask(mask)))
                }
                Rows::Points => {
                    let y = run(false)?;
                    (y.relu()?, Some(Kept::Slope(share::of_relu(&y, card)?)))
                }
            }
        }
        Work::Layer(layer) => {
            let inputs = step.inputs.iter().map(|&id| value(id)).collect::<Result<Vec<_>>>()?;
            let (y, winners) = layer.forward::<T>(&inputs, rows)?;
            (y, winners.map(Kept::Winners))
        }
    })
}

/// `[rows, 3, side, side]` on the device, from channels last.
pub(super) fn upload<T: WithDType>(images: &[T], side: usize, device: &Device) -> Result<Tensor> {
    let shape = (images.len() / (side * side * 3), side, side, 3);
    Tensor::from_slice(images, shape, device)?.permute((0, 3, 1, 2))?.contiguous()
}

/// To what has come before, if anything has.
pub(super) fn add(place: &mut Option<Tensor>, part: Tensor) -> Result<()> {
    *place = Some(match place.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

/// `[rows, height, width, channels]`, row by row.
fn channels_last<T: WithDType>(x: &Tensor) -> Result<Vec<T>> {
    x.permute((0, 2, 3, 1))?.contiguous()?.flatten_all()?.to_vec1()
}

pub(super) fn to_host<T: Real + WithDType>(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.flatten_all()?.to_vec1::<T>()?.into_iter().map(<T as Real>::to_f64).collect())
}

impl<T: Real + WithDType> Executor<T> for CandleExecutor<T> {
    fn side(&self) -> usize {
        self.program.side
    }

    fn classes(&self) -> usize {
        self.program.classes
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn logits(&mut self, images: &[T]) -> std::result::Result<Vec<f64>, NnError> {
        let batches = self.batches(images)?;
        let logits = batches
            .map(|batch| to_host::<T>(&self.forward(batch, Pass::Images(None))?.logits))
            .collect::<Result<Vec<_>>>();
        Ok(logits.map_err(super::failed)?.concat())
    }

    fn value_and_gradient(
        &mut self,
        images: &[T],
        at: At,
        cotangent: &Cotangent,
    ) -> std::result::Result<Gradients<T>, NnError> {
        let mut all: Option<Gradients<T>> = None;
        for batch in self.batches(images)? {
            let part = self.value_and_gradient_of(batch, at, cotangent).map_err(super::failed)?;
            match &mut all {
                Some(all) => {
                    all.logits.extend(part.logits);
                    all.values.extend(part.values);
                    all.gradient.extend(part.gradient);
                    all.activation.extend(part.activation);
                }
                None => all = Some(part),
            }
        }
        all.ok_or(NnError::Shape { expected: self.row(), given: 0 })
    }

    fn secants(
        &mut self,
        points: &[T],
        between: &Between,
        interrupt: &Interrupt,
    ) -> std::result::Result<Secants<T>, NnError> {
        let mut all = Secants::default();
        for points in nn::stretches(points, self.row(), self.rows)? {
            if interrupt() {
                return Err(NnError::Interrupted);
            }
            all.append(self.secants_of(points, between).map_err(super::failed)?, self.program.classes);
        }
        Ok(all)
    }
}
