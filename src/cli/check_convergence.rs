//! `diaret check-convergence`: photographs and networks come in; how far each map is from the truth, beside what it claimed.
//!
//! The truth is the midpoint rule with many points, which shares none with the nested rule. A row costs many minutes, so it is
//! written as soon as it is known, and rows that are there already, of the same weights and reference, are not made again.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::names::NetworkName;
use super::output::{ProgressLine, Sink, warn};
use super::{DONE, DeviceArgument, FAILURE};
use crate::attribution::convergence::distance;
use crate::attribution::integrated_gradients::{IntegratedGradients, Update};
use crate::attribution::quadrature::Rule;
use crate::attribution::{Attribution, Baseline, Cancel, Stop};
use crate::fundus::{Listing, NetworkInput};
use crate::grading::Output;
use crate::home::Home;
use crate::nn::{Model, Network};
use crate::session::{Explained, Files, Networks, prepare, rows_at_once};

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
    /// Midpoints of the reference.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(2..))]
    reference_steps: u32,
    /// Also stores each reference in this folder, as f16 safetensors.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

/// One image and network.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    network: Network,
    weights: String,
    reference_steps: u32,
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

/// Makes the rows that are missing and prints the table; status 1 if the claims are not honest.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let home = Home::find()?;
    let given = if args.images.is_empty() { vec![home.samples()] } else { args.images.clone() };
    let files = Files::find(&given, &|| false)?;
    let asked: Vec<Network> = match args.networks.as_slice() {
        [] => Network::ALL.to_vec(),
        named => named.iter().map(|&name| name.into()).collect(),
    };
    let (networks, _) = super::load_networks(&home, args.device.into(), &asked)?;
    let mut rows = read(&args.out)?;
    for file in &files.candidates {
        add_rows(args, &networks, &asked, file, &mut rows)?;
    }
    // Rows of former weights stay in the file and say nothing about these.
    let hashes: BTreeSet<String> =
        asked.iter().filter_map(|&network| networks.model(network).ok()).map(|m| m.weights_hash().to_owned()).collect();
    rows.retain(|row| hashes.contains(&row.weights) && row.reference_steps == args.reference_steps);
    print(&rows)?;
    Ok(ExitCode::from(if honest(&rows) { DONE } else { FAILURE }))
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
    let (_, prepared) = match prepare(file, &mut Listing::default()) {
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
        let known: BTreeSet<_> = rows.iter().map(Row::key).collect();
        let key = (name.clone(), network, model.weights_hash().to_owned(), args.reference_steps);
        if known.contains(&key) {
            continue;
        }
        let (row, reference) = check(args, model.as_ref(), &prepared.input, name.clone())?;
        if let Some(folder) = &args.store {
            store(folder, &row, &reference)?;
        }
        append(&args.out, &row)?;
        rows.push(row);
    }
    Ok(())
}

/// The default map, its claim, and its distance to the reference.
fn check(args: &Args, model: &dyn Model, input: &NetworkInput, file: String) -> anyhow::Result<(Row, Attribution)> {
    let network = model.network();
    let mut line = ProgressLine::new();
    let mut hear = |update: Update| {
        if let Update::Gradients(taken) = update {
            line.show(&format!("{file}, {}: {taken} gradients", network.label()));
        }
    };
    let mut function = Explained::new(model.executor(rows_at_once())?, Output::default(), &input.pixels)?;
    let starts = Baseline::default().starts(&input.pixels, &input.mask, input.side);
    let integral = IntegratedGradients { input: &input.pixels, starts: &starts };
    let map = integral.run(&mut function, Stop::default(), &Cancel::default(), &mut hear)?;
    let rule = Rule::midpoints(args.reference_steps as usize);
    let reference = integral.with_rule(&mut function, &rule, &Cancel::default(), &mut hear)?;
    drop(line);
    let row = Row {
        file,
        network,
        weights: model.weights_hash().to_owned(),
        reference_steps: args.reference_steps,
        gradients: map.gradient_evaluations,
        converged: map.converged,
        claim: map.map_change.context("a map without a claim")?,
        distance: distance(&map.map, &reference.map),
        completeness_error: map.completeness_error.context("a map without a completeness error")?,
        seconds: map.seconds,
    };
    Ok((row, reference))
}

/// The reference as `attribution`, f16 `[side, side, 3]`, divided by `scale`, f32 `[1]`, its largest magnitude; the file says of which
/// weights.
fn store(folder: &Path, row: &Row, reference: &Attribution) -> anyhow::Result<()> {
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
    std::fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}_{}.safetensors", row.file, row.network.name()));
    let scale = reference.map.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let halves: Vec<u8> = reference
        .map
        .iter()
        .flat_map(|value| half::f16::from_f32(value / scale.max(f32::MIN_POSITIVE)).to_le_bytes())
        .collect();
    let scale = scale.to_le_bytes();
    let tensors = [
        ("attribution", TensorView::new(Dtype::F16, reference.shape.to_vec(), &halves)?),
        ("scale", TensorView::new(Dtype::F32, vec![1], &scale)?),
    ];
    let weights = HashMap::from([("weights".to_owned(), row.weights.clone())]);
    serialize_to_file(tensors, Some(weights), &path).with_context(|| format!("cannot write {}", path.display()))
}

/// The rows that are there.
fn read(path: &Path) -> anyhow::Result<Vec<Row>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read {}: move it away to begin anew", path.display());
    csv::Reader::from_path(path).with_context(cannot)?.deserialize().collect::<Result<_, _>>().with_context(cannot)
}

fn append(path: &Path, row: &Row) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let file = File::options().create(true).append(true).open(path).with_context(cannot)?;
    let new = file.metadata().with_context(cannot)?.len() == 0;
    let mut writer = csv::WriterBuilder::new().has_headers(new).from_writer(file);
    writer.serialize(row).with_context(cannot)?;
    writer.flush().with_context(cannot)
}

fn share_within(rows: &[Row], limit: f64) -> f64 {
    rows.iter().filter(|row| row.ratio() <= limit).count() as f64 / rows.len().max(1) as f64
}

fn honest(rows: &[Row]) -> bool {
    share_within(rows, USUAL) >= SHARE && share_within(rows, ALWAYS) >= 1.0
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
