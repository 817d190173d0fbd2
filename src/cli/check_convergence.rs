//! `diaret check-convergence`: photographs and networks come in; how far maps of several tolerances are from the truth, beside what
//! they claimed.
//!
//! The truth is the midpoint rule with many points: gradients, and no secants. The rows of a photograph and network are written as
//! soon as they are known, and those that are there already, of the same weights and reference, are not made again.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::names::{BaselineName, NetworkName, OutputName, name};
use super::output::{ProgressLine, Sink};
use super::reference::reference;
use super::subject::{Photograph, Subject, models};
use super::{DONE, DeviceArgument, FAILURE, rows};
use crate::attribution::convergence::distance;
use crate::attribution::integrated_gradients::Update;
use crate::attribution::{Attribution, Baseline, Cancel, Stop};
use crate::bench::chart::{Series, scatter};
use crate::bench::statistics::Spread;
use crate::grading::{Output, Target};
use crate::home::Home;
use crate::nn::weights::{Entry, Manifest, hexadecimal};
use crate::nn::{Model, Network};
use crate::session::Files;

/// What maps are asked for, the default among them.
const TOLERANCES: [f64; 5] = [0.08, 0.04, 0.02, 0.01, 0.005];
/// A distance of so many times the claim is allowed for one row in twenty.
const USUAL: f64 = 1.5;
/// No distance may be more than so many times the claim.
const ALWAYS: f64 = 2.5;
/// The share of rows that must keep to [`USUAL`].
const SHARE: f64 = 0.95;

/// Checks that maps are as close to the truth as they claim.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Photographs and folders; the bundled ones unless given.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    images: Vec<PathBuf>,
    /// The networks; every one that has weights unless given.
    #[arg(long, value_enum, value_delimiter = ',')]
    networks: Vec<NetworkName>,
    /// Where paths start.
    #[arg(long, value_enum, default_value_t = BaselineName::Blur)]
    baseline: BaselineName,
    /// What is explained, of the predicted class where it is one's.
    #[arg(long, value_enum, default_value_t = OutputName::LogOddsReferable)]
    output: OutputName,
    /// The table, as CSV; rows are added to it.
    #[arg(long, value_name = "FILE.csv")]
    out: PathBuf,
    /// Makes no rows: prints and draws those that are there.
    #[arg(long, conflicts_with_all = ["images", "store"])]
    only_print: bool,
    /// Draws claims and true distances.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Midpoints of the reference.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(2..))]
    reference_steps: u32,
    /// Keeps each reference in this folder, as f16 safetensors, and takes those that are there.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

/// A map of one image and network.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    /// SHA-256 of what the network sees.
    input: String,
    network: Network,
    weights: String,
    baseline: BaselineName,
    output: OutputName,
    reference_steps: u32,
    tolerance: f64,
    gradients: usize,
    converged: bool,
    claim: f64,
    distance: f64,
    completeness_error: f64,
    seconds: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        if self.distance == 0.0 { 0.0 } else { self.distance / self.claim }
    }

    /// Whether the program makes such a map unless it is asked for another.
    fn is_default(&self) -> bool {
        self.was_asked(Stop::default().tolerance)
            && (self.baseline.into(), self.output.of(Target::default())) == <(Baseline, Output)>::default()
    }

    /// Whether this is the map of such a photograph.
    fn is_of(&self, input: &str, model: &dyn Model, args: &Args) -> bool {
        let of = (self.input.as_str(), self.network, self.weights.as_str(), self.reference_steps);
        of == (input, model.network(), model.weights_hash(), args.reference_steps)
            && (self.baseline, self.output) == (args.baseline, args.output)
    }

    fn question(&self) -> (Network, BaselineName, OutputName) {
        (self.network, self.baseline, self.output)
    }

    fn was_asked(&self, tolerance: f64) -> bool {
        self.tolerance.total_cmp(&tolerance).is_eq()
    }
}

/// Makes the rows that are missing, draws and prints the table; status 1 if claims are not honest.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = Home::find()?;
    let mut rows: Vec<Row> = rows::read(&args.out)?;
    if !args.only_print {
        measure(args, &home, &mut rows)?;
    }
    // Rows of former weights stay in the file and say nothing about these.
    let hashes: BTreeSet<String> = Manifest::read(&home.weights())?.networks.values().map(Entry::hash).collect();
    rows.retain(|row| hashes.contains(&row.weights) && row.reference_steps == args.reference_steps);
    if let Some(path) = &args.chart {
        let mut sink = Sink::open(Some(path))?;
        write!(sink, "{}", chart(&rows))?;
        sink.finish()?;
    }
    print(&rows)?;
    Ok(ExitCode::from(if honest(&rows) { DONE } else { FAILURE }))
}

fn measure(args: &Args, home: &Home, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let given = if args.images.is_empty() { vec![home.samples()] } else { args.images.clone() };
    let files = Files::find(&given, &|| false)?;
    let models = models(home, args.device.into(), &args.networks)?;
    for photograph in files.candidates.iter().filter_map(|file| Photograph::read(file)) {
        for model in &models {
            add_rows(args, model.as_ref(), &photograph, rows)?;
        }
    }
    Ok(())
}

/// The rows of one photograph and network that are missing.
fn add_rows(args: &Args, model: &dyn Model, photograph: &Photograph, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let input = hexadecimal(&photograph.input.sha256());
    let is_there = |tolerance: &f64| rows.iter().any(|row| row.is_of(&input, model, args) && row.was_asked(*tolerance));
    let missing: Vec<f64> = TOLERANCES.into_iter().filter(|tolerance| !is_there(tolerance)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let question = (args.baseline.into(), args.output.of(Target::default()));
    let subject = Subject::new(model, photograph, question)?;
    let made = check(args, subject, &input, &missing)?;
    rows::append(&args.out, &made)?;
    rows.extend(made);
    Ok(())
}

/// A map for each tolerance, its claim, and its distance to the reference.
fn check(args: &Args, mut subject: Subject, input: &str, tolerances: &[f64]) -> anyhow::Result<Vec<Row>> {
    let model = subject.model;
    let cancel = Cancel::default();
    let mut line = ProgressLine::new();
    let file = subject.photograph.name.clone();
    let mut hear = |update: Update| {
        if let Update::Gradients(taken) = update {
            line.show(&format!("{file}, {}: {taken} gradients", model.network().label()));
        }
    };
    let mut maps = Vec::new();
    for &tolerance in tolerances {
        let (integral, function) = subject.integral();
        maps.push((tolerance, integral.run(function, Stop { tolerance, ..Stop::default() }, &cancel, &mut hear)?));
    }
    let question = format!("{}_{}", name(args.baseline), name(args.output));
    let store = (args.store.as_deref(), args.reference_steps);
    let reference = reference(store, &mut subject, &question, &mut hear)?;
    let row = |(tolerance, map): (f64, Attribution)| {
        Ok(Row {
            file: subject.photograph.name.clone(),
            input: input.to_owned(),
            network: model.network(),
            weights: model.weights_hash().to_owned(),
            baseline: args.baseline,
            output: args.output,
            reference_steps: args.reference_steps,
            tolerance,
            gradients: map.gradient_evaluations,
            converged: map.converged,
            claim: map.map_change.context("a map without a claim")?,
            distance: distance(&map.map, &reference),
            completeness_error: map.completeness_error.context("a map without a sum")?,
            seconds: map.seconds,
        })
    };
    maps.into_iter().map(row).collect()
}

fn share_within(rows: &[&Row], limit: f64) -> f64 {
    rows.iter().filter(|row| row.ratio() <= limit).count() as f64 / rows.len().max(1) as f64
}

/// Whether the claims for each question and tolerance are, on their own.
fn honest(rows: &[Row]) -> bool {
    let questions: BTreeSet<_> = rows.iter().map(|row| (row.baseline, row.output)).collect();
    questions.into_iter().flat_map(|question| TOLERANCES.map(|tolerance| (question, tolerance))).all(
        |(question, tolerance)| {
            let is_of = |row: &&Row| (row.baseline, row.output) == question && row.was_asked(tolerance);
            let these: Vec<&Row> = rows.iter().filter(is_of).collect();
            these.is_empty() || share_within(&these, USUAL) >= SHARE && share_within(&these, ALWAYS) >= 1.0
        },
    )
}

/// What was asked of each network, and how closely.
fn questions(rows: &[Row]) -> impl Iterator<Item = ((Network, BaselineName, OutputName), f64)> {
    let questions: BTreeSet<_> = rows.iter().map(Row::question).collect();
    questions.into_iter().flat_map(|question| TOLERANCES.map(|tolerance| (question, tolerance)))
}

/// Claims across, true distances up, in percent; maps that are not the default are faint.
fn chart(rows: &[Row]) -> String {
    let networks: BTreeSet<Network> = rows.iter().map(|row| row.network).collect();
    let series = networks.into_iter().flat_map(|network| {
        [false, true].map(|default| Series {
            name: format!(
                "{}, {}",
                network.label(),
                if default { "as the program asks" } else { "asked for otherwise" }
            ),
            kind: network as usize,
            faint: !default,
            points: rows
                .iter()
                .filter(|row| row.network == network && row.is_default() == default)
                .map(|row| [100.0 * row.claim, 100.0 * row.distance])
                .collect(),
        })
    });
    let axes = ["claimed error of the map, %", "true distance, %"];
    scatter(axes, &series.collect::<Vec<_>>(), &[(1.0, "as claimed"), (USUAL, "1.5 x"), (ALWAYS, "2.5 x")])
}

fn print(rows: &[Row]) -> anyhow::Result<()> {
    let mut sink = Sink::open(None)?;
    writeln!(
        sink,
        "| network | question | asked | photographs | gradients | claimed | true distance | ratio | completeness error |"
    )?;
    writeln!(sink, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for (question, tolerance) in questions(rows) {
        let asked = |row: &&Row| row.question() == question && row.was_asked(tolerance);
        let these: Vec<&Row> = rows.iter().filter(asked).collect();
        if these.is_empty() {
            continue;
        }
        let (network, baseline, output) = question;
        let spread = |digits, figure: fn(&Row) -> f64| {
            Spread::of(these.iter().map(|row| figure(row))).map_or_else(String::new, |spread| spread.words(digits))
        };
        writeln!(
            sink,
            "| {} | {}, {} | {} % | {} | {} | {} % | {} % | {} | {} % |",
            network.label(),
            name(baseline),
            name(output),
            100.0 * tolerance,
            these.len(),
            spread(0, |row| row.gradients as f64),
            spread(2, |row| 100.0 * row.claim),
            spread(2, |row| 100.0 * row.distance),
            spread(2, Row::ratio),
            spread(3, |row| 100.0 * row.completeness_error)
        )?;
    }
    let all: Vec<&Row> = rows.iter().collect();
    for limit in [USUAL, ALWAYS] {
        let share = 100.0 * share_within(&all, limit);
        writeln!(sink, "\nWithin {limit} times the claim: {share:.1} % of {} maps.", rows.len())?;
    }
    sink.finish()
}
