//! Arguments come in; one call and an exit status go out: 0 done, 1 failure, 2 usage, 3 some photographs skipped.

mod bench;
mod check_convergence;
mod check_fields;
mod compare_rules;
mod explain;
mod grade;
mod import_weights;
mod names;
mod output;
mod records;
mod reference;
mod rows;
mod subject;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::home::Home;
use crate::nn::{Device, DeviceChoice, Network};
use crate::session::Networks;
use crate::viewer::Stopwatch;

/// Everything was done.
const DONE: u8 = 0;
/// Something failed.
const FAILURE: u8 = 1;
/// The arguments make no sense.
const USAGE: u8 = 2;
/// Some photographs were skipped.
const SKIPPED: u8 = 3;

/// Grades diabetic retinopathy on fundus photographs and shows why. For research, not a medical device.
///
/// Without a command, opens the viewer on the files and folders given, else on the bundled samples. A file or folder that is
/// called like a command is given as ./grade.
#[derive(Debug, Parser)]
#[command(name = "diaret", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Photographs and folders to open.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Tells on stderr how long the window, and photograph, bars and maps of each case, took to appear.
    #[arg(long)]
    timings: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Grades photographs: one record a file.
    Grade(grade::Args),
    /// Explains what a network says of a photograph: a map, its overlay and how far it has converged.
    Explain(explain::Args),
    /// Converts a network's weights from the names of Keras, torchvision or timm to this program's files.
    ImportWeights(import_weights::Args),
    /// Checks that maps are as close to the truth as they claim: one row an image and network.
    CheckConvergence(check_convergence::Args),
    /// Compares ways to place the points of a path: how close maps of equally many gradients are.
    CompareRules(compare_rules::Args),
    /// Counts fundus photographs and other pictures that are refused.
    CheckFields(check_fields::Args),
    /// Measures how fast networks, gradients, maps and grading are on this machine.
    Bench(Box<bench::Args>),
    /// Fits a network's last layer to graded photographs; writes weights, manifest and model card.
    Train(train::Args),
}

/// The arguments are well formed, but not together: ends with status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}\n\nFor more information, try '--help'.")]
pub struct UsageError(pub String);

/// `--device`.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub enum DeviceArgument {
    /// CUDA or Metal where built in and present, else CPU.
    #[default]
    Auto,
    /// This processor.
    Cpu,
    /// An NVIDIA card.
    Cuda,
    /// An Apple GPU.
    Metal,
}

impl From<DeviceArgument> for DeviceChoice {
    fn from(argument: DeviceArgument) -> Self {
        match argument {
            DeviceArgument::Auto => Self::Auto,
            DeviceArgument::Cpu => Self::Cpu,
            DeviceArgument::Cuda => Self::Cuda,
            DeviceArgument::Metal => Self::Metal,
        }
    }
}

/// Parses the arguments and runs what they ask for.
pub fn main() -> ExitCode {
    let begun = Instant::now();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too; a closed pipe is no failure of theirs.
            error.print().ok();
            return ExitCode::from(if error.use_stderr() { USAGE } else { DONE });
        }
    };
    let result = match arguments.command {
        Some(Command::Grade(args)) => grade::run(&args),
        Some(Command::Explain(args)) => explain::run(&args),
        Some(Command::CheckConvergence(args)) => check_convergence::run(&args),
        Some(Command::CompareRules(args)) => compare_rules::run(&args),
        Some(Command::CheckFields(args)) => check_fields::run(args),
        Some(Command::ImportWeights(args)) => import_weights::run(args),
        Some(Command::Bench(args)) => bench::run(&args),
        Some(Command::Train(args)) => train::run(args),
        None => {
            let stopwatch = arguments.timings.then(|| Stopwatch::new(begun, output::warn));
            view(arguments.paths, arguments.device.into(), stopwatch)
        }
    };
    result.unwrap_or_else(|error| status_of(&error))
}

/// Opens the viewer.
fn view(paths: Vec<PathBuf>, device: DeviceChoice, stopwatch: Option<Stopwatch>) -> anyhow::Result<ExitCode> {
    for path in &paths {
        anyhow::ensure!(path.exists(), "no such file, folder or command: {}", path.display());
    }
    crate::viewer::run(Home::find()?, device, paths, stopwatch)?;
    Ok(ExitCode::from(DONE))
}

/// Opens the device and reads the weights of the networks `asked` for. A device asked for by name that is missing is a
/// failure, as a network is; where `auto` could not take a card that is built in, stderr says so. Gives the device's name, too.
fn load_networks(home: &Home, device: DeviceChoice, asked: &[Network]) -> anyhow::Result<(Networks, String)> {
    let device = Device::open(device)?;
    if let Some(fallback) = &device.fallback {
        output::warn(&format!("{fallback}; using {}", device.label));
    }
    let networks = Networks::loading(asked);
    networks.load(&home.weights(), &device, &mut |_, _| ());
    Ok((networks, device.label))
}

/// Says on stderr what went wrong and gives the exit status for it.
fn status_of(error: &anyhow::Error) -> ExitCode {
    if output::is_closed_pipe(error) {
        // Whoever read our output has seen enough, as `head` does.
        return ExitCode::from(DONE);
    }
    output::warn(&format!("error: {error:#}"));
    ExitCode::from(if error.is::<UsageError>() { USAGE } else { FAILURE })
}
