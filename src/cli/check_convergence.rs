//! `diaret check-convergence`: photographs and networks come in; how far each map and every refinement on the way to it is from the
//! truth, beside what it claimed.
//!
//! The truth is the midpoint rule with many points: gradients, and no secants. It costs minutes, so it is kept where that is
//! asked for; a map's rows are written as soon as they are known, and rows that are there already, of the same weights and
//! reference, are not made again.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::{Deserialize, Serialize};

use super::names::NetworkName;
use super::output::{ProgressLine, Sink, warn};
use super::{DONE, DeviceArgument, FAILURE, rows};
use crate::attribution::convergence::distance;
use crate::attribution::integrated_gradients::{IntegratedGradients, Update};
use crate::attribution::quadrature::Rule;
use crate::attribution::{Attribution, AttributionError, Baseline, Cancel, Stop};
use crate::bench::chart::{Series, scatter};
use crate::fundus::{Listing, NetworkInput};
use crate::grading::Output;
use crate::home::Home;
use crate::nn::weights::hexadecimal;
use crate::nn::{Model, Network};
use crate::session::{Explained, Files, Networks, prepare};

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

/// A map of one image and network, or a refinement on the way to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    network: Network,
    weights: String,
    reference_steps: u32,
    /// Whether no refinement follows: these must be honest.
    last: bool,
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

    fn key(&self) -> (String, Network, String, u32) {
        (self.file.clone(), self.network, self.weights.clone(), self.reference_steps)
    }
}

/// Makes the rows that are missing, draws and prints the table; status 1 if the claims of the last maps are not honest.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut rows: Vec<Row> = rows::read(&args.out)?;
    if !args.only_print {
        measure(args, &mut rows)?;
    }
    if let Some(path) = &args.chart {
        let mut sink = Sink::open(Some(path))?;
        write!(sink, "{}", chart(&rows))?;
        sink.finish()?;
    }
    rows.retain(|row| row.last);
    print(&rows)?;
    Ok(ExitCode::from(if honest(&rows) { DONE } else { FAILURE }))
}

fn measure(args: &Args, rows: &mut Vec<Row>) -> anyhow::Result<()> {
    let home = Home::find()?;
    let given = if args.images.is_empty() { vec![home.samples()] } else { args.images.clone() };
    let files = Files::find(&given, &|| false)?;
    let asked = NetworkName::asked(&args.networks);
    let (networks, _) = super::load_networks(&home, args.device.into(), &asked)?;
    for file in &files.candidates {
        add_rows(args, &networks, &asked, file, rows)?;
    }
    // Rows of former weights stay in the file and say nothing about these.
    let hashes: BTreeSet<String> =
        asked.iter().filter_map(|&network| networks.model(network).ok()).map(|m| m.weights_hash().to_owned()).collect();
    rows.retain(|row| hashes.contains(&row.weights) && row.reference_steps == args.reference_steps);
    Ok(())
}

/// The rows of one photograph, for each network that runs.
fn add_rows(
    args: &Args,
    networks: &Networks,
    asked: &[Network],
    file: &Path,
    rows: &mut Vec<Row>,
) -> anyhow::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let prepared = match prepare(file, &mut Listing::default()) {
        Ok(prepared) => prepared,
        Err(unusable) => {
            warn(&format!("left out: {}", unusable.reason));
            return Ok(());
        }
    };
    for &network in asked {
        let model = match networks.model(network) {
            Ok(model) => model,
            Err(why) => {
                warn(&format!("{} left out: {why}", network.label()));
                continue;
            }
        };
        let key = (name.clone(), network, model.weights_hash().to_owned(), args.reference_steps);
        if rows.iter().any(|row| row.key() == key) {
            continue;
        }
        let made = check(args, model.as_ref(), &prepared.input, &name)?;
        rows::append(&args.out, &made)?;
        rows.extend(made);
    }
    Ok(())
}

/// The default map and the refinements before it, their claims, and their distances to the reference.
fn check(args: &Args, model: &dyn Model, input: &NetworkInput, file: &str) -> anyhow::Result<Vec<Row>> {
    let network = model.network();
    let mut line = ProgressLine::new();
    let mut maps = Vec::new();
    let mut hear = |update: Update| match update {
        Update::Gradients(taken) => line.show(&format!("{file}, {}: {taken} gradients", network.label())),
        Update::Map(map) => maps.push(map),
    };
    let mut function = Explained::new(model.executor(model.rows_at_once())?, Output::default(), &input.pixels)?;
    let starts = Baseline::default().starts(&input.pixels, &input.mask, input.side);
    let integral = IntegratedGradients { input: &input.pixels, starts: &starts };
    integral.run(&mut function, Stop::default(), &Cancel::default(), &mut hear)?;
    let reference = reference(args, model, (input, file), &mut |rule| {
        integral.with_rule(&mut function, rule, &Cancel::default(), &mut |update| match update {
            Update::Gradients(taken) => line.show(&format!("{file}, {}: {taken} of the reference", network.label())),
            Update::Map(_) => {}
        })
    })?;
    drop(line);
    let row = |map: &Attribution| {
        Some(Row {
            file: file.to_owned(),
            network,
            weights: model.weights_hash().to_owned(),
            reference_steps: args.reference_steps,
            last: map.next.is_none(),
            gradients: map.gradient_evaluations,
            converged: map.converged,
            // The first map claims nothing.
            claim: map.map_change?,
            distance: distance(&map.map, &reference),
            completeness_error: map.completeness_error?,
            seconds: map.seconds,
        })
    };
    Ok(maps.iter().filter_map(|map| row(map)).collect())
}

/// The reference from its file, else made and kept, if that is asked for.
fn reference(
    args: &Args,
    model: &dyn Model,
    (input, file): (&NetworkInput, &str),
    make: &mut dyn FnMut(&Rule) -> Result<Attribution, AttributionError>,
) -> anyhow::Result<Vec<f32>> {
    let kept = args.store.as_ref().map(|folder| Kept {
        path: folder.join(format!("{file}_{}.safetensors", model.network().name())),
        of: HashMap::from([
            (WEIGHTS.to_owned(), model.weights_hash().to_owned()),
            (STEPS.to_owned(), args.reference_steps.to_string()),
            (INPUT.to_owned(), hexadecimal(&input.sha256())),
        ]),
    });
    if let Some(reference) = kept.as_ref().map(Kept::read).transpose()?.flatten() {
        return Ok(reference);
    }
    let reference = make(&Rule::midpoints(args.reference_steps as usize))?;
    kept.map_or(Ok(()), |kept| kept.write(&reference))?;
    Ok(reference.map)
}

/// What a file of a reference says it is of.
const WEIGHTS: &str = "weights";
const STEPS: &str = "reference_steps";
const INPUT: &str = "input";

/// A reference in a file: `attribution`, f16 `[side, side, 3]`, divided by `scale`, f32 `[1]`, its largest magnitude.
struct Kept {
    path: PathBuf,
    /// Of which weights and input, and with how many midpoints.
    of: HashMap<String, String>,
}

impl Kept {
    /// The map, if the file is there and is of the same.
    fn read(&self) -> anyhow::Result<Option<Vec<f32>>> {
        if !self.path.exists() {
            return Ok(None);
        }
        let cannot = || format!("cannot read {}: move it away to make it anew", self.path.display());
        let bytes = std::fs::read(&self.path).with_context(cannot)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).with_context(cannot)?;
        if header.metadata().as_ref() != Some(&self.of) {
            return Ok(None);
        }
        let tensors = SafeTensors::deserialize(&bytes).with_context(cannot)?;
        let (halves, scale) =
            (tensors.tensor("attribution").with_context(cannot)?, tensors.tensor("scale").with_context(cannot)?);
        let scale = f32::from_le_bytes(scale.data().try_into().with_context(cannot)?);
        let values = halves.data().as_chunks().0.iter().map(|half| scale * f16::from_le_bytes(*half).to_f32());
        Ok(Some(values.collect()))
    }

    fn write(&self, reference: &Attribution) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new("."))).with_context(cannot)?;
        let scale = reference.map.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let share = |value: &f32| f16::from_f32(value / scale.max(f32::MIN_POSITIVE)).to_le_bytes();
        let halves: Vec<u8> = reference.map.iter().flat_map(share).collect();
        let scale = scale.to_le_bytes();
        let tensors = [
            ("attribution", TensorView::new(Dtype::F16, reference.shape.to_vec(), &halves)?),
            ("scale", TensorView::new(Dtype::F32, vec![1], &scale)?),
        ];
        serialize_to_file(tensors, Some(self.of.clone()), &self.path).with_context(cannot)
    }
}

fn share_within(rows: &[Row], limit: f64) -> f64 {
    rows.iter().filter(|row| row.ratio() <= limit).count() as f64 / rows.len().max(1) as f64
}

fn honest(rows: &[Row]) -> bool {
    share_within(rows, USUAL) >= SHARE && share_within(rows, ALWAYS) >= 1.0
}

/// Claims across, true distances up, in percent; refinements on the way are faint.
fn chart(rows: &[Row]) -> String {
    let networks: BTreeSet<Network> = rows.iter().map(|row| row.network).collect();
    let series = networks.into_iter().flat_map(|network| {
        [false, true].map(|last| Series {
            name: format!("{}, {}", network.label(), if last { "the map shown at the end" } else { "on the way" }),
            kind: network as usize,
            faint: !last,
            points: rows
                .iter()
                .filter(|row| row.network == network && row.last == last)
                .map(|row| [100.0 * row.claim, 100.0 * row.distance])
                .collect(),
        })
    });
    let axes = ["claimed error of the map, %", "true distance, %"];
    scatter(axes, &series.collect::<Vec<_>>(), &[(1.0, "as claimed"), (USUAL, "1.5 x"), (ALWAYS, "2.5 x")])
}

fn print(rows: &[Row]) -> anyhow::Result<()> {
    let mut sink = Sink::open(None)?;
    writeln!(sink, "| image | network | gradients | claimed | true distance | ratio | completeness error | seconds |")?;
    writeln!(sink, "| --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for row in rows {
        writeln!(
            sink,
            "| {} | {} | {} | {:.4} | {:.4} | {:.2} | {:.4} | {:.1} |",
            row.file,
            row.network.label(),
            row.gradients,
            row.claim,
            row.distance,
            row.ratio(),
            row.completeness_error,
            row.seconds
        )?;
    }
    for limit in [USUAL, ALWAYS] {
        let share = 100.0 * share_within(rows, limit);
        writeln!(sink, "\nWithin {limit} times the claim: {share:.1} % of {} rows.", rows.len())?;
    }
    sink.finish()
}
