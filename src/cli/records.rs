//! Graded files come in; the records of `diaret grade` go out as a table, CSV or JSON lines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use super::output::Sink;
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
    reason: Option<String>,
    patient: Option<String>,
    eye: Option<Laterality>,
    grade: Option<Grade>,
    probabilities: Option<[f64; 5]>,
    referable_probability: Option<f64>,
    networks: Option<BTreeMap<Network, Verdict>>,
}

impl Record {
    /// The record of a file.
    pub fn new(graded: &Graded) -> Self {
        let assessment: Option<&Assessment> = graded.result.as_ref().ok();
        Self {
            file: graded.path.to_string_lossy().into_owned(),
            status: if assessment.is_some() { Status::Graded } else { Status::Skipped },
            reason: graded.result.as_ref().err().cloned(),
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
            self.file.clone(),
            self.status.name().to_owned(),
            self.reason.clone().unwrap_or_default(),
            self.patient.clone().unwrap_or_default(),
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
                    self.file
                )
            }
            // Reasons name their file.
            _ => format!("-  {}", self.reason.as_deref().unwrap_or(&self.file)),
        }
    }
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
