//! Graded files come in; the records of `diaret grade` go out as a table, CSV or JSON lines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::output::{Sink, visible};
use crate::fundus::Laterality;
use crate::grading::{Assessment, Grade, NetworkGrade, Verdict};
use crate::nn::Network;
use crate::session::Graded;

/// How records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For reading.
    #[default]
    Table,
    /// A header and a line a file.
    Csv,
    /// A JSON object a line a file.
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Graded,
    Skipped,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Graded => "graded",
            Self::Skipped => "skipped",
        }
    }
}

/// What is written of one file: every key is always there, null where nothing is known.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The argument joined with the path below it.
    pub file: String,
    status: Status,
    /// Why there is no grade, or which network that runs has no part in it.
    pub reason: Option<String>,
    patient: Option<String>,
    eye: Option<Laterality>,
    grade: Option<Grade>,
    probabilities: Option<[f64; 5]>,
    referable_probability: Option<f64>,
    networks: Option<BTreeMap<Network, Verdict>>,
}

impl Record {
    /// The record of a file; `ready` are the networks that run.
    pub fn new(graded: &Graded, ready: &[Network]) -> Self {
        let assessment: Option<&Assessment> = graded.result.as_ref().ok();
        let reason = match &graded.result {
            Ok(assessment) => without(assessment, ready),
            Err(reason) => Some(reason.clone()),
        };
        Self {
            file: graded.path.to_string_lossy().into_owned(),
            status: if assessment.is_some() { Status::Graded } else { Status::Skipped },
            reason,
            patient: graded.identity.patient.clone(),
            eye: graded.identity.eye,
            grade: assessment.map(|assessment| assessment.grade),
            probabilities: assessment.map(|assessment| assessment.probabilities),
            referable_probability: assessment.map(|assessment| assessment.referable_probability),
            networks: assessment.map(|assessment| assessment.networks.clone()),
        }
    }

    /// Whether it carries a grade.
    pub fn is_graded(&self) -> bool {
        self.status == Status::Graded
    }

    fn word_of(&self, network: Network) -> Option<&NetworkGrade> {
        self.networks.as_ref()?.get(&network)?.graded()
    }

    fn csv_fields(&self) -> Vec<String> {
        let mut fields = vec![
            inert(&self.file),
            self.status.name().to_owned(),
            inert(self.reason.as_deref().unwrap_or_default()),
            inert(self.patient.as_deref().unwrap_or_default()),
            eye_name(self.eye).to_owned(),
        ];
        fields.extend(grade_fields(self.grade, self.probabilities.as_ref()));
        fields.push(self.referable_probability.map(|p| p.to_string()).unwrap_or_default());
        for network in Network::ALL {
            let word = self.word_of(network);
            fields.extend(grade_fields(word.map(|word| word.grade), word.map(|word| &word.probabilities)));
        }
        fields
    }

    fn table_line(&self) -> String {
        let eye = eye_name(self.eye);
        match (self.grade, self.referable_probability) {
            (Some(grade), Some(referable)) => {
                let words = Network::ALL.map(|network| {
                    self.word_of(network).map_or_else(|| "-".to_owned(), |word| word.grade.digit().to_string())
                });
                let name = grade.name();
                let referable = format!("{:.0} %", 100.0 * referable);
                let [resnet50, inception_v3, inception_resnet_v2] = words;
                format!(
                    "{}  {name:<16}  {referable:>9}  {resnet50:>9}  {inception_v3:>11}  {inception_resnet_v2:>17}  {eye:<5}  {}",
                    grade.digit(),
                    visible(&self.file)
                )
            }
            // Reasons name their file.
            _ => format!("-  {}", visible(self.reason.as_deref().unwrap_or(&self.file))),
        }
    }
}

/// Which networks that run gave no grade, and why; the grade is that of the others.
fn without(assessment: &Assessment, ready: &[Network]) -> Option<String> {
    let missing = ready.iter().filter_map(|network| match assessment.networks.get(network) {
        Some(Verdict::Unavailable { unavailable }) => Some(format!("{} gave no grade: {unavailable}", network.label())),
        _ => None,
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// A cell that spreadsheets take for text: file names and patients' numbers come from outside, and one that begins like a formula
/// would be computed. The apostrophe is what OWASP ("CSV Injection") recommends.
fn inert(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() }
}

fn eye_name(eye: Option<Laterality>) -> &'static str {
    match eye {
        Some(Laterality::Right) => "right",
        Some(Laterality::Left) => "left",
        None => "",
    }
}

fn grade_fields(grade: Option<Grade>, probabilities: Option<&[f64; 5]>) -> Vec<String> {
    let mut fields = vec![grade.map(|grade| grade.digit().to_string()).unwrap_or_default()];
    fields.extend((0..5).map(|class| probabilities.map(|p| p[class].to_string()).unwrap_or_default()));
    fields
}

fn csv_header() -> Vec<String> {
    let mut header: Vec<String> = ["file", "status", "reason", "patient", "eye", "grade", "p0", "p1", "p2", "p3", "p4"]
        .into_iter()
        .chain(["referable_probability"])
        .map(ToOwned::to_owned)
        .collect();
    for network in Network::ALL {
        let name = network.name();
        header.push(format!("{name}_grade"));
        header.extend((0..5).map(|class| format!("{name}_p{class}")));
    }
    header
}

/// Writes records in one format.
pub enum Writer {
    /// For reading.
    Table(Sink),
    /// RFC 4180.
    Csv(Box<csv::Writer<Sink>>),
    /// One object a line.
    Jsonl(Sink),
}

impl Writer {
    /// Begins with the header that the format has.
    pub fn new(format: Format, mut sink: Sink) -> anyhow::Result<Self> {
        match format {
            Format::Table => {
                let [a, b, c] = Network::ALL.map(Network::label);
                writeln!(sink, "Grade (uncalibrated)  Referable  {a}  {b}  {c}  Eye    File")?;
                Ok(Self::Table(sink))
            }
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(sink);
                writer.write_record(csv_header()).map_err(io::Error::from)?;
                Ok(Self::Csv(Box::new(writer)))
            }
            Format::Jsonl => Ok(Self::Jsonl(sink)),
        }
    }

    /// Writes one record; whoever reads along sees it at once.
    pub fn write(&mut self, record: &Record) -> anyhow::Result<()> {
        match self {
            Self::Table(sink) => {
                writeln!(sink, "{}", record.table_line())?;
                sink.flush()?;
            }
            Self::Csv(writer) => {
                writer.write_record(record.csv_fields()).map_err(io::Error::from)?;
                writer.flush()?;
            }
            Self::Jsonl(sink) => {
                serde_json::to_writer(&mut *sink, record).map_err(io::Error::from)?;
                writeln!(sink)?;
                sink.flush()?;
            }
        }
        Ok(())
    }

    /// Where the records are if they cannot all be written.
    pub fn part(&self) -> Option<&Path> {
        match self {
            Self::Table(sink) | Self::Jsonl(sink) => sink.part(),
            Self::Csv(writer) => writer.get_ref().part(),
        }
    }

    /// Ends with all records written.
    pub fn finish(self) -> anyhow::Result<()> {
        let sink = match self {
            Self::Table(sink) | Self::Jsonl(sink) => sink,
            Self::Csv(writer) => {
                writer.into_inner().map_err(csv::IntoInnerError::into_error).context("cannot write the records")?
            }
        };
        sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fundus::Identity;

    fn graded(path: &str, second: Verdict) -> Graded {
        let first = Verdict::Graded(NetworkGrade::from_logits(&[0.0, 0.0, 3.0, 0.0, 0.0]));
        let networks = BTreeMap::from([(Network::ResNet50, first), (Network::InceptionV3, second)]);
        let result = Assessment::consensus(networks).ok_or_else(String::new);
        let identity = Identity { patient: Some("=1+1".to_owned()), ..Identity::default() };
        Graded { path: path.into(), identity, result }
    }

    #[test]
    fn a_network_that_fails_on_a_photograph_is_named_and_one_that_never_ran_is_not() {
        let failed = graded("a.jpg", Verdict::Unavailable { unavailable: "out of memory".to_owned() });
        let record = Record::new(&failed, &[Network::ResNet50, Network::InceptionV3]);
        assert!(record.is_graded());
        assert_eq!(record.reason.as_deref(), Some("InceptionV3 gave no grade: out of memory"));
        assert_eq!(Record::new(&failed, &[Network::ResNet50]).reason, None);
    }

    #[test]
    fn nothing_from_outside_is_a_formula_or_moves_the_cursor() {
        let record =
            Record::new(&graded("=cmd\u{1b}[2J\n.jpg", Verdict::Unavailable { unavailable: String::new() }), &[]);
        let fields = record.csv_fields();
        assert_eq!((fields[0].as_str(), fields[3].as_str()), ("'=cmd\u{1b}[2J\n.jpg", "'=1+1"));
        assert!(!record.table_line().contains(char::is_control), "{:?}", record.table_line());
    }
}
