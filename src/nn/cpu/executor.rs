//! Rows of images come in; logits and gradients go out.
//!
//! Each thread takes some rows at once, so that it reads the weights once for all of them; what does not fill the threads (a
//! single row, say) and points of a path are cut into tiles that all threads share. Memory: per thread that works, [`TOGETHER`]
//! images' slots (for 299 px 11 to 15 MB each in f32) and kept bits and arguments (2 to 4 MB); for a path, one image's more and
//! slopes (11 to 27 MB each), however many threads there are, and not beyond [`PATH`]. It does not grow further with the number of rows.

use std::iter;
use std::sync::Arc;

use rayon::prelude::*;

use super::images::{Images, Job, Keep, Program};
use super::instruction_set::InstructionSet;
use super::memory;
use super::parallel::{Spares, Threads};
use crate::nn::clock::Work;
use crate::nn::plan::Plan;
use crate::nn::real::Real;
use crate::nn::{
    self, Along, At, Between, Cotangent, Executor, Gradients, Interrupt, Line, NnError, Precision, Secants,
};

/// Rows that a thread takes at once.
const TOGETHER: usize = 4;
/// Bytes of what points of a path have room for at once: where slopes take much, fewer go together. Each stretch computes one point
/// more than it has intervals, so that it should not be much less.
const PATH: usize = 144_000_000;

/// Runs a plan on the processor, in f32 or f64.
#[derive(Debug)]
pub struct CpuExecutor<T> {
    program: Arc<Program<T>>,
    rows: usize,
    memory: Spares<Images<T>>,
}

/// What a group of rows gives, row after row.
struct Group<T> {
    logits: Vec<f64>,
    values: Vec<f64>,
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
        Self { program, rows: rows.max(1), memory: Spares::default() }
    }

    /// Runs `work` on groups of images, one after another in the order of the results.
    fn each<R: Send>(
        &self,
        images: &[T],
        work: impl Fn(Job<T>, &mut Images<T>, &[T]) -> Result<R, NnError> + Sync,
    ) -> Result<Vec<R>, NnError> {
        let row = self.row();
        if !images.len().is_multiple_of(row) {
            return Err(NnError::Shape { expected: row, given: images.len() });
        }
        let threads = rayon::current_num_threads();
        let rows = images.len() / row;
        let (mut groups, mut rest) = (Vec::new(), images);
        for size in rounds(rows / threads).into_iter().flat_map(|size| iter::repeat_n(size, threads)) {
            let (group, others) = rest.split_at(size * row);
            groups.push(group);
            rest = others;
        }
        let run = |rgb: &[T], threads: Threads| self.run(rgb, (threads, &|| false), &work);
        let mut results: Vec<R> =
            groups.into_par_iter().with_max_len(1).map(|rgb| run(rgb, Threads(1))).collect::<Result<_, _>>()?;
        for rgb in rest.chunks(TOGETHER * row) {
            results.push(run(rgb, Threads(threads))?);
        }
        Ok(results)
    }

    /// Runs `work` on some images with buffers that are made once.
    fn run<R>(
        &self,
        rgb: &[T],
        (threads, interrupt): (Threads, &Interrupt),
        work: impl FnOnce(Job<T>, &mut Images<T>, &[T]) -> R,
    ) -> R {
        let job = Job { program: &self.program, threads, interrupt };
        self.memory.with(|images| self.program.clock.time(Some(Work::Whole), || work(job, images, rgb)))
    }

    /// Appends the secants between few points; the first of them is the last of those before. All threads share it, so that there
    /// need be few such.
    fn stretch(
        &self,
        points: &[T],
        all: &mut Secants<T>,
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<(), NnError> {
        let classes = self.classes();
        let gradients = self.program.gradients();
        all.logits.truncate(all.logits.len().saturating_sub(classes));
        self.run(points, (Threads(rayon::current_num_threads()), interrupt), |job, images, rgb| {
            let logits = job.forward(images, rgb, Keep::Between, None)?;
            let cotangents = nn::cotangents(&logits, classes, between);
            all.logits.extend(logits);
            job.backward(&gradients, images, &cotangents, 0, &mut all.gradient)
        })
    }

    /// Intervals of a path that go together.
    fn intervals(&self) -> usize {
        (1..=TOGETHER).rev().find(|&intervals| self.program.bytes_between(intervals) <= PATH).unwrap_or(1)
    }

    /// Numbers of an image.
    fn row(&self) -> usize {
        self.side() * self.side() * 3
    }
}

/// An executor goes when nothing is graded or explained for a while: its buffers lie in many lists, whose gaps the heap would keep.
impl<T> Drop for CpuExecutor<T> {
    fn drop(&mut self) {
        self.memory.free();
        memory::give_back();
    }
}

/// Adds secants between places to their sum, each times how far its ends are apart.
fn add_up<T: Real>(places: &[f64], secants: &[T], sum: &mut [f64]) {
    for (ends, secant) in places.windows(2).zip(secants.chunks_exact(sum.len())) {
        let width = ends[1] - ends[0];
        sum.iter_mut().zip(secant).for_each(|(sum, value)| *sum += width * value.to_f64());
    }
}

/// Images a thread takes at once, until it has taken so many: about as many each time, and no more than [`TOGETHER`].
fn rounds(images: usize) -> Vec<usize> {
    let rounds = images.div_ceil(TOGETHER);
    (0..rounds).map(|round| (images + round) / rounds).collect()
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

    fn precision(&self) -> Precision {
        self.program.precision()
    }

    fn logits(&mut self, images: &[T]) -> Result<Vec<f64>, NnError> {
        let groups = self.each(images, |job, images, rgb| job.forward(images, rgb, Keep::Nothing, None))?;
        Ok(groups.concat())
    }

    fn value_and_gradient(&mut self, images: &[T], at: At, cotangent: &Cotangent) -> Result<Gradients<T>, NnError> {
        let plan = &self.program.plan;
        let to = match at {
            At::Input => 0,
            At::Features => plan.features,
        };
        let gradients = self.program.gradients();
        let groups = self.each(images, |job, images, rgb| {
            let mut activation = Vec::new();
            let features = (at == At::Features).then_some(&mut activation);
            let logits = job.forward(images, rgb, Keep::Points, features)?;
            let (values, derivatives): (Vec<f64>, Vec<Vec<f64>>) =
                logits.chunks_exact(plan.classes()).map(cotangent).unzip();
            let mut gradient = Vec::new();
            job.backward(&gradients, images, &derivatives.concat(), to, &mut gradient)?;
            Ok(Group { logits, values, gradient, activation })
        })?;
        let rows: usize = groups.iter().map(|group| group.values.len()).sum();
        let shape = plan.steps[to].shape;
        let mut all = Gradients {
            logits: Vec::with_capacity(rows * plan.classes()),
            values: Vec::with_capacity(rows),
            gradient: Vec::with_capacity(rows * shape.iter().product::<usize>()),
            activation: Vec::new(),
            shape,
        };
        for group in groups {
            all.logits.extend(group.logits);
            all.values.extend(group.values);
            all.gradient.extend(group.gradient);
            all.activation.extend(group.activation);
        }
        Ok(all)
    }

    fn secants(&mut self, points: &[T], between: &Between, interrupt: &Interrupt) -> Result<Secants<T>, NnError> {
        let stretches = nn::stretches(points, self.row(), self.intervals())?;
        let mut all = Secants { logits: Vec::new(), gradient: Vec::with_capacity(points.len() - self.row()) };
        for points in stretches {
            self.stretch(points, &mut all, between, interrupt)?;
        }
        Ok(all)
    }

    fn along(
        &mut self,
        line: Line<T>,
        places: &[f64],
        between: &Between,
        interrupt: &Interrupt,
    ) -> Result<Along, NnError> {
        line.check(self.row())?;
        let mut gradient = vec![0.0; line.from.len()];
        let (mut points, mut all) = (Vec::new(), Secants::default());
        for places in nn::stretches(places, 1, self.intervals())? {
            points.clear();
            line.append(places, &mut points);
            all.gradient.clear();
            self.stretch(&points, &mut all, between, interrupt)?;
            add_up(places, &all.gradient, &mut gradient);
        }
        Ok(Along { logits: all.logits, gradient })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_even_and_take_every_image_once() {
        for images in 0..30 {
            let rounds = rounds(images);
            assert_eq!(rounds.iter().sum::<usize>(), images);
            let (least, most) = (rounds.iter().min(), rounds.iter().max());
            assert!(least.zip(most).is_none_or(|(least, most)| *least > 0 && *most <= TOGETHER && most - least <= 1));
        }
    }
}
