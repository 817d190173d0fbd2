//! Where a gradient in f32 is not that in f64, a few ReLUs and maxima next to a tie have fallen to the other side; nothing
//! else is different. So the exact gradient with f32's decisions is f32's gradient.

use std::collections::HashMap;

use super::numbers;
use crate::nn::Network;
use crate::nn::cpu::InstructionSet;
use crate::nn::cpu::images::{Images, Job, Keep, Program};
use crate::nn::cpu::parallel::Threads;
use crate::nn::graph::{Graph, Variant};
use crate::nn::plan::Plan;
use crate::nn::real::Real;

pub const SIDE: usize = 107;
pub const COTANGENT: [f64; 5] = [1.0, -0.5, 0.25, -2.0, 1.5];

/// He-scaled kernels, batch norm near the identity.
pub fn parameters(graph: &Graph) -> impl Fn(&str) -> Option<Vec<f32>> {
    let shapes: HashMap<String, Vec<usize>> = graph.parameters().into_iter().map(|p| (p.name, p.shape)).collect();
    move |name| {
        let shape = shapes.get(name)?;
        let inputs: usize = shape[..shape.len() - 1].iter().product();
        let seed = name.bytes().fold(7, |seed: u64, byte| seed.wrapping_mul(31) + u64::from(byte));
        let value = |u: f64| match name.rsplit('/').next() {
            Some("kernel") => u * (6.0 / inputs as f64).sqrt(),
            Some("gamma" | "moving_variance") => 1.0 + 0.2 * u,
            _ => 0.2 * u,
        };
        Some(numbers(seed, shape.iter().product()).into_iter().map(|u| value(u) as f32).collect())
    }
}

/// Forward, then backward with what forward kept or with what is given; the gradient and what was kept.
fn run<T: Real>(program: &Program<T>, rgb: &[f64], decisions: Option<&[Vec<u8>]>) -> (Vec<f64>, Vec<Vec<u8>>) {
    let rgb: Vec<T> = rgb.iter().map(|value| T::from_f64(*value)).collect();
    let job = Job { program, threads: Threads(2), interrupt: &|| false };
    let mut image = Images::default();
    job.forward(&mut image, &rgb, Keep::Points, None).unwrap();
    let kept = image.kept().to_vec();
    if let Some(decisions) = decisions {
        image.kept().clone_from_slice(decisions);
    }
    let mut gradient = Vec::new();
    job.backward(&program.gradients(), &mut image, &COTANGENT, 0, &mut gradient).unwrap();
    (gradient.into_iter().map(Real::to_f64).collect(), kept)
}

pub fn relative(ours: &[f64], theirs: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / norm(&mut theirs.iter().copied())
}

#[test]
fn a_gradient_in_f32_is_the_exact_one_of_its_decisions() {
    for network in Network::ALL {
        let graph = Graph::new(network, &Variant::keras(network, Some(5)), SIDE).unwrap();
        // As f32 has it, so that both see the same image.
        let rgb: Vec<f64> = numbers(3, SIDE * SIDE * 3).into_iter().map(|u| f64::from(u.abs() as f32)).collect();
        let double =
            Program::new(Plan::<f64>::new(&graph, &parameters(&graph)).unwrap(), InstructionSet::Portable).unwrap();
        let plan = Plan::<f32>::new(&graph, &parameters(&graph)).unwrap();
        let (exact, own) = run(&double, &rgb, None);
        for &set in InstructionSet::quick() {
            let (single, decisions) = run(&Program::new(plan.clone(), set).unwrap(), &rgb, None);
            let (explained, _) = run(&double, &rgb, Some(&decisions));
            let pairs = || decisions.iter().flatten().zip(own.iter().flatten());
            let flips = pairs().filter(|(a, b)| a != b).count();
            let (off, all) = (relative(&single, &explained), relative(&single, &exact));
            println!(
                "{network:?} {set:?}: {flips} of {} bytes differ; {all:.1e}, explained {off:.1e}",
                pairs().count()
            );
            assert!(off < 2e-5, "{network:?} {set:?}: {off:e} with the same decisions");
            assert!(flips * 20_000 < pairs().count(), "{network:?} {set:?}: {flips} decisions differ");
        }
    }
}
