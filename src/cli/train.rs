//! `diaret train`: fits a network's last layer to graded photographs and writes weights, manifest and model card.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::DeviceArgument;
use super::names::NetworkName;
use crate::home::Home;
use crate::nn::weights::{Choices, import};
use crate::nn::{Device, Network};
use crate::training::backbone::Backbone;
use crate::training::card::{card, describe_trial, section};
use crate::training::features::Progress;
use crate::training::head_only::{Fitted, Sources, Told, fit};
use crate::training::report::Report;
use crate::training::selection::Trial;

/// The folder of the figures behind the card, one file a network.
const FIGURES: &str = "figures";

/// Fits a network to graded photographs; writes weights, manifest and model card.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Keep the backbone as it is and fit the last layer alone (nothing else can be trained yet).
    #[arg(long, required = true)]
    head_only: bool,
    /// The network.
    #[arg(long)]
    network: NetworkName,
    /// A file that `import-weights` wrote, or one that it needs no options for.
    #[arg(long)]
    backbone: PathBuf,
    /// Folder with labels.csv.
    #[arg(long)]
    data: PathBuf,
    /// Folder that gets the weights, manifest.toml, `MODEL_CARD.md`, and a cache from which a run that was ended goes on.
    #[arg(long)]
    out: PathBuf,
    /// Folder of full-size photographs that are compared with their copies in the data; the bundled ones if not given.
    #[arg(long)]
    samples: Option<PathBuf>,
    /// Where the backbone runs.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Try the way out on this many photographs of train and val; writes no weights.
    #[arg(long, value_name = "PHOTOGRAPHS")]
    trial: Option<usize>,
}

/// Trains, and prints the figures that stand in the card.
pub fn run(args: Args) -> Result<ExitCode> {
    debug_assert!(args.head_only, "the parser requires it");
    let network = Network::from(args.network);
    let device = Device::open(args.device.into())?;
    say(&format!("Computing on {}", device.label));
    let imported = import(network, &args.backbone, &Choices::default())
        .context("the backbone is no file that `diaret import-weights` wrote")?;
    imported.notes.iter().for_each(|note| say(note));
    let cache = args.out.join("cache");
    let backbone = Backbone::new(imported, &cache.join(network.name()), &device)?;
    let samples = match args.samples {
        Some(folder) => folder,
        None => Home::find().context("name the folder of full-size photographs with --samples")?.samples(),
    };
    let sources = Sources { data: args.data, samples, cache, trial: args.trial };
    let Fitted { head, report } = fit(&backbone, &sources, &mut Stderr)?;
    let Some(mut report) = report else {
        say("A trial: no weights are written");
        return Ok(ExitCode::SUCCESS);
    };
    let files =
        backbone.ship(&head, "last layer fitted by diaret train to the photographs of the model card", &args.out)?;
    report.files = files.into_iter().map(|file| (file.file, file.sha256)).collect();
    write_card(&report, &args.out)?;
    print(&section(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// Keeps the figures, and writes the card of all networks that have some.
fn write_card(report: &Report, out: &Path) -> Result<()> {
    let folder = out.join(FIGURES);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let file = folder.join(format!("{}.json", report.network.name()));
    fs::write(&file, serde_json::to_string_pretty(report)? + "\n")
        .with_context(|| format!("{} cannot be written", file.display()))?;
    let mut reports = Vec::new();
    for network in Network::ALL {
        let file = folder.join(format!("{}.json", network.name()));
        match fs::read_to_string(&file) {
            Ok(text) => reports.push(
                serde_json::from_str(&text)
                    .with_context(|| format!("{}: remove it and train again", file.display()))?,
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => bail!("{}: {error}", file.display()),
        }
    }
    let file = out.join("MODEL_CARD.md");
    fs::write(&file, card(&reports)).with_context(|| format!("{} cannot be written", file.display()))
}

/// Progress, a line each time.
struct Stderr;

impl Told for Stderr {
    fn features(&mut self, progress: Progress) {
        let Progress { done, total, elapsed } = progress;
        let seconds = elapsed.as_secs_f64();
        let each = seconds / done.max(1) as f64;
        let left = each * (total - done) as f64 / 60.0;
        say(&format!("Features: {done} of {total}, {:.0} ms each, {left:.0} min left", 1000.0 * each));
    }

    fn trial(&mut self, trial: &Trial) {
        say(&describe_trial(trial));
    }
}

fn say(line: &str) {
    // Nobody may be listening; that is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn print(text: &str) -> Result<()> {
    std::io::stdout().write_all(text.as_bytes()).context("standard output")
}
