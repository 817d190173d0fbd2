//! `diaret compare-rules`: photographs and networks come in; how close to the truth maps of equally many gradients are goes out,
//! for each way to place the points of a path.
//!
//! The truth is a map by the secants of many more intervals, or, so that no way is its own judge, by midpoints of them. Each
//! photograph's rows are written as soon as they are known, and those that are there already, of the same weights and reference, are
//! not made again.

use std::cell::LazyCell;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::names::NetworkName;
use super::output::{ProgressLine, Sink};
use super::subject::{self, Photograph, Subject, models};
use super::{DONE, DeviceArgument, UsageError, rows};
use crate::attribution::convergence::distance;
use crate::attribution::quadrature::Rule;
use crate::attribution::{Attribution, AttributionError, Baseline, Cancel, Differentiable};
use crate::bench::statistics::Spread;
use crate::grading::Output;
use crate::home::Home;
use crate::nn::{Model, Network};
use crate::session::Files;

/// Gradients that every rule is given.
const GRADIENTS: [usize; 2] = [24, 96];
/// Closeness whose gradients are read from the line through both, in logarithms.
const GOALS: [f64; 2] = [0.02, 0.005];
/// Intervals between the points at which a density is measured.
const CELLS: usize = 32;
/// Parts of the path whose change of F decides how many points they get (arXiv 2302.11107).
const PARTS: usize = 4;

/// Compares ways to place the points of a path.
///
/// Prints the table of all rows in --out; measures nothing unless --images are given.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Photographs and folders to measure.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    images: Vec<PathBuf>,
    /// Photographs from which each network's own points are learnt (arXiv 2410.04118): none of --images.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    learn_from: Vec<PathBuf>,
    /// The networks; every one that has weights unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    networks: Vec<NetworkName>,
    /// The rows, as CSV; some are added to it.
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// How the reference is made.
    #[arg(long, value_enum, default_value_t)]
    reference: Reference,
    /// Intervals of the reference.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..))]
    reference_intervals: u32,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

/// How the map is made that others are held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
enum Reference {
    /// By the secants of many intervals.
    #[default]
    Secants,
    /// By the gradients at the midpoints of many intervals.
    Midpoints,
}

impl Reference {
    fn way(self) -> Way {
        match self {
            Self::Secants => Way::Secants,
            Self::Midpoints => Way::Uniform,
        }
    }
}

/// A way to place points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// Midpoints of equal intervals.
    Uniform,
    /// Captum's default.
    GaussLegendre,
    /// At the extrema of a Chebyshev polynomial.
    ClenshawCurtis,
    /// As many points in a part of the path as the square root of the change of F there asks for (arXiv 2302.11107).
    ByOutput,
    /// As dense as the square root of the gradient's change, on the mean of other photographs (arXiv 2410.04118: the minimum of
    /// its bound on the error).
    Learnt,
    /// What this program does: secants instead of gradients at points.
    Secants,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Uniform, Self::GaussLegendre, Self::ClenshawCurtis, Self::ByOutput, Self::Learnt, Self::Secants];

    fn label(self) -> &'static str {
        match self {
            Self::Uniform => "uniform midpoints",
            Self::GaussLegendre => "Gauss-Legendre",
            Self::ClenshawCurtis => "Clenshaw-Curtis",
            Self::ByOutput => "by change of output (2302.11107)",
            Self::Learnt => "points learnt per network (2410.04118)",
            Self::Secants => "secants",
        }
    }
}

/// One photograph, network, way and number of gradients.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    network: Network,
    weights: String,
    reference: Reference,
    reference_intervals: u32,
    way: Way,
    gradients: usize,
    distance: f64,
    completeness_error: f64,
}

impl Row {
    /// How the reference was made, and of how many intervals.
    fn reference(&self) -> (Reference, u32) {
        (self.reference, self.reference_intervals)
    }
}

/// Adds the rows that are missing and prints the table.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut known: Vec<Row> = rows::read(&args.out)?;
    if !args.images.is_empty() {
        measure(args, &mut known)?;
    }
    print(&known)?;
    Ok(ExitCode::from(DONE))
}

fn measure(args: &Args, known: &mut Vec<Row>) -> anyhow::Result<()> {
    let home = Home::find()?;
    let files = Files::find(&args.images, &|| false)?.candidates;
    let learn_from = Files::find(&args.learn_from, &|| false)?.candidates;
    if learn_from.is_empty() || learn_from.iter().any(|other| files.contains(other)) {
        return Err(UsageError("--learn-from needs photographs that are not among --images".to_owned()).into());
    }
    let others = LazyCell::new(|| learn_from.iter().filter_map(|file| Photograph::read(file)).collect::<Vec<_>>());
    let mut densities = BTreeMap::new();
    let models = models(&home, args.device.into(), &args.networks)?;
    for file in &files {
        let name = subject::name(file);
        let is_there = |model: &dyn Model| {
            known.iter().any(|row| {
                (row.file.as_str(), row.weights.as_str()) == (&name, model.weights_hash())
                    && row.reference() == (args.reference, args.reference_intervals)
            })
        };
        let missing: Vec<&dyn Model> = models.iter().map(AsRef::as_ref).filter(|model| !is_there(*model)).collect();
        if missing.is_empty() {
            continue;
        }
        let Some(photograph) = Photograph::read(file) else { continue };
        for model in missing {
            let density = match densities.entry(model.network()) {
                Entry::Occupied(density) => density.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(density(model, &others)?),
            };
            let subject = Subject::new(model, &photograph, <(Baseline, Output)>::default())?;
            let made = compare(args, subject, density)?;
            rows::append(&args.out, &made)?;
            known.extend(made);
        }
    }
    Ok(())
}

/// The images at some places on the path, one after the other.
fn points(subject: &Subject, places: &[f64]) -> Vec<f32> {
    let pairs = || subject.starts[0].iter().zip(&subject.photograph.input.pixels);
    let at = |&place: &f64| pairs().map(move |(from, to)| from + place as f32 * (to - from));
    places.iter().flat_map(at).collect()
}

/// The map of one way.
fn map(subject: &mut Subject, way: Way, gradients: usize, density: &[f64]) -> Result<Attribution, AttributionError> {
    let rule = match way {
        Way::Uniform => Rule::midpoints(gradients),
        Way::GaussLegendre => Rule::gauss_legendre(gradients),
        Way::ClenshawCurtis => Rule::clenshaw_curtis(gradients),
        Way::ByOutput => {
            let ends: Vec<f64> = (0..=PARTS).map(|part| part as f64 / PARTS as f64).collect();
            let images = points(subject, &ends);
            let values = subject.function.values(&images)?;
            let shares: Vec<f64> = values.windows(2).map(|ends| (ends[1] - ends[0]).abs().sqrt()).collect();
            Rule::by_density(&shares, gradients)
        }
        Way::Learnt => Rule::by_density(density, gradients),
        Way::Secants => return secants(subject, gradients),
    };
    let (integral, function) = subject.integral();
    integral.with_rule(function, &rule, &Cancel::default(), &mut |_| ())
}

fn secants(subject: &mut Subject, intervals: usize) -> Result<Attribution, AttributionError> {
    let (integral, function) = subject.integral();
    integral.with_secants(function, intervals, &Cancel::default(), &mut |_| ())
}

/// Where a network's gradient changes on the paths of photographs: the square root of the mean change in each of [`CELLS`].
fn density(model: &dyn Model, photographs: &[Photograph]) -> anyhow::Result<Vec<f64>> {
    let places: Vec<f64> = (0..=CELLS).map(|point| point as f64 / CELLS as f64).collect();
    let mut changes = vec![0.0; CELLS];
    for photograph in photographs {
        let mut subject = Subject::new(model, photograph, <(Baseline, Output)>::default())?;
        let images = points(&subject, &places);
        let (_, gradients) = subject.function.values_and_gradients(&images)?;
        let gradients: Vec<&[f32]> = gradients.chunks_exact(subject.photograph.input.pixels.len()).collect();
        let norms: Vec<f64> = gradients.windows(2).map(|ends| difference(ends[0], ends[1])).collect();
        // Photographs count alike, whatever their gradients' length.
        let all: f64 = norms.iter().sum();
        changes.iter_mut().zip(norms).for_each(|(sum, norm)| *sum += norm / all);
    }
    anyhow::ensure!(changes.iter().any(|&change| change > 0.0), "no points can be learnt from the photographs given");
    Ok(changes.into_iter().map(f64::sqrt).collect())
}

fn difference(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
}

/// All rows of one photograph and network.
fn compare(args: &Args, mut subject: Subject, density: &[f64]) -> anyhow::Result<Vec<Row>> {
    let model = subject.model;
    let mut line = ProgressLine::new();
    line.show(&format!("{}, {}", subject.photograph.name, model.network().label()));
    let intervals = args.reference_intervals as usize;
    let reference = map(&mut subject, args.reference.way(), intervals, density)?;
    let mut made = Vec::new();
    for way in Way::ALL {
        for gradients in GRADIENTS {
            let map = map(&mut subject, way, gradients, density)?;
            made.push(Row {
                file: subject.photograph.name.clone(),
                network: model.network(),
                weights: model.weights_hash().to_owned(),
                reference: args.reference,
                reference_intervals: args.reference_intervals,
                way,
                gradients,
                distance: distance(&map.map, &reference.map),
                completeness_error: map.completeness_error.unwrap_or(f64::INFINITY),
            });
        }
    }
    Ok(made)
}

/// The gradients at which a line through both distances, in logarithms, comes down to `goal`.
fn needed([few, many]: [f64; 2], goal: f64) -> f64 {
    let [least, most] = GRADIENTS.map(|gradients| (gradients as f64).ln());
    let order = (few.ln() - many.ln()) / (most - least);
    if order <= 0.0 { f64::INFINITY } else { (most + (many.ln() - goal.ln()) / order).exp() }
}

/// The rows of a network and way, in pairs: with few gradients and with many.
fn pairs(rows: &[Row], network: Network, way: Way) -> Vec<[&Row; 2]> {
    let of = |gradients| {
        let these =
            rows.iter().filter(move |row| row.network == network && row.way == way && row.gradients == gradients);
        these.map(|row| ((&row.file, &row.weights, row.reference()), row)).collect::<BTreeMap<_, _>>()
    };
    let [few, many] = GRADIENTS.map(of);
    few.into_iter().filter_map(|(key, row)| Some([row, *many.get(&key)?])).collect()
}

fn print(rows: &[Row]) -> anyhow::Result<()> {
    let mut sink = Sink::open(None)?;
    let references: BTreeSet<_> = rows.iter().map(Row::reference).collect();
    for (reference, intervals) in references {
        let made = match reference {
            Reference::Secants => "the secants",
            Reference::Midpoints => "the midpoints",
        };
        writeln!(sink, "Distances are relative L2 from the map by {made} of {intervals} intervals.\n")?;
    }
    let [few, many] = GRADIENTS;
    let [near, nearer] = GOALS.map(|goal| 100.0 * goal);
    writeln!(
        sink,
        "| network | rule | photographs | distance, {few} gradients | {many} gradients | completeness error, {many} gradients | \
        gradients for {near} % | for {nearer} % |"
    )?;
    writeln!(sink, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
    let networks: BTreeSet<Network> = rows.iter().map(|row| row.network).collect();
    for network in networks {
        for way in Way::ALL {
            let pairs = pairs(rows, network, way);
            let percent = |figure: &dyn Fn(&[&Row; 2]) -> f64| {
                let spread = Spread::of(pairs.iter().map(figure)).map(|spread| spread.times(100.0));
                spread.map_or_else(String::new, |spread| format!("{} %", spread.words(2)))
            };
            let gradients = |goal| {
                let spread = Spread::of(pairs.iter().map(|pair| needed(pair.map(|row| row.distance), goal)));
                spread.map_or_else(String::new, |spread| spread.words(0))
            };
            writeln!(
                sink,
                "| {} | {} | {} | {} | {} | {} | {} | {} |",
                network.label(),
                way.label(),
                pairs.len(),
                percent(&|pair| pair[0].distance),
                percent(&|pair| pair[1].distance),
                percent(&|pair| pair[1].completeness_error),
                gradients(GOALS[0]),
                gradients(GOALS[1])
            )?;
        }
    }
    sink.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_read_from_the_line_through_both() {
        let [few, many] = GRADIENTS.map(|gradients| gradients as f64);
        // An error of 2 / gradients.
        let distances = [2.0 / few, 2.0 / many];
        assert!((needed(distances, 0.02) - 100.0).abs() < 1e-9);
        assert!((needed(distances, 0.005) - 400.0).abs() < 1e-9);
        assert!(needed([0.1, 0.1], 0.02).is_infinite(), "what does not fall gets nowhere");
    }
}
