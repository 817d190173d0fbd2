//! `diaret bench`: settings come in; rows on stderr as they are measured, a JSON file and tables go out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::names::NetworkName;
use super::output::{Sink, warn};
use super::{DONE, DeviceArgument};
use crate::bench::beside::Beside;
use crate::bench::{self, Part, Report, Settings};
use crate::home::Home;
use crate::nn::{Device, Network, Precision};
use crate::session::Files;

/// Pairs of runs in a row: full, quick.
const RUNS: [usize; 2] = [5, 3];
/// Images at once.
const BATCHES: [usize; 2] = [1, 8];
/// Minutes of a quick run: a quarter of an hour, and one left.
const QUICK: usize = 14;
/// Midpoints of a reference: full, quick.
const REFERENCE: [usize; 2] = [2048, 512];

/// Measures how fast networks, gradients, maps and grading are on this machine.
///
/// Beside another program that speaks the same lines of JSON (benches/captum: PyTorch and Captum, started by benches/run), runs of
/// both alternate. Prints tables; --json keeps all figures.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ends within a quarter of an hour: three photographs, coarser references, and the other program's settings that won
    /// before.
    #[arg(long)]
    quick: bool,
    /// The networks; all unless given. One that has no weights is timed with weights made by a formula.
    #[arg(long, value_enum, value_delimiter = ',')]
    network: Vec<NetworkName>,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// What products are computed in. This program has bf16 only where that is faster; the other takes minutes for each row in it on
    /// a processor without instructions for it.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "f32")]
    precision: Vec<PrecisionName>,
    /// What is measured.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "speed,grading,maps,training")]
    only: Vec<PartName>,
    /// Images at once for rows of speed.
    #[arg(long, value_delimiter = ',', default_values_t = BATCHES, value_parser = parse_count)]
    batches: Vec<usize>,
    /// Pairs of runs in a row of speed and grading; 5, quick 3, unless given.
    #[arg(long, value_parser = parse_count)]
    runs: Option<usize>,
    /// Midpoints of a reference; 2048, quick 512, unless given.
    #[arg(long, value_parser = parse_count)]
    reference_steps: Option<usize>,
    /// Photographs and folders; the bundled ones unless given.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    images: Vec<PathBuf>,
    /// Ends after so many minutes: what would not end before is left out, and named; 14 if --quick, else no limit. With --keep
    /// the next run goes on.
    #[arg(long, value_name = "MINUTES", value_parser = parse_count)]
    within: Option<usize>,
    /// A folder for references, rows and the other program's best settings, so that a run that was broken off goes on.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Earlier reports. Rows that would be measured under the same conditions again (programs, machine, settings) are taken from
    /// them; a quick run also takes the other program's settings that won in a full one, on such a processor.
    #[arg(long, value_name = "FILE.json", num_args = 1..)]
    former: Vec<PathBuf>,
    /// What rows depend on of this program, such as a hash of the sources that are measured; unless given, all of the executable.
    #[arg(long, value_name = "TEXT")]
    program: Option<String>,
    /// Which state of the program it is, to stand in the report.
    #[arg(long, value_name = "TEXT")]
    revision: Option<String>,
    /// Writes all figures.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures nothing: prints the tables of reports that were written before.
    #[arg(long, value_name = "FILE.json", num_args = 1.., conflicts_with_all = ["quick", "json", "beside"])]
    tables: Vec<PathBuf>,
    /// The other program and its arguments; must stand last.
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true)]
    beside: Vec<String>,
}

/// `--precision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PrecisionName {
    /// Single precision.
    F32,
    /// Products of bf16.
    Bf16,
}

/// `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PartName {
    /// Forward passes and input gradients.
    Speed,
    /// Grades from files.
    Grading,
    /// Integrated Gradients.
    Maps,
    /// Training steps.
    Training,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::Bf16 => Self::Bf16,
        }
    }
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Speed => Self::Speed,
            PartName::Grading => Self::Grading,
            PartName::Maps => Self::Maps,
            PartName::Training => Self::Training,
        }
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=1 << 20).contains(&count) => Ok(count),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}

impl Args {
    /// What is measured unless something else is asked for, and is not now.
    fn not_asked(&self, networks: &[Network]) -> Vec<String> {
        let parts = PartName::value_variants().iter().filter(|part| !self.only.contains(part));
        let parts = parts.filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()));
        let missing = Network::ALL.into_iter().filter(|network| !networks.contains(network));
        let batches = BATCHES.iter().filter(|batch| !self.batches.contains(batch));
        let batches = batches.map(|batch| format!("passes of {batch} at once"));
        parts.chain(missing.map(|network| network.label().to_owned())).chain(batches).collect()
    }

    fn settings(&self) -> Result<Settings, anyhow::Error> {
        let networks = NetworkName::asked(&self.network);
        Ok(Settings {
            parts: self.only.iter().map(|&name| name.into()).collect(),
            not_asked: self.not_asked(&networks),
            networks,
            precisions: self.precision.iter().map(|&name| name.into()).collect(),
            batches: self.batches.clone(),
            runs: self.runs.unwrap_or(RUNS[usize::from(self.quick)]),
            reference_steps: self.reference_steps.unwrap_or(REFERENCE[usize::from(self.quick)]),
            quick: self.quick,
            within: self.within.or(self.quick.then_some(QUICK)).map(|minutes| Duration::from_secs(60 * minutes as u64)),
            keep: self.keep.clone(),
            program: self.program.clone(),
            revision: self.revision.clone(),
            former: self.former.iter().map(|path| read(path)).collect::<Result<_, _>>()?,
        })
    }
}

/// Measures, or prints what was measured before.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.tables.is_empty() {
        let reports = args.tables.iter().map(|path| read(path)).collect::<Result<Vec<Report>, _>>()?;
        return print(&reports);
    }
    let settings = args.settings()?;
    let home = Home::find()?;
    let given = if args.images.is_empty() { vec![home.samples()] } else { args.images.clone() };
    let photographs = Files::find(&given, &|| false)?.candidates;
    let device = Device::open(args.device.into())?;
    if let Some(fallback) = &device.fallback {
        warn(&format!("{fallback}; using {}", device.label));
    }
    // Opened first, so that nothing is measured for a file that cannot be written.
    let json = args.json.as_deref().map(|path| Sink::open(Some(path))).transpose()?;
    let beside = if args.beside.is_empty() { None } else { Some(Beside::start(&args.beside)?) };
    let report = bench::run(&settings, (&home.weights(), &photographs), &device, beside, &mut warn)?;
    if let Some(mut sink) = json {
        writeln!(sink, "{}", serde_json::to_string_pretty(&report)?)?;
        sink.finish()?;
    }
    print(&[report])
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let cannot = || format!("{} is no report of diaret bench", path.display());
    serde_json::from_slice(&std::fs::read(path).with_context(cannot)?).with_context(cannot)
}

fn print(reports: &[Report]) -> anyhow::Result<ExitCode> {
    let mut sink = Sink::open(None)?;
    let sections: Vec<String> = reports.iter().map(bench::tables).collect();
    write!(sink, "{}", sections.join("\n"))?;
    sink.finish()?;
    Ok(ExitCode::from(DONE))
}
