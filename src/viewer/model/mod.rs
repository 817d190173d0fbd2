//! Events of the session and commands of the person come in; the state of the screen and [`Effect`]s go out. Pure: no window,
//! no clock, no files, so that everything the viewer does is tested without a screen.

mod cases;
mod display;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub use cases::{Cases, Entry, Filter, OrderBy, Outcome};
pub use display::OverlayLook;

use super::commands::Command;
use super::panes::Adjustments;
use super::settings::{Settings, Theme};
use crate::attribution::Method;
use crate::attribution::Stop;
use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::Sign;
use crate::grading::Assessment;
use crate::nn::Network;
use crate::session::{CaseId, Event, Map, MapRequest, NetworkState, Picture, Progress, View};

/// What the model asks of the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The session opens files and folders.
    Open(Vec<PathBuf>),
    /// The session opens the bundled photographs.
    OpenSamples,
    /// The session works for this first.
    Show(View),
    /// The session makes these ready next.
    Expect(Vec<CaseId>),
    /// A dialog for a folder.
    AskFolder,
    /// A dialog for files.
    AskFiles,
    /// The cursor goes to the search field.
    FocusFind,
    /// The list scrolls to the row selected.
    Reveal(CaseId),
    /// Both panes show the field.
    Fit,
    /// Both panes show pixels one to one.
    ActualSize,
    /// The panes are scaled.
    Zoom(f64),
    /// The panes look further to the right and down, by shares of a pane.
    Pan([f64; 2]),
    /// The panes are linked or let go.
    ToggleLink,
}

/// What floats over the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floating {
    /// The command palette.
    Palette,
    /// The list of keys.
    Help,
}

/// The state of the screen.
#[derive(Debug)]
pub struct Model {
    /// What is open, as the top bar says it; empty before the first list.
    pub title: String,
    /// The open list.
    pub cases: Cases,
    /// The case on screen.
    pub selected: Option<CaseId>,
    /// The map wanted.
    pub request: MapRequest,
    /// The decoded photograph of the case on screen.
    pub picture: Option<Arc<Picture>>,
    /// Its map, of the request, coarse or sharp.
    pub map: Option<Map>,
    /// Why there is none.
    pub map_failure: Option<String>,
    /// How each network stands.
    pub networks: BTreeMap<Network, NetworkState>,
    /// `CPU · AVX2`, once known.
    pub device: Option<String>,
    /// One quiet line about what went otherwise than asked.
    pub notice: Option<String>,
    /// What is under way.
    pub progress: Vec<Progress>,
    /// How the map lies over the photograph.
    pub overlay: OverlayLook,
    /// Red-free, brightness, contrast.
    pub adjustments: Adjustments,
    /// Dark or light.
    pub theme: Theme,
    /// The list is unfolded.
    pub list: bool,
    /// Grade, bars and evidence are unfolded.
    pub dock: bool,
    /// What floats over the screen.
    pub floating: Option<Floating>,
}

impl Model {
    /// An empty screen with a person's choices.
    pub fn new(settings: &Settings) -> Self {
        Self {
            title: String::new(),
            cases: Cases::default(),
            selected: None,
            request: MapRequest {
                network: settings.network,
                method: settings.method,
                output: settings.output,
                baseline: settings.baseline,
                stop: Stop::default(),
            },
            picture: None,
            map: None,
            map_failure: None,
            networks: Network::ALL.into_iter().map(|network| (network, NetworkState::Loading)).collect(),
            device: None,
            notice: None,
            progress: Vec::new(),
            overlay: settings.overlay,
            adjustments: Adjustments::default(),
            theme: settings.theme,
            list: settings.list,
            dock: settings.dock,
            floating: None,
        }
    }

    /// What is to be remembered.
    pub fn settings(&self) -> Settings {
        Settings {
            theme: self.theme,
            list: self.list,
            dock: self.dock,
            overlay: self.overlay,
            network: self.request.network,
            method: self.request.method,
            output: self.request.output,
            baseline: self.request.baseline,
        }
    }

    /// The row on screen.
    pub fn current(&self) -> Option<&Entry> {
        self.cases.get(self.selected?)
    }

    /// What the networks say of the case on screen.
    pub fn assessment(&self) -> Option<&Arc<Assessment>> {
        self.current()?.assessment()
    }

    /// Networks that run.
    pub fn ready(&self) -> impl Iterator<Item = Network> + '_ {
        Network::ALL.into_iter().filter(|network| self.networks.get(network) == Some(&NetworkState::Ready))
    }

    /// Why a network does not run.
    pub fn unavailable(&self, network: Network) -> Option<&str> {
        match self.networks.get(&network) {
            Some(NetworkState::Unavailable(why)) => Some(why),
            _ => None,
        }
    }

    /// Takes in what the session says.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::Device { label, fallback } => {
                self.device = Some(label);
                self.notice = fallback.or(self.notice.take());
            }
            Event::Network(network, state) => return self.set_network_state(network, state),
            Event::Opened { title, cases, unreadable } => return self.open(title, cases, &unreadable),
            Event::OpenFailed(why) => self.notice = Some(why),
            Event::Identified(case, identity) => self.cases.identify(case, identity),
            Event::Picture(case, picture) if self.selected == Some(case) => self.take_picture(picture),
            Event::PictureFailed(case, why) if self.selected == Some(case) => {
                self.notice = Some(format!("No closer view: {why}"));
            }
            Event::Assessed(case, assessment) => self.cases.settle(case, Outcome::Assessed(assessment)),
            Event::Skipped(case, why) => self.cases.settle(case, Outcome::Skipped(why)),
            Event::Map(case, map) if self.selected == Some(case) && map.request == self.request => {
                self.map = Some(map);
                self.map_failure = None;
            }
            Event::MapFailed(case, request, why) if self.selected == Some(case) && request == self.request => {
                self.map_failure = Some(why);
            }
            Event::Progress(progress) => self.progress = progress,
            // Thumbnails live in textures; what belongs to a former case or request is of no use any longer.
            Event::Thumbnail(..)
            | Event::Picture(..)
            | Event::PictureFailed(..)
            | Event::Map(..)
            | Event::MapFailed(..) => {}
        }
        Vec::new()
    }

    /// A reduced picture does not take the place of the whole one: that was asked for when the case was on screen before.
    fn take_picture(&mut self, picture: Arc<Picture>) {
        if !picture.is_reduced() || self.picture.as_ref().is_none_or(|shown| shown.is_reduced()) {
            self.picture = Some(picture);
        }
    }

    fn open(&mut self, title: String, cases: Vec<crate::session::Case>, unreadable: &[String]) -> Vec<Effect> {
        self.title = title;
        self.cases = Cases::new(cases);
        self.selected = None;
        self.clear();
        let effects = self.cases.neighbour(None, 0).map(|first| self.select(first)).unwrap_or_default();
        self.notice = (!unreadable.is_empty()).then(|| format!("Not searched: {}", unreadable.join("; ")));
        effects
    }

    fn set_network_state(&mut self, network: Network, state: NetworkState) -> Vec<Effect> {
        self.networks.insert(network, state);
        if self.unavailable(self.request.network).is_none() {
            return Vec::new();
        }
        // The network explained has gone: the next that may still run takes its place, the first where none does.
        let running = Network::ALL.into_iter().find(|&network| self.unavailable(network).is_none());
        self.ask(MapRequest { network: running.unwrap_or(Network::ResNet50), ..self.request })
    }

    /// Whether no network runs or ever will.
    pub fn nothing_runs(&self) -> bool {
        Network::ALL.into_iter().all(|network| self.unavailable(network).is_some())
    }

    /// Does what a person asks for.
    pub fn act(&mut self, command: Command) -> Vec<Effect> {
        match command {
            Command::Step(steps) => return self.go_to(self.cases.neighbour(self.selected, steps)),
            Command::Select(case) => return self.select(case),
            Command::OtherEye => return self.go_to_other_eye(),
            Command::OpenFolder => return vec![Effect::AskFolder],
            Command::OpenFiles => return vec![Effect::AskFiles],
            Command::OpenSamples => return vec![Effect::OpenSamples],
            Command::Find => {
                self.list = true;
                return vec![Effect::FocusFind];
            }
            Command::Filter(filter) => self.cases.set_filter(filter),
            Command::Order(order) => {
                self.cases.set_order(order);
                return self.selected.map(Effect::Reveal).into_iter().collect();
            }
            Command::Fit => return vec![Effect::Fit],
            Command::ActualSize => return vec![Effect::ActualSize],
            Command::Zoom(steps) => return vec![Effect::Zoom(1.25f64.powi(i32::from(steps)))],
            Command::Pan(steps) => return vec![Effect::Pan(steps.map(|step| 0.2 * f64::from(step)))],
            Command::ToggleLink => return vec![Effect::ToggleLink],
            command => return self.act_on_map(command),
        }
        Vec::new()
    }

    fn act_on_map(&mut self, command: Command) -> Vec<Effect> {
        let request = self.request;
        match command {
            Command::Network(network) if self.unavailable(network).is_none() => {
                self.ask(MapRequest { network, ..request })
            }
            Command::NextNetwork => {
                let network = next(request.network, &self.ready().collect::<Vec<_>>());
                self.ask(MapRequest { network, ..request })
            }
            Command::Output(output) => self.ask(MapRequest { output, ..request }),
            Command::Method(method) => self.ask(MapRequest { method, ..request }),
            Command::NextMethod => {
                let method = next(request.method, &[Method::Ig, Method::GradCam]);
                self.ask(MapRequest { method, ..request })
            }
            Command::Baseline(baseline) => self.ask(MapRequest { baseline, ..request }),
            command => {
                self.act_on_display(command);
                Vec::new()
            }
        }
    }

    fn act_on_display(&mut self, command: Command) {
        match command {
            Command::ToggleOverlay => self.overlay.toggle(),
            Command::Opacity(opacity) => self.overlay.set_opacity(opacity),
            Command::StepOpacity(steps) => self.overlay.set_opacity(self.overlay.opacity + 0.1 * f32::from(steps)),
            Command::Sign(sign) => self.overlay.sign = sign,
            Command::NextSign => {
                self.overlay.sign = next(self.overlay.sign, &[Sign::Both, Sign::Positive, Sign::Negative]);
            }
            Command::Colormap(colormap) => self.overlay.colormap = colormap,
            Command::NextColormap => {
                let all = [Colormap::CyanMagenta, Colormap::Viridis, Colormap::Cividis];
                self.overlay.colormap = next(self.overlay.colormap, &all);
            }
            Command::RedFree => self.adjustments.red_free ^= true,
            Command::Brighten(steps) => self.adjustments.brighten(f32::from(steps)),
            Command::Steepen(steps) => self.adjustments.steepen(f32::from(steps)),
            Command::ResetDisplay => self.adjustments = Adjustments::default(),
            Command::ToggleList => self.list ^= true,
            Command::ToggleDock => self.dock ^= true,
            Command::ToggleTheme => {
                self.theme = if self.theme == Theme::Dark { Theme::Light } else { Theme::Dark };
            }
            Command::Palette => self.toggle_floating(Floating::Palette),
            Command::Help => self.toggle_floating(Floating::Help),
            _ => {}
        }
    }

    fn toggle_floating(&mut self, floating: Floating) {
        self.floating = if self.floating == Some(floating) { None } else { Some(floating) };
    }

    fn go_to(&mut self, case: Option<CaseId>) -> Vec<Effect> {
        let Some(case) = case else { return Vec::new() };
        let mut effects = self.select(case);
        effects.push(Effect::Reveal(case));
        effects
    }

    fn go_to_other_eye(&mut self) -> Vec<Effect> {
        let other = self.selected.and_then(|case| self.cases.other_eye(case));
        if other.is_none() && self.selected.is_some() {
            self.notice = Some("This list has no photograph of the patient's other eye".to_owned());
        }
        self.go_to(other)
    }

    fn select(&mut self, case: CaseId) -> Vec<Effect> {
        if self.selected == Some(case) || self.cases.get(case).is_none() {
            return Vec::new();
        }
        self.clear();
        self.notice = None;
        self.selected = Some(case);
        self.show()
    }

    fn ask(&mut self, request: MapRequest) -> Vec<Effect> {
        if request == self.request {
            return Vec::new();
        }
        self.request = request;
        // A map never stands under another question than its own.
        self.map = None;
        self.map_failure = None;
        self.show()
    }

    fn show(&self) -> Vec<Effect> {
        let Some(case) = self.selected else { return Vec::new() };
        let near =
            [self.cases.neighbour(Some(case), 1), self.cases.neighbour(Some(case), -1), self.cases.other_eye(case)];
        let mut expected: Vec<_> = near.into_iter().flatten().filter(|&near| near != case).collect();
        expected.dedup();
        vec![Effect::Show(View { case, map: self.request }), Effect::Expect(expected)]
    }

    fn clear(&mut self) {
        self.selected = None;
        self.picture = None;
        self.map = None;
        self.map_failure = None;
    }
}

/// What follows `current` in a cycle; the first where `current` is not in it; `current` where there is none.
fn next<T: Copy + PartialEq>(current: T, cycle: &[T]) -> T {
    let after = cycle.iter().position(|&one| one == current).map_or(0, |place| place + 1);
    cycle.get(after).or(cycle.first()).copied().unwrap_or(current)
}
