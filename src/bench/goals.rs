//! A case comes in; the time until its map is as close to the reference as was asked goes out, for both programs.
//!
//! Ours is asked for that closeness, and stops at the first refinement that has it. Captum cannot know when to stop: it is given the
//! time of the fewest steps on [`LADDER`] that are close enough, as if one had known; and so are our secants, beside that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::maps::{Bench, MapRun, STEPS};
use super::{BenchError, Run};
use crate::attribution::integrated_gradients::Update;
use crate::attribution::{Attribution, AttributionError, Cancel, Stop};
use crate::nn::Precision;
use crate::session::Explained;

/// Steps that are tried to find the fewest that are close enough.
const LADDER: [usize; 16] = [8, 12, 16, 24, 32, STEPS, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024];
/// Closeness asked for beside that of the default. A quick reference is itself about 0.2 % off: it can judge the first only.
const LIMITS: [f64; 2] = [0.02, 0.005];

/// A closeness that is asked for, and the first map of each side that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// Whether it is the distance of the default's 50 steps in this case.
    pub of_default: bool,
    /// The distance.
    pub limit: f64,
    /// Ours.
    pub ours: Option<MapRun>,
    /// Ours with the fewest intervals tried that are close enough, as if one had known; in a quick run only for the distance of
    /// the default.
    pub as_if_known: Option<MapRun>,
    /// The other's; a quick run does not look for it beyond its 50 steps.
    pub other: Option<MapRun>,
}

/// Measures all of a case. `map` is ours with 50 steps (it knows F at both ends), `ours` and `other` are the figures of 50 steps.
pub(super) fn measure(
    bench: &Bench,
    run: &mut Run,
    function: &mut Explained,
    (map, reference): (&Attribution, &[f32]),
    (ours, other): (&MapRun, Option<&MapRun>),
) -> Result<Vec<Goal>, BenchError> {
    // Without the other program, its rule as we compute it says how close its 50 steps are.
    let default = other.and_then(|other| other.distance).or(ours.distance).unwrap_or(f64::INFINITY);
    let limits = if run.settings.quick { &LIMITS[..1] } else { &LIMITS[..] };
    let limits: Vec<f64> = std::iter::once(default).chain(limits.iter().copied()).collect();
    let most = bench.case.reference_steps / 2;
    let mut known: BTreeMap<usize, MapRun> = other.map(|other| (STEPS, other.clone())).into_iter().collect();
    let mut secants = BTreeMap::new();
    let mut goals = Vec::new();
    for (index, limit) in limits.into_iter().enumerate() {
        let of_default = index == 0;
        let ours = reach(bench, function, reference, limit, most)?;
        let other = if of_default || run.settings.quick || known.is_empty() {
            known.get(&STEPS).filter(|figures| figures.distance.is_some_and(|distance| distance <= limit)).cloned()
        } else {
            fewest(limit, most, &mut known, &mut |steps| {
                let made = bench.other(run, (steps, Precision::F32), map, Some(reference))?;
                Ok(made.map(|(figures, _)| figures))
            })?
        };
        let as_if_known = if of_default || !run.settings.quick {
            fewest(limit, most, &mut secants, &mut |intervals| {
                let map = bench.integral.with_secants(function, intervals, &Cancel::default(), &mut |_| ())?;
                Ok(Some(MapRun::of(&map, Some(reference))))
            })?
        } else {
            None
        };
        goals.push(Goal { of_default, limit, ours, as_if_known, other });
    }
    Ok(goals)
}

/// What is asked of our map, of the closeness that is wanted: less where its claim was met and the truth was not.
const ASKED: [f64; 3] = [1.0, 0.7, 0.5];

/// Our first map that is within `limit`, with what was spent on those that were not.
fn reach(
    bench: &Bench,
    function: &mut Explained,
    reference: &[f32],
    limit: f64,
    most: usize,
) -> Result<Option<MapRun>, BenchError> {
    let mut spent: Option<MapRun> = None;
    for share in ASKED {
        let stop = Stop { tolerance: share * limit, completeness: None, max_steps: most };
        let (mut map, is_close) = refine(bench, function, reference, limit, stop)?;
        if let Some(spent) = &spent {
            map.gradients += spent.gradients;
            map.seconds += spent.seconds;
        }
        if is_close {
            return Ok(Some(map));
        }
        spent = Some(map);
    }
    Ok(None)
}

/// Refines our map until it is within `limit`, or as `stop` says; gives the last map and whether it is.
fn refine(
    bench: &Bench,
    function: &mut Explained,
    reference: &[f32],
    limit: f64,
    stop: Stop,
) -> Result<(MapRun, bool), BenchError> {
    let mut last: Option<(MapRun, bool)> = None;
    let cancel = Cancel::default();
    let mut judging = Duration::ZERO;
    let mut hear = |update: Update| {
        let Update::Map(map) = update else { return };
        let begun = Instant::now();
        let mut figures = MapRun::of(&map, Some(reference));
        // Nobody who waits for a map has a reference to hold it against.
        figures.seconds -= judging.as_secs_f64();
        let is_close = figures.distance.is_some_and(|distance| distance <= limit);
        if is_close {
            cancel.cancel();
        }
        last = Some((figures, is_close));
        judging += begun.elapsed();
    };
    match bench.integral.run(function, stop, &cancel, &mut hear) {
        Ok(_) | Err(AttributionError::Cancelled) => {}
        Err(error) => return Err(error.into()),
    }
    last.ok_or_else(|| AttributionError::Cancelled.into())
}

/// The map with the fewest steps on the ladder, `most` at most, whose distance is within `limit`; `known` has maps that were
/// made before and gets those that `make` makes. Closer with more steps, by and large: the ladder is halved, first where
/// the distance would be if it fell as 1 / steps.
fn fewest(
    limit: f64,
    most: usize,
    known: &mut BTreeMap<usize, MapRun>,
    make: &mut dyn FnMut(usize) -> Result<Option<MapRun>, BenchError>,
) -> Result<Option<MapRun>, BenchError> {
    let ladder: Vec<usize> = LADDER.into_iter().filter(|&steps| steps <= most).collect();
    let distance = |figures: &MapRun| figures.distance.unwrap_or(f64::INFINITY);
    loop {
        // Everything below `least` is too coarse; `enough` is close enough, or beyond the end.
        let enough = ladder.iter().position(|steps| known.get(steps).is_some_and(|figures| distance(figures) <= limit));
        let enough = enough.unwrap_or(ladder.len());
        let coarse = ladder[..enough].iter().rposition(|steps| known.contains_key(steps));
        let least = coarse.map_or(0, |index| index + 1);
        if least == enough {
            return Ok(ladder.get(enough).and_then(|steps| known.get(steps)).cloned());
        }
        let near = known.iter().min_by(|one, two| {
            let off = |figures: &MapRun| (distance(figures) / limit).ln().abs();
            off(one.1).total_cmp(&off(two.1))
        });
        let guess = near.map_or(0.0, |(&steps, figures)| steps as f64 * distance(figures) / limit);
        let next = ladder.partition_point(|&steps| (steps as f64) < guess).clamp(least, enough - 1);
        let Some(figures) = make(ladder[next])? else { return Ok(None) };
        known.insert(ladder[next], figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(steps: usize, distance: f64) -> MapRun {
        let seconds = steps as f64 / 10.0;
        MapRun { gradients: steps, seconds, distance: Some(distance), completeness_error: 0.1, peak_bytes: None }
    }

    /// A program whose distance is `law(steps)`; gives what was found and how many maps it took.
    fn search(limit: f64, most: usize, law: &dyn Fn(usize) -> f64) -> (Option<usize>, usize) {
        let mut known = BTreeMap::from([(STEPS, figures(STEPS, law(STEPS)))]);
        let mut made = 0;
        let found = fewest(limit, most, &mut known, &mut |steps| {
            made += 1;
            Ok(Some(figures(steps, law(steps))))
        });
        (found.unwrap().map(|figures| figures.gradients), made)
    }

    #[test]
    fn the_fewest_steps_are_found_with_few_maps() {
        for exponent in [0.7, 1.0, 1.4] {
            let law = |steps: usize| 0.03 * (50.0 / steps as f64).powf(exponent);
            for limit in [0.1, 0.04, 0.02, 0.005] {
                let expected = LADDER.into_iter().find(|&steps| law(steps) <= limit && steps <= 512);
                let (found, made) = search(limit, 512, &law);
                assert_eq!(found, expected, "{limit}, {exponent}");
                assert!(made <= 6, "{made} maps");
            }
        }
    }

    #[test]
    fn what_is_known_is_not_made_again_and_what_cannot_be_reached_is_none() {
        assert_eq!(search(0.03, 512, &|_| 0.03).0, Some(8));
        assert_eq!(search(0.001, 512, &|steps| 1.0 / steps as f64).0, None);
        let mut known = BTreeMap::from([(32, figures(32, 0.03)), (STEPS, figures(STEPS, 0.02))]);
        let found = fewest(0.02, 512, &mut known, &mut |steps| panic!("{steps} steps are not needed"));
        assert_eq!(found.unwrap().map(|figures| figures.gradients), Some(STEPS));
    }
}
