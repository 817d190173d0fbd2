//! Integrated Gradients keeps the axioms of its paper (arXiv 1703.01365, sections 2 and 3), its limit, and its word.

// Exact values are what is promised.
#![allow(clippy::float_cmp)]

mod functions;

use diaret::attribution::convergence::distance;
use diaret::attribution::integrated_gradients::{IntegratedGradients, Update};
use diaret::attribution::quadrature::Rule;
use diaret::attribution::{Attribution, AttributionError, Baseline, Cancel, Stop};
use std::slice::from_ref;

use functions::{Analytic, image, noise};
use proptest::prelude::*;

const ORDER: f64 = Baseline::Blur.order();

fn explain(
    function: &mut Analytic,
    input: &[f32],
    starts: &[Vec<f32>],
    stop: Stop,
) -> Result<Attribution, AttributionError> {
    IntegratedGradients { input, starts, order: ORDER }.run(function, stop, &Cancel::default(), &mut |_| ())
}

#[test]
fn exact_on_a_linear_network() {
    let weights: Vec<f32> = (0..192).map(noise).collect();
    let (input, start) = (image(8, 1), image(8, 2));
    let map = explain(&mut Analytic::linear(8, weights.clone()), &input, from_ref(&start), Stop::default()).unwrap();
    for i in 0..192 {
        let exact = f64::from(weights[i]) * (f64::from(input[i]) - f64::from(start[i]));
        assert!((f64::from(map.map[i]) - exact).abs() < 1e-6, "{i}");
    }
    assert!(map.converged && map.completeness_error.unwrap() < 1e-4);
    assert!(map.gradient_evaluations <= 40, "{} gradients", map.gradient_evaluations);
}

#[test]
fn sensitivity() {
    // Only pixel 40 differs, and F with it: it has all the credit. Pixel 41 differs but F does not depend on it: none.
    let start = image(8, 3);
    let mut input = start.clone();
    (input[40], input[41]) = (0.9, 0.8);
    let mut function = Analytic::new(8, |x| {
        let mut gradient = vec![0.0; 192];
        gradient[40] = 3.0 * x[40] * x[40];
        (f64::from(x[40]).powi(3), gradient)
    });
    let map = explain(&mut function, &input, &[start], Stop::default()).unwrap();
    assert!((f64::from(map.map[40]) - (map.f_input - map.f_baseline.unwrap())).abs() < 0.01 * f64::from(map.map[40]));
    assert!(map.map.iter().enumerate().all(|(i, &a)| i == 40 || a == 0.0));
}

#[test]
fn an_image_that_is_its_own_baseline_has_no_attribution() {
    let input = image(6, 4);
    let map = explain(&mut Analytic::relu(6, 20), &input, from_ref(&input), Stop::default()).unwrap();
    assert!(map.map.iter().all(|&a| a == 0.0));
    assert_eq!((map.completeness_error, map.map_change, map.mass_at_rim), (Some(0.0), Some(0.0), 0.0));
}

#[test]
fn outside_the_field_nothing_is_attributed() {
    let mask: Vec<bool> = (0..100).map(|i| (i % 10) as f32).map(|x| (x - 4.5).abs() < 3.0).collect();
    let input: Vec<f32> = image(10, 5)
        .chunks_exact(3)
        .zip(&mask)
        .flat_map(|(p, &m)| if m { [p[0], p[1], p[2]] } else { [0.0; 3] })
        .collect();
    for baseline in [Baseline::Blur, Baseline::Black, Baseline::Mean, Baseline::BlackWhite] {
        let starts = baseline.starts(&input, &mask, 10);
        let map = explain(&mut Analytic::relu(10, 20), &input, &starts, Stop::default()).unwrap();
        assert!(map.map.chunks_exact(3).zip(&mask).all(|(a, &inside)| inside || a == [0.0; 3]), "{baseline:?}");
        assert!(map.mass() > 0.0);
    }
}

#[test]
fn pixels_that_play_the_same_part_get_the_same_credit() {
    let mut function = Analytic::new(4, |x| {
        let product = x[7] * x[20];
        let mut gradient = vec![0.0; 48];
        (gradient[7], gradient[20]) = (x[20] * product.cos(), x[7] * product.cos());
        (f64::from(product.sin()), gradient)
    });
    let (mut input, mut start) = (image(4, 6), image(4, 7));
    (input[7], input[20], start[7], start[20]) = (0.9, 0.9, 0.1, 0.1);
    let map = explain(&mut function, &input, &[start], Stop::default()).unwrap();
    assert!(map.map[7] > 0.1);
    assert_eq!(map.map[7], map.map[20]);
}

#[test]
fn complete_on_smooth_functions() {
    let mut function = Analytic::new(5, |x| {
        let square: f32 = x.iter().map(|v| v * v).sum();
        ((f64::from(square) / 20.0).exp(), x.iter().map(|v| (square / 20.0).exp() * v / 10.0).collect())
    });
    let starts = [vec![0.0; 75], image(5, 9)];
    let stop = Stop { tolerance: 1e-4, completeness: Some(1e-4), max_steps: 2000 };
    let map = explain(&mut function, &image(5, 8), &starts, stop).unwrap();
    assert!(map.converged && map.completeness_error.unwrap() <= 1e-4, "{:?}", map.completeness_error);
    let gap = map.sum() - (map.f_input - map.f_baseline.unwrap());
    assert!((gap - map.completeness_gap.unwrap()).abs() < 1e-9);
}

#[test]
fn two_starts_give_the_mean_of_their_maps() {
    let (input, first, second) = (image(6, 10), image(6, 11), image(6, 12));
    let mut function = Analytic::relu(6, 30);
    let rule = Rule::gauss_legendre(40);
    let mut with = |starts: &[Vec<f32>]| {
        IntegratedGradients { input: &input, starts, order: ORDER }
            .with_rule(&mut function, &rule, &Cancel::default(), &mut |_| ())
            .unwrap()
    };
    let (one, two, both) = (with(from_ref(&first)), with(from_ref(&second)), with(&[first.clone(), second.clone()]));
    let mean: Vec<f32> = one.map.iter().zip(&two.map).map(|(a, b)| 0.5 * (a + b)).collect();
    assert!(distance(&both.map, &mean) < 1e-6);
    assert!((both.f_baseline.unwrap() - 0.5 * (one.f_baseline.unwrap() + two.f_baseline.unwrap())).abs() < 1e-12);
    assert_eq!((both.map_change, both.converged), (None, false));
}

/// So few ReLUs that single ones tell: claims scatter, but neither lie nor exaggerate. `honest_convergence` has the networks.
#[test]
fn the_claim_is_honest_on_piecewise_linear_networks() {
    let mut ratios: Vec<f64> = Vec::new();
    for seed in 0..40 {
        let (input, start) = (image(6, 100 + seed), vec![0.0; 108]);
        let ig = IntegratedGradients { input: &input, starts: &[start], order: ORDER };
        let mut function = Analytic::relu(6, 200);
        let truth = ig.with_rule(&mut function, &Rule::midpoints(4_000), &Cancel::default(), &mut |_| ()).unwrap();
        let map = ig.run(&mut function, Stop::default(), &Cancel::default(), &mut |_| ()).unwrap();
        assert!(map.converged, "seed {seed}");
        ratios.push(distance(&map.map, &truth.map) / map.map_change.unwrap());
    }
    ratios.sort_by(f64::total_cmp);
    assert!((0.5..1.2).contains(&ratios[20]), "half of the claims are exceeded {} times: {ratios:?}", ratios[20]);
    assert!(ratios[34] <= 2.0 && ratios[39] <= 4.0, "{ratios:?}");
}

#[test]
fn the_map_is_complete_however_coarse_it_is() {
    let (input, starts) = (image(6, 13), [vec![0.0; 108], image(6, 14)]);
    let stop = Stop { tolerance: 0.0, completeness: None, max_steps: 200 };
    let mut gaps = Vec::new();
    IntegratedGradients { input: &input, starts: &starts, order: ORDER }
        .run(&mut Analytic::relu(6, 60), stop, &Cancel::default(), &mut |update| {
            if let Update::Map(map) = update {
                gaps.push(map.completeness_error.unwrap());
            }
        })
        .unwrap();
    assert!(gaps.len() >= 2 && gaps.iter().all(|gap| *gap < 1e-5), "{gaps:?}");
}

#[test]
fn maps_stream_while_they_sharpen() {
    let (mut maps, mut gradients) = (Vec::new(), Vec::new());
    let stop = Stop { tolerance: 0.0, completeness: None, max_steps: 64 };
    let (input, starts) = (image(6, 13), [vec![0.0; 108]]);
    let last = IntegratedGradients { input: &input, starts: &starts, order: ORDER }
        .run(&mut Analytic::relu(6, 60), stop, &Cancel::default(), &mut |update| match update {
            Update::Gradients(count) => gradients.push(count),
            Update::Map(map) => maps.push(map),
        })
        .unwrap();
    assert!(maps[0].gradient_evaluations <= 8, "the first map came after {}", maps[0].gradient_evaluations);
    assert!(maps.windows(2).all(|pair| pair[0].gradient_evaluations < pair[1].gradient_evaluations));
    assert_eq!(maps.last().unwrap().map, last.map);
    assert_eq!(gradients.last(), Some(&last.gradient_evaluations));
    assert!(distance(&maps[1].map, &last.map) < distance(&maps[0].map, &last.map));
}

#[test]
fn cancelled_between_micro_batches() {
    let cancel = Cancel::default();
    let (input, starts) = (image(6, 14), [vec![0.0; 108]]);
    let mut function = Analytic::relu(6, 60);
    let stop = Stop { tolerance: 0.0, completeness: None, max_steps: 1024 };
    let result = IntegratedGradients { input: &input, starts: &starts, order: ORDER }.run(
        &mut function,
        stop,
        &cancel,
        &mut |update| {
            if matches!(update, Update::Gradients(count) if count >= 20) {
                cancel.cancel();
            }
        },
    );
    assert!(matches!(result, Err(AttributionError::Cancelled)));
    assert!((20..=20 + function.rows).contains(&function.gradients), "{}", function.gradients);
}

#[test]
fn what_is_not_finite_is_no_map() {
    let mut function = Analytic::new(4, |_| (0.0, vec![f32::NAN; 48]));
    let result = explain(&mut function, &image(4, 15), &[vec![0.0; 48]], Stop::default());
    assert!(matches!(result, Err(AttributionError::Function(_))), "{result:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_limit_holds_for_any_number_of_steps(max_steps in 1usize..700, paths in 1usize..=2, rows in 1usize..9, tolerance in prop_oneof![Just(0.0), Just(0.02), Just(1.0)]) {
        let input = image(4, 16);
        let starts: Vec<Vec<f32>> = (0..paths as u64).map(|p| image(4, 17 + p)).collect();
        let mut function = Analytic::relu(4, 40);
        function.rows = rows;
        match explain(&mut function, &input, &starts, Stop { tolerance, completeness: None, max_steps }) {
            Ok(map) => {
                prop_assert_eq!(map.gradient_evaluations, function.gradients);
                prop_assert!(map.gradient_evaluations <= max_steps + 1);
                prop_assert!(map.converged || 2 * map.gradient_evaluations > max_steps);
                prop_assert_eq!(map.converged, map.map_change.unwrap() <= tolerance);
            }
            Err(error) => prop_assert!(matches!(error, AttributionError::TooFewSteps { least, .. } if max_steps < least && least < 3 * paths), "{}", error),
        }
    }
}
