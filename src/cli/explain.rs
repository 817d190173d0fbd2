//! `diaret explain`: a photograph and a network come in; the evidence as JSON, the overlay and the raw map go out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use serde::Serialize;

use super::names::{BaselineName, MethodName, NetworkName, OutputName};
use super::output::{ProgressLine, Sink};
use super::{DONE, DeviceArgument, UsageError};
use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::{Heatmap, HeatmapSettings};
use crate::attribution::integrated_gradients::Update;
use crate::attribution::{Attribution, AttributionError, Cancel, Refinement, Stop, overlay, raw};
use crate::fundus::{Listing, Photograph};
use crate::grading::{Grade, Output, Target};
use crate::home::Home;
use crate::nn::Network;
use crate::session::{Explanation, MapRequest, Prepared, explain, prepare_to_show};

/// How strongly the overlay is laid over the photograph: as the viewer begins.
const OPACITY: f32 = 0.6;

/// Explains what a network says of a photograph.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The photograph.
    image: PathBuf,
    /// The network to explain.
    #[arg(long, value_enum)]
    network: NetworkName,
    /// How the map is made.
    #[arg(long, value_enum, default_value_t = MethodName::Ig)]
    method: MethodName,
    /// What is explained.
    #[arg(long, value_enum, default_value_t = OutputName::LogOddsReferable)]
    output: OutputName,
    /// The class whose probability or logit is explained: `predicted` (the default) or 0 to 4.
    #[arg(long, value_parser = parse_target, value_name = "predicted|0..4")]
    target: Option<Target>,
    /// Where the path of Integrated Gradients starts.
    #[arg(long, value_enum, default_value_t = BaselineName::Blur)]
    baseline: BaselineName,
    /// The estimated error of the map (its relative L2 distance to the converged one) at which it counts as converged.
    #[arg(long, default_value_t = Stop::default().tolerance, value_parser = parse_positive)]
    tolerance: f64,
    /// Also asks for a completeness error of at most this.
    #[arg(long, value_parser = parse_positive)]
    completeness: Option<f64>,
    /// Limit on gradient evaluations, all paths together.
    #[arg(long, default_value_t = Stop::default().max_steps, value_parser = parse_steps)]
    max_steps: usize,
    /// Where the networks run.
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Writes the photograph with the map laid over it.
    #[arg(long, value_name = "FILE.png")]
    overlay: Option<PathBuf>,
    /// Writes `attribution`, `input` and `baseline`, f32 [299, 299, 3]; the baseline of Grad-CAM, which has none, is black.
    #[arg(long, value_name = "FILE.safetensors")]
    raw: Option<PathBuf>,
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text == "predicted" {
        return Ok(Target::Predicted);
    }
    let digit: u8 = text.parse().map_err(|_| "expected predicted or a grade, 0 to 4".to_owned())?;
    Grade::try_from(digit).map(Target::Grade).map_err(|error| error.to_string())
}

fn parse_positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err("expected a number above 0".to_owned()),
    }
}

fn parse_steps(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(steps) if steps >= 2 => Ok(steps),
        _ => Err("expected at least 2: the map's change is between two refinements".to_owned()),
    }
}

impl Args {
    fn request(&self) -> Result<MapRequest, UsageError> {
        let target = self.target.unwrap_or_default();
        if self.output == OutputName::LogOddsReferable && self.target.is_some() {
            return Err(UsageError(
                "--target names a class: it goes with --output probability or logit, not with log-odds-referable"
                    .into(),
            ));
        }
        let stop = Stop { tolerance: self.tolerance, completeness: self.completeness, max_steps: self.max_steps };
        Ok(MapRequest {
            network: self.network.into(),
            method: self.method.into(),
            output: self.output.of(target),
            baseline: self.baseline.into(),
            stop,
        })
    }
}

/// What is printed. Numbers of the map are those of the tensors that `--raw` writes.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    network: Network,
    method: crate::attribution::Method,
    baseline: Option<crate::attribution::Baseline>,
    output: &'static str,
    target: Option<Grade>,
    f_input: f64,
    f_baseline: Option<f64>,
    attribution_sum: f64,
    attribution_mass: f64,
    mass_at_rim: f64,
    completeness_error: Option<f64>,
    completeness_gap: Option<f64>,
    map_change: Option<f64>,
    converged: bool,
    gradient_evaluations: usize,
    /// What was known of each map on the way.
    history: Vec<Refinement>,
    seconds: f64,
    precision: &'static str,
    device: String,
}

/// Makes the map and writes what was asked for.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let request = args.request()?;
    let overlay = args.overlay.as_deref().map(|path| Sink::open(Some(path))).transpose()?;
    anyhow::ensure!(args.image.exists(), "no such file: {}", args.image.display());
    let (shown, prepared) = prepare_to_show(&args.image, &mut Listing::default(), overlay.is_some())
        .map_err(|unusable| anyhow::anyhow!(unusable.reason))?;
    let (networks, device) = super::load_networks(&Home::find()?, args.device.into(), &[request.network])?;
    let unavailable = |why| anyhow::anyhow!("{} is not available: {why}", request.network.label());
    let model = networks.model(request.network).map_err(unavailable)?;
    let mut line = ProgressLine::new();
    let mut hear = |update: Update| {
        if let Update::Gradients(taken) = update {
            line.show(&format!("{taken} gradients of at most {}", request.stop.max_steps));
        }
    };
    let executor = model.executor(model.rows_at_once())?;
    let explanation = explain(executor, &prepared.input, &request, &Cancel::default(), &mut hear);
    line.clear();
    let explanation = match explanation {
        Err(error @ AttributionError::TooFewSteps { .. }) => return Err(UsageError(error.to_string()).into()),
        other => other.with_context(|| format!("no map of {}", args.image.display()))?,
    };
    if let Some(path) = &args.raw {
        raw::write(path, &explanation.attribution, &prepared.input.pixels, &explanation.baseline)?;
    }
    if let Some((mut sink, (photograph, _))) = overlay.zip(shown) {
        write_overlay(&mut sink, &photograph, &prepared, &explanation.attribution)?;
        sink.finish()?;
    }
    print(&report(&args.image, &request, &explanation, model.precision().name(), device))?;
    Ok(ExitCode::from(DONE))
}

fn report(
    file: &Path,
    request: &MapRequest,
    explanation: &Explanation,
    precision: &'static str,
    device: String,
) -> Report {
    let Explanation { attribution, output, .. } = explanation;
    Report {
        file: file.to_string_lossy().into_owned(),
        network: request.network,
        method: attribution.method,
        baseline: attribution.f_baseline.map(|_| request.baseline),
        output: match output {
            Output::LogOddsReferable => "log-odds-referable",
            Output::Probability(_) => "probability",
            Output::Logit(_) => "logit",
        },
        target: output.grade(),
        f_input: attribution.f_input,
        f_baseline: attribution.f_baseline,
        attribution_sum: attribution.sum(),
        attribution_mass: attribution.mass(),
        mass_at_rim: attribution.mass_at_rim,
        completeness_error: attribution.completeness_error,
        completeness_gap: attribution.completeness_gap,
        map_change: attribution.map_change,
        converged: attribution.converged,
        gradient_evaluations: attribution.gradient_evaluations,
        history: attribution.history.clone(),
        seconds: attribution.seconds,
        precision,
        device,
    }
}

fn print(report: &Report) -> anyhow::Result<()> {
    let mut sink = Sink::open(None)?;
    writeln!(sink, "{}", serde_json::to_string_pretty(report)?)?;
    sink.finish()
}

fn write_overlay(
    sink: &mut Sink,
    photograph: &Photograph,
    prepared: &Prepared,
    attribution: &Attribution,
) -> anyhow::Result<()> {
    let heatmap = Heatmap::new(attribution, &prepared.input.mask, &HeatmapSettings::default());
    let (map, field) = (prepared.input.map, prepared.field);
    let composed = overlay::compose(
        &photograph.pixels,
        &heatmap,
        Colormap::default(),
        OPACITY,
        &|x, y| map.to_network(x, y),
        &|x, y| field.contains(x, y),
    );
    // Fast settings: a photograph hardly gets smaller by trying harder.
    PngEncoder::new_with_quality(sink, CompressionType::Fast, FilterType::Sub)
        .write_image(composed.as_raw(), composed.width(), composed.height(), image::ExtendedColorType::Rgb8)
        .context("cannot write the overlay")
}
