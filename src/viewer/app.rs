//! The window: a session's events go into the screen, what the screen asks goes to the session, the dialogs, the disk.

use std::path::PathBuf;
use std::time::Instant;

use super::dialog::{Answer, Dialogs, Wanted};
use super::model::Effect;
use super::screen::Screen;
use super::settings::{self, Settings};
use super::stopwatch::Stopwatch;
use super::{theme, tokens, widgets};
use crate::session::Session;

/// The program as eframe knows it.
pub struct App {
    screen: Screen,
    session: Session,
    dialogs: Dialogs,
    samples: PathBuf,
    stopwatch: Option<Stopwatch>,
}

impl App {
    /// A window over a session that has been started; opens `paths`, the samples if there are none.
    pub fn new(creation: &eframe::CreationContext, session: Session, samples: PathBuf, paths: Vec<PathBuf>) -> Self {
        let settings: Settings =
            creation.storage.and_then(|storage| eframe::get_value(storage, settings::KEY)).unwrap_or_default();
        theme::install(&creation.egui_ctx);
        let screen = Screen::new(&settings);
        session.open(if paths.is_empty() { vec![samples.clone()] } else { paths });
        Self { screen, session, dialogs: Dialogs::default(), samples, stopwatch: None }
    }

    /// Tells how long everything took to appear.
    pub fn timed_by(self, stopwatch: Option<Stopwatch>) -> Self {
        Self { stopwatch, ..self }
    }

    fn perform(&mut self, context: &egui::Context, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Open(paths) => self.session.open(paths),
                Effect::OpenSamples => self.session.open(vec![self.samples.clone()]),
                Effect::Show(view) => self.session.show(view),
                Effect::Expect(cases) => self.session.expect(&cases),
                Effect::AskFolder => self.ask(context, Wanted::Folder),
                Effect::AskFiles => self.ask(context, Wanted::Files),
                // The screen has done the others itself.
                _ => {}
            }
        }
    }

    fn ask(&mut self, context: &egui::Context, wanted: Wanted) {
        let context = context.clone();
        self.dialogs.ask(wanted, move || context.request_repaint());
    }

    /// What the session, the dialogs and the desktop have brought.
    fn take_in(&mut self, context: &egui::Context) {
        for event in self.session.drain() {
            let effects = self.screen.apply(context, event);
            self.perform(context, effects);
        }
        match self.dialogs.answered() {
            Some(Answer::Chosen(paths)) => self.session.open(paths),
            Some(Answer::NoDialog(why)) => self.screen.model.notice = Some(why.to_owned()),
            Some(Answer::Closed) | None => {}
        }
        let dropped: Vec<_> =
            context.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        if !dropped.is_empty() {
            self.session.open(dropped);
        }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        let context = ui.ctx().clone();
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.frame_begins(Instant::now());
        }
        self.take_in(&context);
        let asked = self.screen.show(ui);
        self.perform(&context, asked.effects);
        if let Some(cases) = asked.thumbnails {
            self.session.want_thumbnails(cases);
        }
        if let Some((case, picture)) = asked.sharper {
            self.session.sharpen(case, picture);
        }
        if context.input(|input| !input.raw.hovered_files.is_empty()) {
            invite_drop(ui);
        }
        if self.stopwatch.as_mut().is_some_and(|stopwatch| stopwatch.frame_drawn(&self.screen.model)) {
            context.request_repaint();
        }
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, settings::KEY, &self.screen.model.settings());
    }

    // Scroll offsets and focus belong to a list that may be gone.
    fn persist_egui_memory(&self) -> bool {
        false
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        tokens::DARK.view.to_normalized_gamma_f32()
    }
}

/// Files are held over the window.
fn invite_drop(ui: &egui::Ui) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.ctx().layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop")));
    let window = ui.max_rect();
    painter.rect_filled(window, 0, palette.view.gamma_multiply(0.7));
    let frame = egui::Stroke::new(2.0, palette.accent);
    painter.rect_stroke(window.shrink(12.0), tokens::radius::LARGE, frame, egui::StrokeKind::Inside);
    let font = theme::font_id(tokens::font::TITLE, theme::Weight::SemiBold);
    widgets::centred(&painter, window.center(), "Drop to open", font, palette.on_view);
}
