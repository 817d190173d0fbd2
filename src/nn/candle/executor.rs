//! Rows of images come in; logits and gradients go out, a batch at a time, all of it on the device.
//!
//! Backward walks the plan itself: weights are frozen, so that candle's autograd would compute twice what is needed.
//! A value is dropped after its last reader, but for those of ReLUs, from which the gradient at each image knows where it comes
//! through. Between points of a path a byte is kept for a ReLU instead, and of a maximum one or two.
//!
//! Where the device's memory is too small for a batch, it is cut in two, and so are all later ones.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use candle_core::{Device, Tensor, WithDType};

use super::convolution::Finish;
use super::cuda::Card;
use super::layer::{Rows, Winners};
use super::program::{Frozen, Program, STEM, Step, Work};
use super::share;
use crate::nn::real::Real;
use crate::nn::steps::StepId;
use crate::nn::{
    self, Along, At, Between, Cotangent, Executor, Gradients, Interrupt, Line, NnError, Precision, Secants,
};

/// Runs a plan on one of candle's devices, in f32 or f64.
#[derive(Debug)]
pub struct CandleExecutor<T> {
    program: Arc<Program>,
    /// At once: as many as were asked for, or as the memory was found to hold.
    rows: usize,
    number: PhantomData<fn() -> T>,
}

/// Why a pass gave nothing.
enum Failure {
    /// The device failed, perhaps for want of memory.
    Device(candle_core::Error),
    /// Any other reason.
    Other(NnError),
}

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(error)
    }
}

impl From<NnError> for Failure {
    fn from(error: NnError) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    fn error(self) -> NnError {
        match self {
            Self::Device(error) => super::failed(error),
            Self::Other(error) => error,
        }
    }
}

/// What forward keeps of a step for backward.
enum Kept {
    /// What a ReLU gave: it let through what is above nought.
    Value(Tensor),
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
    /// For what rows step `id` keeps what backward needs of it; `None` where backward does not come.
    fn keeps(self, id: StepId) -> Option<Rows> {
        match self {
            Self::Images(from) => from.filter(|&from| id > from).map(|_| Rows::Images),
            Self::Points => Some(Rows::Points),
        }
    }
}

/// Where a forward pass begins. It is let go as soon as it was read.
enum Start {
    /// With `[rows, 3, side, side]`.
    Image(Tensor),
    /// Behind the stem: what its ReLU sees of a line's two ends, and how much of each a point is, `[rows, 2]`.
    Line(Tensor, Tensor),
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

    /// How many rows these are, if they are whole.
    fn count(&self, images: &[T]) -> Result<usize, NnError> {
        let expected = self.row();
        if images.len().is_multiple_of(expected) {
            Ok(images.len() / expected)
        } else {
            Err(NnError::Shape { expected, given: images.len() })
        }
    }

    /// Runs `work`, which takes `count` rows; where the memory is too small, all over with half as many at once.
    fn within_memory<R>(&mut self, count: usize, work: impl Fn(&Self) -> Result<R, Failure>) -> Result<R, NnError> {
        loop {
            self.rows = self.rows.min(self.program.most_rows.load(Ordering::Relaxed));
            let rows = self.rows.min(count);
            match work(self) {
                Err(Failure::Device(error)) if rows > 1 && super::is_out_of_memory(&error) => {
                    self.program.most_rows.fetch_min(rows / 2, Ordering::Relaxed);
                }
                result => return result.map_err(Failure::error),
            }
        }
    }

    fn upload(&self, images: &[T]) -> candle_core::Result<Tensor> {
        upload(images, self.program.side, &self.program.device)
    }

    fn forward(&self, start: Start, pass: Pass, interrupt: &Interrupt) -> Result<Forward, Failure> {
        let Program { steps, last_reader, features, card, .. } = &*self.program;
        let mut values: Vec<Option<Tensor>> = vec![None; steps.len()];
        let (mut kept, mut activation) = (Vec::with_capacity(steps.len()), None);
        let first = if matches!(start, Start::Line(..)) { STEM } else { 0 };
        let mut start = Some(start);
        kept.resize_with(first, || None);
        for (id, step) in steps.iter().enumerate().skip(first) {
            go_on(interrupt)?;
            let (value, keep) = match start.take() {
                Some(Start::Line(ends, places)) => rectified(share::rectify_line(&ends, &places, *card)?),
                Some(Start::Image(image)) => run::<T>(step, Some(&image), &values, pass.keeps(id), *card)?,
                None => run::<T>(step, None, &values, pass.keeps(id), *card)?,
            };
            kept.push(keep);
            if pass == Pass::Images(Some(*features)) && id == *features {
                activation = Some(value.clone());
            }
            values[id] = Some(value);
            let read = step.inputs.iter().copied().chain(step.residual());
            read.filter(|&input| last_reader[input] == id).for_each(|input| values[input] = None);
        }
        let last = values.pop().flatten().ok_or_else(|| candle_core::Error::Msg("a plan without steps".to_owned()))?;
        Ok(Forward { logits: last.flatten_from(1)?, kept, features: activation })
    }

    /// From the derivative by the logits to the one by the value of step `to`, or by the image if that is the first step.
    fn backward(
        &self,
        derivative: &Tensor,
        mut kept: Vec<Option<Kept>>,
        to: StepId,
        interrupt: &Interrupt,
    ) -> Result<Tensor, Failure> {
        let steps = &self.program.steps;
        // The gradient by what this step gives is asked for, not the one behind its slope.
        kept[to] = None;
        let mut gradients: Vec<Option<Tensor>> = vec![None; steps.len()];
        let last = steps.len() - 1;
        gradients[last] = Some(derivative.unsqueeze(2)?.unsqueeze(3)?);
        // What is kept is let go as soon as the way back has passed it.
        for id in (to + 1..steps.len()).rev() {
            go_on(interrupt)?;
            if let Some(gradient) = gradients[id].take() {
                self.back(id, gradient, &mut kept, &mut gradients)?;
            }
        }
        let missing = || candle_core::Error::Msg(format!("no way leads back from the logits to step {to}"));
        let gradient = gradients[to].take().ok_or_else(missing)?;
        Ok(match &steps[to].work {
            Work::Preprocess(preprocess) => preprocess.backward(&gradient)?,
            _ => gradient,
        })
    }

    /// Adds what one step sends back to each of its inputs.
    fn back(
        &self,
        id: StepId,
        gradient: Tensor,
        kept: &mut [Option<Kept>],
        gradients: &mut [Option<Tensor>],
    ) -> candle_core::Result<()> {
        let Program { steps, card, first_reader, .. } = &*self.program;
        let (step, own) = (&steps[id], kept[id].take());
        match &step.work {
            Work::Preprocess(_) => {}
            Work::Convolution(Frozen { convolution, kernel, residual, .. }) => {
                let gradient = match own {
                    Some(Kept::Value(value)) => share::through(&gradient, &value, *card)?,
                    Some(Kept::Slope(slope)) => share::times::<T>(&gradient, &slope, *card)?,
                    _ => gradient,
                };
                let input = step.inputs[0];
                // Nothing more comes to the input, so that its slope can be taken at once.
                let is_last = first_reader[input] == id && *residual != Some(input);
                let shares = match &kept[input] {
                    Some(Kept::Slope(shares)) if is_last => Some(shares),
                    _ => None,
                };
                let others = gradients[input].take();
                gradients[input] = Some(convolution.backward::<T>(&gradient, kernel, others.as_ref(), shares)?);
                if shares.is_some() {
                    kept[input] = None;
                }
                if let Some(residual) = residual {
                    add(&mut gradients[*residual], gradient)?;
                }
            }
            Work::Layer(layer) => {
                let shapes: Vec<_> = step.inputs.iter().map(|&input| steps[input].shape).collect();
                let winners = if let Some(Kept::Winners(winners)) = &own { Some(winners) } else { None };
                for (&input, part) in step.inputs.iter().zip(layer.backward::<T>(&gradient, winners, &shapes)?) {
                    add(&mut gradients[input], part)?;
                }
            }
        }
        Ok(())
    }

    fn value_and_gradient_of(&self, images: &[T], to: StepId, cotangent: &Cotangent) -> Result<Gradients<T>, Failure> {
        let Program { classes, device, steps, .. } = &*self.program;
        let Forward { logits, kept, features } =
            self.forward(Start::Image(self.upload(images)?), Pass::Images(Some(to)), &|| false)?;
        let logits = to_host::<T>(&logits)?;
        let (values, derivatives): (Vec<f64>, Vec<Vec<f64>>) = logits.chunks_exact(*classes).map(cotangent).unzip();
        let derivatives: Vec<T> = derivatives.into_iter().flatten().map(<T as Real>::from_f64).collect();
        let derivative = Tensor::from_vec(derivatives, (values.len(), *classes), device)?;
        let gradient = channels_last(&self.backward(&derivative, kept, to, &|| false)?)?;
        let activation = features.map_or_else(|| Ok(Vec::new()), |features| channels_last(&features))?;
        Ok(Gradients { logits, values, gradient, activation, shape: steps[to].shape })
    }

    /// The logits of points, and the gradients between neighbours, which stay on the device: by the image or, of points that begin
    /// behind it, by what the stem has seen.
    fn secants_of(
        &self,
        points: Start,
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<(Vec<f64>, Tensor), Failure> {
        let Program { classes, device, card, .. } = &*self.program;
        let of_stem = matches!(points, Start::Line(..));
        let Forward { logits, mut kept, .. } = self.forward(points, Pass::Points, interrupt)?;
        // This waits until all of forward has run; then the first step of backward asks again, before anything else is queued.
        let logits = to_host::<T>(&logits)?;
        let cotangents = nn::cotangents(&logits, *classes, between);
        let derivatives: Vec<T> = cotangents.into_iter().map(<T as Real>::from_f64).collect();
        let derivative = Tensor::from_vec(derivatives, (logits.len() / classes - 1, *classes), device)?;
        let gradient = if of_stem {
            let Some(Kept::Slope(slope)) = kept[STEM].take() else {
                return Err(candle_core::Error::Msg("the stem kept no slope".to_owned()).into());
            };
            share::times::<T>(&self.backward(&derivative, kept, STEM, interrupt)?, &slope, *card)?
        } else {
            self.backward(&derivative, kept, 0, interrupt)?
        };
        Ok((logits, gradient))
    }

    /// How much of each end of a line its points at some places are, `[rows, 2]`.
    fn places(&self, places: &[f64]) -> candle_core::Result<Tensor> {
        let ends = places.iter().flat_map(|place| [1.0 - place, *place]).map(<T as Real>::from_f64);
        Tensor::from_vec(ends.collect(), (places.len(), 2), &self.program.device)
    }

    /// The line's ends and points, and the sum over all intervals, are taken behind the stem: up to there everything is linear.
    fn along_of(
        &self,
        ends: &Tensor,
        places: &[f64],
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<Along, Failure> {
        let stem = self.program.stem();
        let ends = stem.map_or_else(|| Ok(ends.clone()), |stem| stem.see::<T>(ends))?;
        let (mut all, mut sum) = (Vec::new(), None);
        for places in nn::stretches(places, 1, self.rows)? {
            let shares = self.places(places)?;
            let start = match stem {
                Some(_) => Start::Line(ends.clone(), shares),
                None => Start::Image(share::points(&ends, &shares)?),
            };
            let (logits, gradient) = self.secants_of(start, between, interrupt)?;
            let widths: Vec<T> = places.windows(2).map(|ends| <T as Real>::from_f64(ends[1] - ends[0])).collect();
            let widths = Tensor::from_vec(widths, (1, places.len() - 1), &self.program.device)?;
            let one = (1, gradient.dim(1)?, gradient.dim(2)?, gradient.dim(3)?);
            add(&mut sum, widths.matmul(&gradient.contiguous()?.flatten_from(1)?)?.reshape(one)?)?;
            // A stretch begins with the last point of the one before.
            all.truncate(all.len().saturating_sub(self.program.classes));
            all.extend(logits);
        }
        let sum = sum.ok_or_else(|| candle_core::Error::Msg("a line without an interval".to_owned()))?;
        let sum = stem.map_or_else(|| Ok(sum.clone()), |stem| stem.back::<T>(&sum))?;
        let gradient = channels_last::<T>(&sum)?.into_iter().map(<T as Real>::to_f64).collect();
        Ok(Along { logits: all, gradient })
    }
}

/// An error if nobody waits any longer.
///
/// A card is handed steps faster than it runs them. What it has been handed by then still runs, and whoever uses it next waits
/// for that: for forward or for backward of one batch at most, since the logits must be here before backward begins.
fn go_on(interrupt: &Interrupt) -> Result<(), NnError> {
    if interrupt() { Err(NnError::Interrupted) } else { Ok(()) }
}

/// A step's value and, where it is kept, what backward needs of it.
fn run<T: Real + WithDType>(
    step: &Step,
    image: Option<&Tensor>,
    values: &[Option<Tensor>],
    keep: Option<Rows>,
    card: Option<&'static dyn Card>,
) -> candle_core::Result<(Tensor, Option<Kept>)> {
    let value = |id: StepId| {
        values[id].as_ref().ok_or_else(|| candle_core::Error::Msg(format!("the value of step {id} is gone")))
    };
    Ok(match &step.work {
        Work::Preprocess(preprocess) => match image {
            Some(image) => (preprocess.forward(image)?, None),
            None => candle_core::bail!("a step after the first has no image"),
        },
        Work::Convolution(Frozen { convolution, kernel, bias, residual, relu }) => {
            let (input, residual) = (value(step.inputs[0])?, residual.map(value).transpose()?);
            let run = |relu| {
                convolution.forward::<T>(input, kernel, Finish { bias: Some(bias), residual, relu, shares: None })
            };
            match keep.filter(|_| *relu) {
                None => (run(*relu)?, None),
                Some(Rows::Images) => {
                    let y = run(true)?;
                    (y.clone(), Some(Kept::Value(y)))
                }
                Some(Rows::Points) => rectified(share::rectify(&run(false)?, card)?),
            }
        }
        Work::Layer(layer) => {
            let inputs = step.inputs.iter().map(|&id| value(id)).collect::<candle_core::Result<Vec<_>>>()?;
            let (y, winners) = layer.forward::<T>(&inputs, keep)?;
            (y, winners.map(Kept::Winners))
        }
    })
}

/// What a ReLU gives of what it has seen at points of a path, and its slopes between them.
fn rectified((value, slope): (Tensor, Tensor)) -> (Tensor, Option<Kept>) {
    (value, Some(Kept::Slope(slope)))
}

/// `[rows, 3, side, side]` on the device, from channels last.
pub(super) fn upload<T: WithDType>(images: &[T], side: usize, device: &Device) -> candle_core::Result<Tensor> {
    let shape = (images.len() / (side * side * 3), side, side, 3);
    Tensor::from_slice(images, shape, device)?.permute((0, 3, 1, 2))?.contiguous()
}

/// To what has come before, if anything has.
pub(super) fn add(place: &mut Option<Tensor>, part: Tensor) -> candle_core::Result<()> {
    *place = Some(match place.take() {
        Some(sum) => (sum + part)?,
        None => part,
    });
    Ok(())
}

/// `[rows, height, width, channels]`, row by row.
fn channels_last<T: WithDType>(x: &Tensor) -> candle_core::Result<Vec<T>> {
    x.permute((0, 2, 3, 1))?.contiguous()?.flatten_all()?.to_vec1()
}

pub(super) fn to_host<T: Real + WithDType>(x: &Tensor) -> candle_core::Result<Vec<f64>> {
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

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn logits(&mut self, images: &[T]) -> Result<Vec<f64>, NnError> {
        self.within_memory(self.count(images)?, |this| {
            let mut all = Vec::new();
            for batch in images.chunks(this.row() * this.rows) {
                all.extend(to_host::<T>(
                    &this.forward(Start::Image(this.upload(batch)?), Pass::Images(None), &|| false)?.logits,
                )?);
            }
            Ok(all)
        })
    }

    fn value_and_gradient(&mut self, images: &[T], at: At, cotangent: &Cotangent) -> Result<Gradients<T>, NnError> {
        let to = match at {
            At::Input => 0,
            At::Features => self.program.features,
        };
        let (logits, values, gradient, activation) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let nothing = Gradients { logits, values, gradient, activation, shape: self.program.steps[to].shape };
        self.within_memory(self.count(images)?, |this| {
            let mut all = nothing.clone();
            for batch in images.chunks(this.row() * this.rows) {
                let part = this.value_and_gradient_of(batch, to, cotangent)?;
                all.logits.extend(part.logits);
                all.values.extend(part.values);
                all.gradient.extend(part.gradient);
                all.activation.extend(part.activation);
            }
            Ok(all)
        })
    }

    fn secants(&mut self, points: &[T], between: &Between, interrupt: &Interrupt) -> Result<Secants<T>, NnError> {
        let intervals = (points.len() / self.row()).saturating_sub(1);
        self.within_memory(intervals, |this| {
            let mut all = Secants::default();
            for stretch in nn::stretches(points, this.row(), this.rows)? {
                let points = Start::Image(this.upload(stretch)?);
                let (logits, gradient) = this.secants_of(points, between, interrupt)?;
                all.append(Secants { logits, gradient: channels_last(&gradient)? }, this.program.classes);
            }
            Ok(all)
        })
    }

    fn along(
        &mut self,
        line: Line<T>,
        places: &[f64],
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<Along, NnError> {
        line.check(self.row())?;
        let (ends, intervals) = ([line.from, line.to].concat(), places.len().saturating_sub(1));
        self.within_memory(intervals, |this| this.along_of(&this.upload(&ends)?, places, between, interrupt))
    }
}
