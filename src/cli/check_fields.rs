//! Photographs and other pictures come in; the shares that are refused go out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::fundus::{Listing, Seen, Source, is_candidate};
use crate::nn::SIDE;

use super::{DONE, FAILURE};

/// Most of the photographs that may be refused, and least of the other pictures that must be.
const MOST_PHOTOGRAPHS: f64 = 0.005;
const LEAST_OTHERS: f64 = 0.95;

/// What to check.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A folder of fundus photographs, of which at most 0.5 % may be refused.
    #[arg(long, value_name = "DIR")]
    photographs: Option<PathBuf>,
    /// A folder of other pictures, of which at least 95 % must be refused.
    #[arg(long, value_name = "DIR", required_unless_present = "photographs")]
    others: Option<PathBuf>,
}

/// Prints both rates, and by name what was judged wrongly; fails where a rate does not hold.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { photographs, others } = args;
    let mut out = std::io::stdout().lock();
    let mut holds = true;
    if let Some(folder) = photographs {
        let judged = judge(&folder)?;
        for (path, reason) in judged.iter().filter_map(|(path, reason)| Some((path, reason.as_ref()?))) {
            writeln!(out, "refused: {} ({reason})", path.display())?;
        }
        holds &= print_rate(&mut out, "photographs", &judged, |rate| rate <= MOST_PHOTOGRAPHS)?;
    }
    if let Some(folder) = others {
        let judged = judge(&folder)?;
        for (path, _) in judged.iter().filter(|(_, reason)| reason.is_none()) {
            writeln!(out, "taken for a fundus photograph: {}", path.display())?;
        }
        holds &= print_rate(&mut out, "other pictures", &judged, |rate| rate >= LEAST_OTHERS)?;
    }
    Ok(ExitCode::from(if holds { DONE } else { FAILURE }))
}

/// Every candidate below a folder, by path, with the reason why it was refused.
fn judge(folder: &Path) -> anyhow::Result<Vec<(PathBuf, Option<String>)>> {
    let mut files = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() && is_candidate(entry.path()) {
            files.push(entry.into_path());
        }
    }
    anyhow::ensure!(!files.is_empty(), "{}: there are no pictures in it", folder.display());
    let reason = |listing: &mut Listing, path: PathBuf| {
        let seen = Source::open(&path, listing)
            .map_err(|error| error.to_string())
            .and_then(|source| Seen::new(&source, SIDE).map_err(|error| error.to_string()));
        (path, seen.err())
    };
    Ok(files.into_par_iter().map_init(Listing::default, reason).collect())
}

fn print_rate(
    out: &mut impl Write,
    what: &str,
    judged: &[(PathBuf, Option<String>)],
    holds: impl Fn(f64) -> bool,
) -> anyhow::Result<bool> {
    let refused = judged.iter().filter(|(_, reason)| reason.is_some()).count();
    let rate = refused as f64 / judged.len() as f64;
    let verdict = if holds(rate) { "holds" } else { "does not hold" };
    writeln!(out, "{what}: {refused} of {} refused, {:.2} % ({verdict})", judged.len(), 100.0 * rate)?;
    Ok(holds(rate))
}
