//! Rows of images come in; logits and gradients go out.
//!
//! Rows are worked on at the same time, one thread each; what does not fill the threads (a single row, say) is cut into
//! tiles that all threads share. Memory: per thread that works, one image's slots (for 299 px 11 to 15 MB in f32) and the
//! kept bits and arguments (2 to 4 MB); it does not grow with the number of rows.

use std::sync::Arc;

use rayon::prelude::*;

use super::image::{Image, Job, Program};
use super::instruction_set::InstructionSet;
use super::parallel::{Spares, Threads};
use crate::nn::plan::Plan;
use crate::nn::real::Real;
use crate::nn::{At, Cotangent, Executor, Gradients, NnError};

/// Runs a plan on the processor, in f32 or f64.
#[derive(Debug)]
pub struct CpuExecutor<T> {
    program: Arc<Program<T>>,
    rows: usize,
    images: Spares<Image<T>>,
}

/// What one row gives.
struct Row<T> {
    logits: Vec<f64>,
    value: f64,
    gradient: Vec<T>,
    activation: Vec<T>,
}

impl<T: Real> CpuExecutor<T> {
    /// An executor of its own for `plan`; an error names a step that cannot be placed.
    pub fn new(plan: Arc<Plan<T>>, rows: usize) -> Result<Self, NnError> {
        Self::with(InstructionSet::chosen()?, plan, rows)
    }

    /// The same with other instructions than the program has chosen.
    pub fn with(set: InstructionSet, plan: Arc<Plan<T>>, rows: usize) -> Result<Self, NnError> {
        Ok(Self::of(Arc::new(Program::new(Arc::unwrap_or_clone(plan), set)?), rows))
    }

    /// An executor that shares a program with others.
    pub(super) fn of(program: Arc<Program<T>>, rows: usize) -> Self {
        Self { program, rows: rows.max(1), images: Spares::default() }
    }

    /// Runs `work` on each image.
    fn each<R: Send>(
        &self,
        images: &[T],
        work: impl Fn(Job<T>, &mut Image<T>, &[T]) -> R + Sync,
    ) -> Result<Vec<R>, NnError> {
        let expected = self.side() * self.side() * 3;
        if !images.len().is_multiple_of(expected) {
            return Err(NnError::Shape { expected, given: images.len() });
        }
        let run = |rgb: &[T], threads: Threads| {
            self.images.with(|image| work(Job { program: &self.program, threads }, image, rgb))
        };
        let threads = rayon::current_num_threads();
        let rows = images.len() / expected;
        let (together, rest) = images.split_at((rows - rows % threads) * expected);
        let mut results: Vec<R> = together.par_chunks_exact(expected).map(|rgb| run(rgb, Threads(1))).collect();
        results.extend(rest.chunks_exact(expected).map(|rgb| run(rgb, Threads(threads))));
        Ok(results)
    }
}

impl<T: Real> Executor<T> for CpuExecutor<T> {
    fn side(&self) -> usize {
        self.program.plan.side
    }

    fn classes(&self) -> usize {
        self.program.plan.classes()
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn logits(&mut self, images: &[T]) -> Result<Vec<f64>, NnError> {
        let rows = self.each(images, |job, image, rgb| job.forward(image, rgb, false, None))?;
        Ok(rows.concat())
    }

    fn value_and_gradient(&mut self, images: &[T], at: At, cotangent: &Cotangent) -> Result<Gradients<T>, NnError> {
        let plan = &self.program.plan;
        let to = match at {
            At::Input => 0,
            At::Features => plan.features,
        };
        let shape = plan.steps[to].shape;
        let rows = self.each(images, |job, image, rgb| {
            let mut activation = Vec::new();
            let features = (at == At::Features).then_some(&mut activation);
            let logits = job.forward(image, rgb, true, features);
            let (value, derivative) = cotangent(&logits);
            let gradient = job.backward(image, &derivative, to);
            Row { logits, value, gradient, activation }
        })?;
        let size = rows.len() * shape.iter().product::<usize>();
        let mut all = Gradients {
            logits: Vec::with_capacity(rows.len() * plan.classes()),
            values: Vec::with_capacity(rows.len()),
            gradient: Vec::with_capacity(size),
            activation: Vec::new(),
            shape,
        };
        for row in rows {
            all.logits.extend(row.logits);
            all.values.push(row.value);
            all.gradient.extend(row.gradient);
            all.activation.extend(row.activation);
        }
        Ok(all)
    }
}
