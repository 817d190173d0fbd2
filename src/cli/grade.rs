//! `diaret grade`: files and folders come in; one record a file goes out.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;

use super::names::NetworkName;
use super::output::{ProgressLine, Sink, visible, warn};
use super::records::{Format, Record, Writer};
use super::{DONE, DeviceArgument, SKIPPED};
use crate::home::Home;
use crate::nn::Network;
use crate::session::{Files, Networks, grade_all};

/// Grades photographs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Photographs and folders, which are searched recursively.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Which network grades; the grade is that of all that have weights, unless one is named.
    #[arg(long, value_enum, default_value_t = NetworkChoice::All)]
    network: NetworkChoice,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// How records are written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// A file for the records instead of stdout; it appears when it is whole, and is called FILE.part until then.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// `--network` with `all`.
#[derive(Clone, Copy, Debug)]
enum NetworkChoice {
    All,
    One(NetworkName),
}

impl ValueEnum for NetworkChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::All,
            Self::One(NetworkName::ResNet50),
            Self::One(NetworkName::InceptionV3),
            Self::One(NetworkName::InceptionResNetV2),
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::All => Some(clap::builder::PossibleValue::new("all").help("Every network that has weights")),
            Self::One(name) => name.to_possible_value(),
        }
    }
}

/// Grades everything below the paths.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let files = Files::find(&args.paths, &|| false)?;
    for folder in &files.unreadable {
        warn(&format!("not searched: {folder}"));
    }
    for link in &files.loops {
        warn(&format!("not followed, it leads back to a folder above it: {}", link.display()));
    }
    for other in &files.others {
        warn(&format!("neither image nor DICOM, left out: {}", other.display()));
    }
    match files.others.len() {
        0 => {}
        1 => warn("1 other file left out"),
        count => warn(&format!("{count} other files left out")),
    }
    if files.candidates.is_empty() {
        warn("no photographs found: JPEG, PNG, TIFF, BMP, WebP and DICOM files are graded");
    }
    let sink = Sink::open(args.out.as_deref())?.keeping();
    let networks = load(args)?;
    let mut writer = Writer::new(args.format, sink)?;
    let incomplete = grade(&networks, &files.candidates, &mut writer)?;
    writer.finish()?;
    let complete = incomplete == 0 && files.unreadable.is_empty();
    Ok(ExitCode::from(if complete { DONE } else { SKIPPED }))
}

/// The networks asked for; fails where one was named and has no weights, or where none has.
fn load(args: &Args) -> anyhow::Result<Networks> {
    let asked = match args.network {
        NetworkChoice::All => Network::ALL.to_vec(),
        NetworkChoice::One(name) => vec![name.into()],
    };
    let (networks, _) = super::load_networks(&Home::find()?, args.device.into(), &asked)?;
    let missing = |network: &Network| {
        networks.model(*network).err().map(|why| format!("{} is not available: {why}", network.label()))
    };
    let missing: Vec<String> = asked.iter().filter_map(missing).collect();
    if networks.ready().is_empty() {
        anyhow::bail!("no network can grade: {}", missing.join("; "));
    }
    for network in missing {
        warn(&network);
    }
    Ok(networks)
}

/// Writes a record for each file; gives how many were not graded by every network that runs.
fn grade(networks: &Networks, files: &[PathBuf], writer: &mut Writer) -> anyhow::Result<usize> {
    let mut line = ProgressLine::new();
    let ready = networks.ready();
    let (mut done, mut incomplete, mut failure) = (0, 0, None);
    grade_all(networks, files, &mut |graded| {
        let record = Record::new(&graded, &ready);
        incomplete += usize::from(record.reason.is_some());
        if let Some(reason) = record.reason.as_ref().filter(|_| record.is_graded()) {
            line.clear();
            warn(&format!("{reason}: {}", visible(&record.file)));
        }
        line.show(&format!("{} of {}  {}", done + 1, files.len(), record.file));
        match writer.write(&record) {
            Ok(()) => {
                done += 1;
                ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    line.clear();
    let kept = || match writer.part() {
        Some(part) => format!("cannot write the records; those of {done} photographs are in {}", part.display()),
        None => "cannot write the records".to_owned(),
    };
    failure.map_or(Ok(incomplete), |error| Err(error).with_context(kept))
}
