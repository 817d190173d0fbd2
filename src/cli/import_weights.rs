//! `diaret import-weights`: a safetensors file of Keras, torchvision or timm becomes one of this program's.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::UsageError;
use super::names::NetworkName;
use crate::nn::graph::Preprocessing;
use crate::nn::weights::{Choices, Imported, VariantChoice, WeightsError, import, write};

/// Convert a network's weights from Keras, torchvision or timm names to this program's files.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The network that the file holds.
    #[arg(long, value_enum)]
    network: NetworkName,
    /// What names do not decide: keras, torchvision, timm, tensorflow-2015, v1, v1.5, average=skip-padding,
    /// average=count-padding, mixed10=average, mixed10=max, epsilon=NUMBER; several with commas between them.
    #[arg(long)]
    variant: Option<VariantChoice>,
    /// The input that the network expects, if names do not decide it.
    #[arg(long, value_parser = preprocessing)]
    preprocessing: Option<Preprocessing>,
    /// Where the weights come from, for the file's own description.
    #[arg(long, value_name = "TEXT")]
    provenance: Option<String>,
    /// Their licence, an SPDX expression where there is one.
    #[arg(long, value_name = "TEXT")]
    licence: Option<String>,
    /// A safetensors file.
    file: PathBuf,
    /// The file to write; what is over 64 MiB goes into files beside it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn preprocessing(name: &str) -> Result<Preprocessing, String> {
    match name {
        "caffe" => Ok(Preprocessing::Caffe),
        "signed-unit" => Ok(Preprocessing::SignedUnit),
        "torch" => Ok(Preprocessing::Torch),
        "centred128" => Ok(Preprocessing::Centred128),
        _ => Err("it is none of caffe, signed-unit, torch, centred128".to_owned()),
    }
}

/// Imports the file; 2 where an option is missing, or does not fit the network or the file.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let choices = Choices { variant: args.variant, preprocessing: args.preprocessing };
    let mut imported = match import(args.network.into(), &args.file, &choices) {
        Err(
            error @ (WeightsError::Undecided { .. } | WeightsError::Choice { .. } | WeightsError::Contradiction { .. }),
        ) => return Err(UsageError(error.to_string()).into()),
        result => result?,
    };
    let description = &mut imported.description;
    description.provenance = args.provenance.unwrap_or_else(|| description.provenance.clone());
    description.licence = args.licence.unwrap_or_else(|| description.licence.clone());
    let Imported { description, tensors, notes } = imported;
    for note in notes {
        writeln!(std::io::stderr(), "note: {note}")?;
    }
    let files = write(&args.out, &tensors, &description)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string_pretty(&description).context("the description cannot be printed")?)?;
    for file in files {
        writeln!(out, "{}  {}", file.sha256, args.out.with_file_name(file.file).display())?;
    }
    Ok(ExitCode::SUCCESS)
}
