//! Everything a person can do, once: the list that shortcuts, buttons, the command palette and the list of keys are made of.
//!
//! 0 to 4 and U are kept for the reader's own grade.

use egui::{Key, Modifiers};

use super::model::{Filter, OrderBy};
use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::Sign;
use crate::attribution::{Baseline, Method};
use crate::grading::{Grade, Output, Target};
use crate::nn::Network;
use crate::session::CaseId;

/// Something a person asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// Another row of the list, by how many below the one selected.
    Step(isize),
    /// The row that was clicked.
    Select(CaseId),
    /// The same patient's other eye.
    OtherEye,
    /// A dialog for a folder.
    OpenFolder,
    /// A dialog for files.
    OpenFiles,
    /// The bundled photographs.
    OpenSamples,
    /// The cursor goes to the search field.
    Find,
    /// Which rows are shown.
    Filter(Filter),
    /// In which order they stand.
    Order(OrderBy),
    /// The network explained.
    Network(Network),
    /// The next network that is available.
    NextNetwork,
    /// What is explained.
    Output(Output),
    /// How.
    Method(Method),
    /// The next method.
    NextMethod,
    /// From which baseline.
    Baseline(Baseline),
    /// The overlay goes away or comes back.
    ToggleOverlay,
    /// The slider, in [0, 1].
    Opacity(f32),
    /// The slider, by a step of 0.1.
    StepOpacity(i8),
    /// Which evidence is drawn.
    Sign(Sign),
    /// The next choice of evidence.
    NextSign,
    /// In which colours.
    Colormap(Colormap),
    /// The next colours.
    NextColormap,
    /// The field fills the panes.
    Fit,
    /// A pixel of the photograph is a pixel of the screen.
    ActualSize,
    /// Nearer or further, by steps.
    Zoom(i8),
    /// Further to the right and down, by steps of a fifth of a pane.
    Pan([i8; 2]),
    /// The panes move together, or each alone.
    ToggleLink,
    /// The green channel alone.
    RedFree,
    /// Brightness, by steps.
    Brighten(i8),
    /// Contrast, by steps.
    Steepen(i8),
    /// The photograph as it is.
    ResetDisplay,
    /// Folds the list.
    ToggleList,
    /// Folds grade, bars and evidence.
    ToggleDock,
    /// Dark or light.
    ToggleTheme,
    /// The command palette.
    Palette,
    /// The list of keys.
    Help,
}

/// Under which heading a command stands in the list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Opening, finding, stepping through cases.
    Cases,
    /// What is explained and how it is drawn.
    Map,
    /// Zoom and display.
    View,
    /// The window.
    Window,
}

impl Group {
    /// In the order of the list of keys.
    pub const ALL: [Self; 4] = [Self::Cases, Self::Map, Self::View, Self::Window];

    /// The heading.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cases => "Cases",
            Self::Map => "Map",
            Self::View => "Pictures",
            Self::Window => "Window",
        }
    }
}

/// A key with what is held beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chord {
    /// The key.
    pub key: Key,
    /// Control (Command on a Mac).
    pub control: bool,
    /// Shift. Of no account for signs, which layouts place differently.
    pub shift: bool,
}

impl Chord {
    const fn plain(key: Key) -> Self {
        Self { key, control: false, shift: false }
    }

    const fn shift(key: Key) -> Self {
        Self { key, control: false, shift: true }
    }

    const fn control(key: Key) -> Self {
        Self { key, control: true, shift: false }
    }

    /// Whether a pressed key is this one.
    pub fn matches(&self, key: Key, held: Modifiers) -> bool {
        let sign = matches!(
            self.key,
            Key::Slash | Key::Questionmark | Key::Comma | Key::Period | Key::Plus | Key::Equals | Key::Minus
        );
        key == self.key && held.command == self.control && !held.alt && (sign || held.shift == self.shift)
    }

    /// As keys are written beside what they do: `Ctrl+Shift+O`.
    pub fn label(&self) -> String {
        let key = match self.key {
            Key::ArrowLeft => "←",
            Key::ArrowRight => "→",
            Key::ArrowUp => "↑",
            Key::ArrowDown => "↓",
            Key::Slash => "/",
            Key::Questionmark => "?",
            Key::Comma => ",",
            Key::Period => ".",
            Key::Plus => "+",
            Key::Equals => "=",
            Key::Minus => "−",
            Key::PageUp => "Page up",
            Key::PageDown => "Page down",
            key => key.name(),
        };
        let control = match (self.control, cfg!(target_os = "macos")) {
            (false, _) => "",
            (true, false) => "Ctrl+",
            (true, true) => "⌘",
        };
        format!("{control}{}{key}", if self.shift { "Shift+" } else { "" })
    }
}

/// A command as people meet it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it does.
    pub command: Command,
    /// Its heading.
    pub group: Group,
    /// Its name.
    pub name: &'static str,
    /// What a tooltip adds; empty where the name says it all.
    pub explains: &'static str,
    /// The keys that do it, the first of them shown.
    pub chords: Vec<Chord>,
}

impl Entry {
    /// The key that stands beside it.
    pub fn key(&self) -> Option<String> {
        self.chords.first().map(Chord::label)
    }

    /// Name, explanation and key, for a tooltip.
    pub fn tooltip(&self) -> String {
        let key = self.key().map_or_else(String::new, |key| format!("  ({key})"));
        let explains = if self.explains.is_empty() { String::new() } else { format!("\n{}", self.explains) };
        format!("{}{key}{explains}", self.name)
    }
}

/// All commands, in the order of the palette.
pub static ALL: std::sync::LazyLock<Vec<Entry>> =
    std::sync::LazyLock::new(|| [cases(), map(), view(), window()].into_iter().flatten().collect());

/// The entry of a command; commands that carry a place of the screen (a row, a slider) have none.
pub fn entry(command: Command) -> Option<&'static Entry> {
    ALL.iter().find(|entry| entry.command == command)
}

/// The tooltip of a command that is in the list.
pub fn tooltip(command: Command) -> String {
    entry(command).map_or_else(String::new, Entry::tooltip)
}

/// The command of a pressed key.
pub fn for_key(key: Key, held: Modifiers) -> Option<Command> {
    let pressed = |entry: &&Entry| entry.chords.iter().any(|chord| chord.matches(key, held));
    ALL.iter().find(pressed).map(|entry| entry.command)
}

fn list(group: Group, rows: Vec<(Command, &'static str, &'static str, Vec<Chord>)>) -> Vec<Entry> {
    let entry = |(command, name, explains, chords)| Entry { command, group, name, explains, chords };
    rows.into_iter().map(entry).collect()
}

fn cases() -> Vec<Entry> {
    let filter = |filter, name, explains, key| (Command::Filter(filter), name, explains, vec![Chord::shift(key)]);
    list(
        Group::Cases,
        vec![
            (Command::Step(1), "Next case", "", vec![Chord::plain(Key::ArrowRight), Chord::plain(Key::ArrowDown)]),
            (Command::Step(-1), "Previous case", "", vec![Chord::plain(Key::ArrowLeft), Chord::plain(Key::ArrowUp)]),
            (Command::Step(10), "Ten cases on", "", vec![Chord::plain(Key::PageDown)]),
            (Command::Step(-10), "Ten cases back", "", vec![Chord::plain(Key::PageUp)]),
            (Command::Step(isize::MIN), "First case", "", vec![Chord::plain(Key::Home)]),
            (Command::Step(isize::MAX), "Last case", "", vec![Chord::plain(Key::End)]),
            (Command::OtherEye, "Other eye of the patient", "", vec![Chord::plain(Key::E)]),
            (Command::OpenFolder, "Open a folder …", "With every folder in it", vec![Chord::control(Key::O)]),
            (
                Command::OpenFiles,
                "Open files …",
                "Photographs or DICOM",
                vec![Chord { shift: true, ..Chord::control(Key::O) }],
            ),
            (Command::OpenSamples, "Open the bundled samples", "14 photographs of IDRiD and one made poor", vec![]),
            (
                Command::Find,
                "Find a case",
                "By file name or patient",
                vec![Chord::plain(Key::Slash), Chord::control(Key::F)],
            ),
            filter(Filter::All, "Show all files", "", Key::A),
            filter(Filter::Referable, "Show referable cases", "Grade 2 or more", Key::R),
            filter(Filter::NetworksDiffer, "Show where networks differ", "They give different grades", Key::D),
            filter(Filter::Skipped, "Show skipped files", "With the reason", Key::S),
            (
                Command::Order(OrderBy::Worst),
                "Worst first",
                "By grade, then by the probability of referable; again to take in new results",
                vec![Chord::plain(Key::W)],
            ),
            (Command::Order(OrderBy::Name), "Order by name", "", vec![Chord::shift(Key::W)]),
        ],
    )
}

fn map() -> Vec<Entry> {
    let mut rows = vec![(
        Command::NextNetwork,
        "Next network",
        "Explains what another network says of the same photograph",
        vec![Chord::plain(Key::N)],
    )];
    rows.extend([
        (Command::Network(Network::ResNet50), "Explain ResNet-50", "", vec![]),
        (Command::Network(Network::InceptionV3), "Explain InceptionV3", "", vec![]),
        (Command::Network(Network::InceptionResNetV2), "Explain InceptionResNetV2", "", vec![]),
        (
            Command::Output(Output::LogOddsReferable),
            "Explain referable",
            "Log-odds of grade 2 or more: why refer?",
            vec![Chord::plain(Key::Q)],
        ),
    ]);
    rows.extend(outputs());
    rows.extend([
        (Command::NextMethod, "Next method", "Integrated gradients or Grad-CAM", vec![Chord::plain(Key::M)]),
        (Command::Method(Method::Ig), "Integrated gradients", "Every pixel's share, with its evidence", vec![]),
        (Command::Method(Method::GradCam), "Grad-CAM", "Coarse, at once; no completeness", vec![]),
        (Command::Baseline(Baseline::Blur), "Blurred baseline", "The photograph blurred inside its field", vec![]),
        (Command::Baseline(Baseline::Black), "Black baseline", "The paper's", vec![]),
        (Command::Baseline(Baseline::Mean), "Mean baseline", "The field's mean colour", vec![]),
        (Command::Baseline(Baseline::BlackWhite), "Black and white baselines", "The mean of both maps", vec![]),
        (Command::ToggleOverlay, "Overlay on or off", "It comes back as it was", vec![Chord::plain(Key::Space)]),
        (Command::StepOpacity(1), "More overlay", "", vec![Chord::plain(Key::Period)]),
        (Command::StepOpacity(-1), "Less overlay", "", vec![Chord::plain(Key::Comma)]),
        (Command::NextSign, "Next choice of evidence", "Both, for, against", vec![Chord::plain(Key::S)]),
        (Command::Sign(Sign::Both), "Evidence for and against", "", vec![]),
        (Command::Sign(Sign::Positive), "Evidence for", "", vec![]),
        (Command::Sign(Sign::Negative), "Evidence against", "", vec![]),
        (Command::NextColormap, "Next colours", "", vec![Chord::plain(Key::C)]),
        (Command::Colormap(Colormap::CyanMagenta), "Cyan and magenta", "No lesion has these colours", vec![]),
        (Command::Colormap(Colormap::Viridis), "Viridis", "By strength", vec![]),
        (Command::Colormap(Colormap::Cividis), "Cividis", "By strength", vec![]),
    ]);
    list(Group::Map, rows)
}

/// Probability and logit, of the predicted grade and of each.
fn outputs() -> Vec<(Command, &'static str, &'static str, Vec<Chord>)> {
    let names = |output: fn(Target) -> Output, [predicted, grades @ ..]: [&'static str; 6]| {
        let of_grades = Grade::ALL.map(|grade| output(Target::Grade(grade)));
        let of_grades = of_grades.into_iter().zip(grades);
        std::iter::once((output(Target::Predicted), predicted))
            .chain(of_grades)
            .map(|(output, name)| (Command::Output(output), name, "", vec![]))
            .collect::<Vec<_>>()
    };
    let probabilities = [
        "Explain the probability of the predicted grade",
        "Explain the probability of no retinopathy",
        "Explain the probability of mild",
        "Explain the probability of moderate",
        "Explain the probability of severe",
        "Explain the probability of proliferative",
    ];
    let logits = [
        "Explain the logit of the predicted grade",
        "Explain the logit of no retinopathy",
        "Explain the logit of mild",
        "Explain the logit of moderate",
        "Explain the logit of severe",
        "Explain the logit of proliferative",
    ];
    [names(Output::Probability, probabilities), names(Output::Logit, logits)].concat()
}

fn view() -> Vec<Entry> {
    list(
        Group::View,
        vec![
            (Command::Fit, "Fit the field", "The field, not the file's black border", vec![Chord::plain(Key::F)]),
            (
                Command::ActualSize,
                "One to one",
                "A pixel of the photograph on a pixel of the screen",
                vec![Chord::plain(Key::Z)],
            ),
            (Command::Zoom(1), "Nearer", "About the pointer", vec![Chord::plain(Key::Plus), Chord::plain(Key::Equals)]),
            (Command::Zoom(-1), "Further away", "About the pointer", vec![Chord::plain(Key::Minus)]),
            (Command::Pan([-1, 0]), "Look to the left", "", vec![Chord::shift(Key::ArrowLeft)]),
            (Command::Pan([1, 0]), "Look to the right", "", vec![Chord::shift(Key::ArrowRight)]),
            (Command::Pan([0, -1]), "Look up", "", vec![Chord::shift(Key::ArrowUp)]),
            (Command::Pan([0, 1]), "Look down", "", vec![Chord::shift(Key::ArrowDown)]),
            (Command::ToggleLink, "Link the panes", "They move together, or each alone", vec![Chord::plain(Key::L)]),
            (Command::RedFree, "Red-free", "The green channel alone; display only", vec![Chord::plain(Key::G)]),
            (Command::Brighten(1), "Brighter", "Display only", vec![Chord::plain(Key::I)]),
            (Command::Brighten(-1), "Darker", "Display only", vec![Chord::shift(Key::I)]),
            (Command::Steepen(1), "More contrast", "Display only", vec![Chord::plain(Key::K)]),
            (Command::Steepen(-1), "Less contrast", "Display only", vec![Chord::shift(Key::K)]),
            (Command::ResetDisplay, "The photograph as it is", "Takes all of these back", vec![Chord::plain(Key::R)]),
        ],
    )
}

fn window() -> Vec<Entry> {
    list(
        Group::Window,
        vec![
            (Command::Palette, "All commands", "", vec![Chord::control(Key::K)]),
            (Command::Help, "All keys", "", vec![Chord::plain(Key::Questionmark), Chord::plain(Key::F1)]),
            (Command::ToggleList, "Fold the list", "The panes grow", vec![Chord::plain(Key::B)]),
            (Command::ToggleDock, "Fold grade, bars and evidence", "The panes grow", vec![Chord::plain(Key::D)]),
            (Command::ToggleTheme, "Dark or light", "", vec![Chord::plain(Key::T)]),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things_and_the_readers_keys_are_free() {
        let mut seen: Vec<(Chord, &str)> = Vec::new();
        for entry in ALL.iter() {
            for &chord in &entry.chords {
                let taken = seen.iter().find(|(other, _)| *other == chord);
                assert!(taken.is_none(), "{}: {} and {taken:?}", chord.label(), entry.name);
                seen.push((chord, entry.name));
            }
        }
        for key in [Key::Num0, Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::U] {
            for held in [Modifiers::NONE, Modifiers::SHIFT] {
                assert_eq!(for_key(key, held), None, "{key:?}");
            }
        }
    }

    #[test]
    fn names_are_told_apart() {
        for (place, entry) in ALL.iter().enumerate() {
            assert!(ALL.iter().skip(place + 1).all(|other| other.name != entry.name), "{}", entry.name);
            assert!(ALL.iter().skip(place + 1).all(|other| other.command != entry.command), "{}", entry.name);
        }
    }
}
