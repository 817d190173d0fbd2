//! A photograph, a network and a question come in, as the commands that measure maps are asked for them; what is integrated goes
//! out.

use std::path::Path;
use std::sync::Arc;

use super::names::NetworkName;
use super::output::warn;
use crate::attribution::integrated_gradients::IntegratedGradients;
use crate::attribution::{Baseline, Differentiable};
use crate::fundus::{Listing, NetworkInput};
use crate::grading::Output;
use crate::home::Home;
use crate::nn::{DeviceChoice, Model, Network};
use crate::session::{Explained, Unusable, prepare};

/// The networks that run, of those asked for; a line on stderr says why another one does not.
pub fn models(home: &Home, device: DeviceChoice, asked: &[NetworkName]) -> anyhow::Result<Vec<Arc<dyn Model>>> {
    let asked = NetworkName::asked(asked);
    let (networks, _) = super::load_networks(home, device, &asked)?;
    let runs = |&network: &Network| {
        let left_out = |why: &String| warn(&format!("{} left out: {why}", network.label()));
        networks.model(network).inspect_err(left_out).ok()
    };
    Ok(asked.iter().filter_map(runs).collect())
}

/// What a photograph is called in a table.
pub fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What networks see of a file.
pub struct Photograph {
    /// As in a table.
    pub name: String,
    pub input: NetworkInput,
}

impl Photograph {
    /// `None`, and a line on stderr, if the file is no fundus photograph.
    pub fn read(file: &Path) -> Option<Self> {
        let failed = |unusable: Unusable| warn(&format!("left out: {}", unusable.reason));
        let prepared = prepare(file, &mut Listing::default()).map_err(failed).ok()?;
        Some(Self { name: name(file), input: prepared.input })
    }
}

/// What is integrated for one photograph and network, and from where.
pub struct Subject<'a> {
    pub model: &'a dyn Model,
    pub photograph: &'a Photograph,
    pub function: Explained,
    pub starts: Vec<Vec<f32>>,
    order: f64,
}

impl<'a> Subject<'a> {
    /// The question is where the path starts and what is explained.
    pub fn new(
        model: &'a dyn Model,
        photograph: &'a Photograph,
        (baseline, output): (Baseline, Output),
    ) -> anyhow::Result<Self> {
        let input = &photograph.input;
        let function = Explained::new(model.executor(model.rows_at_once())?, output, &input.pixels)?;
        let starts = baseline.starts(&input.pixels, &input.mask, input.side);
        Ok(Self { model, photograph, function, starts, order: baseline.order() })
    }

    /// The integral, and the function to take it of.
    pub fn integral(&mut self) -> (IntegratedGradients<'_>, &mut dyn Differentiable) {
        let Self { photograph, function, starts, order, .. } = self;
        (IntegratedGradients { input: &photograph.input.pixels, starts, order: *order }, function)
    }
}
