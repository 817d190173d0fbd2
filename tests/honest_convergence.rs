//! A map is as close to the truth as it claims: the committed table says so, row by row, and one of its rows is measured again,
//! by the program, against the stored reference.
//!
//! Both come from `diaret check-convergence --out tests/goldens/convergence.csv --store DIR`.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use diaret::attribution::Stop;
use diaret::attribution::convergence::distance;
use diaret::nn::Network;
use diaret::nn::weights::{Entry, Manifest};
use safetensors::SafeTensors;
use support::{diaret, sample, samples, status, stderr};

/// The row that is measured again.
const AGAIN: (&str, &str) = ("IDRiD_048.jpg", "inception-v3");

/// Baseline and output that the program asks for by itself.
const DEFAULT: (&str, &str) = ("blur", "log-odds-referable");
/// The paper's baseline, and the output that others explain.
const PAPERS: (&str, &str) = ("black", "logit");
/// Maps that the table must have: of a question, within these tolerances, of so many of the bundled photographs or of all.
struct Asked {
    question: (&'static str, &'static str),
    tolerances: &'static [f64],
    photographs: Option<usize>,
}

const ASKED: [Asked; 3] = [
    Asked { question: DEFAULT, tolerances: &[0.08, 0.04, 0.02, 0.01], photographs: None },
    Asked { question: DEFAULT, tolerances: &[0.005], photographs: Some(3) },
    Asked { question: PAPERS, tolerances: &[0.08, 0.04, 0.02, 0.01, 0.005], photographs: Some(11) },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

#[derive(serde::Deserialize)]
struct Row {
    file: String,
    network: String,
    weights: String,
    baseline: String,
    output: String,
    reference_steps: u32,
    tolerance: f64,
    claim: f64,
    distance: f64,
}

impl Row {
    /// Whether it is of a map of this baseline and output, within this tolerance.
    fn was_asked(&self, question: (&str, &str), tolerance: f64) -> bool {
        (self.baseline.as_str(), self.output.as_str()) == question && (self.tolerance - tolerance).abs() < 1e-12
    }
}

/// The rows that are about the weights that ship.
fn rows() -> Vec<Row> {
    let manifest = Manifest::read(&root().join("weights")).unwrap();
    let hashes: BTreeSet<String> = manifest.networks.values().map(Entry::hash).collect();
    csv::Reader::from_path(root().join("tests/goldens/convergence.csv"))
        .unwrap()
        .deserialize()
        .map(Result::unwrap)
        .filter(|row: &Row| hashes.contains(&row.weights) && row.reference_steps >= 1024)
        .collect()
}

/// The names of the photographs that come with the program.
fn bundled() -> Vec<String> {
    let files = std::fs::read_dir(samples()).unwrap().map(|file| file.unwrap().path());
    let photographs = files.filter(|path| path.extension() == Some("jpg".as_ref()));
    photographs.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_rows_of_the_table_are_honest() {
    let rows = rows();
    let networks: Vec<Network> = Manifest::read(&root().join("weights")).unwrap().networks.into_keys().collect();
    let bundled = bundled();
    for network in networks {
        let asked = ASKED.iter().flat_map(|asked| asked.tolerances.iter().map(move |&tolerance| (asked, tolerance)));
        for (&Asked { question, photographs, .. }, tolerance) in asked {
            let is_asked = |row: &&Row| row.network == network.name() && row.was_asked(question, tolerance);
            let found: BTreeSet<&str> = rows.iter().filter(is_asked).map(|row| row.file.as_str()).collect();
            let missing: Vec<&String> = bundled.iter().filter(|file| !found.contains(file.as_str())).collect();
            assert!(
                bundled.len() - missing.len() >= photographs.unwrap_or(bundled.len()),
                "{network:?}, {question:?} within {tolerance}: no rows of {missing:?} with these weights; run check-convergence"
            );
        }
    }
    // For each question and tolerance on its own.
    let asked = |row: &Row| (row.baseline.clone(), row.output.clone(), row.tolerance.to_string());
    for question in rows.iter().map(asked).collect::<BTreeSet<_>>() {
        let these: Vec<&Row> = rows.iter().filter(|row| asked(row) == question).collect();
        let beyond = |limit: f64| these.iter().filter(|row| row.distance > limit * row.claim).count();
        let (off, all) = (beyond(1.5), these.len());
        assert!(20 * off <= all, "{off} of {all} rows beyond 1.5 times their claim, {question:?}");
        assert_eq!(beyond(2.5), 0, "rows beyond 2.5 times their claim, {question:?}");
    }
}

/// `attribution` of the stored reference, and the weights that it is of.
fn reference() -> (Vec<f32>, String) {
    let (file, network) = AGAIN;
    let bytes = std::fs::read(root().join(format!("tests/goldens/{file}_{network}.safetensors"))).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let scale = f32::from_le_bytes(tensors.tensor("scale").unwrap().data().try_into().unwrap());
    let halves = tensors.tensor("attribution").unwrap();
    let halves = halves.data().chunks_exact(2).map(|b| half::f16::from_le_bytes(b.try_into().unwrap()));
    (halves.map(|value| scale * value.to_f32()).collect(), header.metadata().as_ref().unwrap()["weights"].clone())
}

#[test]
fn a_claim_holds_against_the_stored_reference() {
    let (file, network) = AGAIN;
    let (reference, weights) = reference();
    let row = rows()
        .into_iter()
        .find(|row| row.file == file && row.network == network && row.was_asked(DEFAULT, Stop::default().tolerance))
        .expect("its row");
    assert_eq!(row.weights, weights, "the weights have changed: run check-convergence again");
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("map.safetensors");
    let run = diaret([
        "explain".as_ref(),
        sample(file).as_os_str(),
        "--network".as_ref(),
        network.as_ref(),
        "--raw".as_ref(),
        raw.as_os_str(),
    ]);
    assert_eq!(status(&run), 0, "{}", stderr(&run));
    let said: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    let bytes = std::fs::read(&raw).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let floats = tensors.tensor("attribution").unwrap();
    let map: Vec<f32> = floats.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();

    let (claim, distance) = (said["map_change"].as_f64().unwrap(), distance(&map, &reference));
    println!("claimed {claim:.4}, true distance {distance:.4}; in the table {:.4} and {:.4}", row.claim, row.distance);
    assert!(claim <= 0.02 && said["converged"] == true, "not converged: {said}");
    assert!(distance <= 1.5 * claim, "{distance} against a claim of {claim}");
    // The same map as when the table was made, but for the order in which processors add up.
    assert!((claim - row.claim).abs() <= 0.1 * row.claim && (distance - row.distance).abs() <= 0.1 * row.distance);
}

#[test]
fn the_table_is_printed_and_drawn_without_measuring() {
    let folder = tempfile::tempdir().unwrap();
    let chart = folder.path().join("claims.svg");
    let table = root().join("tests/goldens/convergence.csv");
    let run = diaret([
        "check-convergence".as_ref(),
        "--only-print".as_ref(),
        "--out".as_ref(),
        table.as_os_str(),
        "--chart".as_ref(),
        chart.as_os_str(),
    ]);
    assert_eq!(status(&run), 0, "{}", stderr(&run));
    let printed = String::from_utf8(run.stdout).unwrap();
    let drawn = std::fs::read_to_string(&chart).unwrap();
    assert!(printed.contains(&format!("of {} maps", rows().len())), "{printed}");
    // One mark more in each line of the legend.
    let marks = drawn.matches("<circle").count() + drawn.matches("<rect").count() - 1;
    assert!(marks >= rows().len() + 2 && drawn.contains("true distance"), "{marks} marks");
}
