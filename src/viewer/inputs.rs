//! The model comes in; what panes and dock show goes out.

use super::dock::{self, Graded};
use super::model::Model;
use super::panes::{self, Asked, Drawing, MapState, Photograph};
use crate::attribution::heatmap::HeatmapSettings;
use crate::fundus::Identity;
use crate::grading::Verdict;
use crate::nn::Network;
use crate::session::NetworkState;

/// Nobody's eye: what stands beside a case that is not there.
static UNKNOWN: Identity = Identity { patient: None, patient_within: None, eye: None, date: None };

/// What the two panes show.
pub fn panes(model: &Model) -> panes::Input<'_> {
    let current = model.current();
    let MapRequestParts { asked, map } = map(model);
    // Why is said in the dock and at the network's name; beside the pane's title there is room for a word.
    let map = if matches!(map, MapState::None(_)) { MapState::None("network not available") } else { map };
    panes::Input {
        name: current.map_or("", |entry| entry.name.as_str()),
        identity: current.map_or(&UNKNOWN, |entry| &entry.case.identity),
        photograph: photograph(model),
        asked,
        map,
        drawing: Drawing {
            heatmap: HeatmapSettings { sign: model.overlay.sign, ..HeatmapSettings::default() },
            colormap: model.overlay.colormap,
            opacity: model.overlay.effective_opacity(),
        },
        adjustments: model.adjustments,
    }
}

fn photograph(model: &Model) -> Photograph<'_> {
    let Some(entry) = model.current() else { return Photograph::None };
    match (entry.skipped(), &model.picture) {
        (Some(why), _) => Photograph::Skipped(why),
        (None, Some(picture)) => Photograph::Shown(picture),
        (None, None) => Photograph::Waiting,
    }
}

struct MapRequestParts<'a> {
    asked: Asked,
    map: MapState<'a>,
}

fn map(model: &Model) -> MapRequestParts<'_> {
    let network = model.request.network;
    let map = match (&model.map, model.unavailable(network), &model.map_failure) {
        (Some(map), _, failure) => MapState::Shown { map, failure: failure.as_deref() },
        (None, Some(why), _) => MapState::None(why),
        (None, None, Some(why)) => MapState::Failed(why),
        (None, None, None) => MapState::Waiting,
    };
    let predicted = model.assessment().and_then(|assessment| match assessment.networks.get(&network)? {
        Verdict::Graded(own) => Some(own.grade),
        Verdict::Unavailable { .. } => None,
    });
    let asked = Asked { network, method: model.request.method, output: model.request.output, predicted };
    MapRequestParts { asked, map }
}

/// How each network stands, in the order in which they are shown.
pub fn networks(model: &Model) -> Vec<(Network, NetworkState)> {
    let state = |network| model.networks.get(&network).cloned().unwrap_or(NetworkState::Loading);
    Network::ALL.into_iter().map(|network| (network, state(network))).collect()
}

/// What the dock shows.
pub fn dock<'a>(model: &'a Model, networks: &'a [(Network, NetworkState)]) -> dock::Input<'a> {
    let elapsed = model.progress.iter().find(|work| work.label == "Map").map(|work| work.elapsed);
    dock::Input { graded: graded(model), networks, map: map(model).map, stop: model.request.stop, elapsed }
}

fn graded(model: &Model) -> Graded<'_> {
    let Some(entry) = model.current() else { return Graded::None };
    if let Some(why) = entry.skipped() {
        return Graded::Skipped(why);
    }
    if let Some(assessment) = entry.assessment() {
        return Graded::Shown(assessment);
    }
    if model.nothing_runs() { Graded::Unavailable } else { Graded::Waiting }
}
