//! All that a bench measured, as plain data: what `--json` writes and the tables are made of.

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::maps::CaseRow;
use super::other::Winners;
use super::speed::SpeedRow;
use super::throughput::GradingRow;
use crate::nn::cpu::peak::Peak;

/// A bench.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// This program's version.
    pub version: String,
    /// Which state of it.
    #[serde(default)]
    pub revision: Option<String>,
    /// Where it ran.
    pub machine: Machine,
    /// The other program, if there was one.
    pub other: Option<String>,
    /// Whether it was cut short to fit a quarter of an hour.
    pub quick: bool,
    /// Minutes that it was given.
    #[serde(default)]
    pub within: Option<f64>,
    /// Pairs of runs in a row of speed and grading.
    pub runs: usize,
    /// Midpoints of the references.
    pub reference_steps: usize,
    /// The processor's peak with one thread and with all; empty on a card.
    pub peaks: Vec<Peak>,
    /// Forward passes and gradients.
    pub speed: Vec<SpeedRow>,
    /// Maps.
    pub maps: Vec<CaseRow>,
    /// Photographs from their files.
    pub grading: Option<GradingRow>,
    /// The other program's fastest settings.
    pub winners: Winners,
    /// What was not measured, and why.
    pub left_out: Vec<String>,
    /// How long all of it took, in seconds, with what was taken from earlier runs.
    pub seconds: f64,
}

impl Report {
    /// Whether its winners can be believed on `machine`: found there, and by a full run.
    pub fn knows_winners_of(&self, machine: &Machine, other: Option<&str>) -> bool {
        !self.quick && self.machine.kind() == machine.kind() && self.other.as_deref() == other
    }

    /// Its rows that can be taken again, by the keys of their stamps.
    pub(super) fn rows(&self) -> Vec<(String, serde_json::Value)> {
        fn stamped(row: &impl Serialize) -> Option<(String, serde_json::Value)> {
            let row = serde_json::to_value(row).ok()?;
            Some((row["stamp"]["key"].as_str()?.to_owned(), row))
        }
        let rows = self.speed.iter().filter_map(stamped).chain(self.maps.iter().filter_map(stamped));
        rows.chain(self.grading.iter().filter_map(stamped)).chain(self.winners.values().filter_map(stamped)).collect()
    }
}
