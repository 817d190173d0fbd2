//! The model comes in; the whole screen goes out, and what the person asks for. Knows no session: tests show it to themselves.

use std::sync::Arc;

use egui::{Rect, Ui, UiBuilder, pos2, vec2};

use super::commands::Command;
use super::list::List;
use super::model::{Effect, Floating, Model};
use super::palette::{Answer, Palette};
use super::panes::Panes;
use super::settings::{Settings, Theme};
use super::tokens::size;
use super::top_bar::TopBar;
use super::{controls, dock, help, inputs, keys, status_line, theme, top_bar};
use crate::session::{CaseId, Event, Picture};

/// Where everything stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// What is open, find and filters, device and networks.
    pub top: Rect,
    /// The list of cases; without width when folded.
    pub list: Rect,
    /// The two pictures.
    pub panes: Rect,
    /// The row of controls.
    pub controls: Rect,
    /// Grade, bars and evidence; without height when folded.
    pub dock: Rect,
    /// What is under way.
    pub status: Rect,
}

impl Layout {
    /// Divides a window; pictures get the space.
    pub fn new(window: Rect, list: bool, dock: bool) -> Self {
        let unfolded = if window.width() < size::ROOMY { size::LIST_NARROW } else { size::LIST };
        let top = Rect::from_min_size(window.min, vec2(window.width(), size::TOP_BAR));
        let status = Rect::from_min_max(pos2(window.left(), window.bottom() - size::STATUS), window.max);
        let list = Rect::from_min_max(
            pos2(window.left(), top.bottom()),
            pos2(window.left() + if list { unfolded } else { 0.0 }, status.top()),
        );
        let strip = |bottom: f32, height: f32| {
            Rect::from_min_max(pos2(list.right(), bottom - height), pos2(window.right(), bottom))
        };
        let dock = strip(status.top(), if dock { size::DOCK } else { 0.0 });
        let controls = strip(dock.top(), size::CONTROLS);
        let panes = Rect::from_min_max(pos2(list.right(), top.bottom()), controls.right_top());
        Self { top, list, panes, controls, dock, status }
    }
}

/// The whole screen: the model and what its parts keep between frames.
pub struct Screen {
    /// The state.
    pub model: Model,
    panes: Panes,
    list: List,
    top_bar: TopBar,
    palette: Palette,
    /// Whether the picture was wanted sharper since it came.
    wanted_sharper: bool,
}

/// What showing the screen asks of the world.
#[derive(Debug, Default)]
pub struct Asked {
    /// What the model asks.
    pub effects: Vec<Effect>,
    /// The rows in view whose thumbnails are missing, when that has changed.
    pub thumbnails: Option<Vec<CaseId>>,
    /// The picture on screen when a pane comes closer than it is sharp, once.
    pub sharper: Option<(CaseId, Arc<Picture>)>,
}

impl Screen {
    /// An empty screen with a person's choices, for a context that [`theme::install`] has been given to.
    pub fn new(settings: &Settings) -> Self {
        Self {
            model: Model::new(settings),
            panes: Panes::default(),
            list: List::default(),
            top_bar: TopBar::default(),
            palette: Palette::default(),
            wanted_sharper: false,
        }
    }

    /// Takes in what the session says; gives what the model asks of the world.
    pub fn apply(&mut self, context: &egui::Context, event: Event) -> Vec<Effect> {
        match &event {
            Event::Opened { .. } => self.list.clear(),
            Event::Thumbnail(case, image) => self.list.thumbnails.insert(context, *case, image),
            Event::Picture(..) => self.wanted_sharper = false,
            _ => {}
        }
        let effects = self.model.apply(event);
        self.perform(context, effects)
    }

    /// Draws everything and does what keys and pointer ask for.
    pub fn show(&mut self, ui: &mut Ui) -> Asked {
        let context = ui.ctx().clone();
        let mut asked = Asked::default();
        for command in keys::pressed(&context, self.model.floating) {
            let effects = self.model.act(command);
            asked.effects.extend(self.perform(&context, effects));
        }
        context.set_theme(match self.model.theme {
            Theme::Dark => egui::Theme::Dark,
            Theme::Light => egui::Theme::Light,
        });
        let mut commands = Vec::new();
        self.draw(ui, &mut commands, &mut asked);
        self.floating(ui, &mut commands);
        for command in commands {
            let effects = self.model.act(command);
            asked.effects.extend(self.perform(&context, effects));
            context.request_repaint();
        }
        asked
    }

    fn draw(&mut self, ui: &mut Ui, commands: &mut Vec<Command>, asked: &mut Asked) {
        let layout = Layout::new(ui.max_rect(), self.model.list, self.model.dock);
        grounds(ui, &layout);
        let mut found = None;
        part(ui, "top", layout.top, |ui| found = self.top_bar.show(ui, layout.top, &self.model, commands));
        if let Some(words) = found {
            self.model.cases.set_find(&words);
        }
        if self.model.list {
            let rect = layout.list.with_max_x(layout.list.right() - 1.0);
            part(ui, "list", rect, |ui| asked.thumbnails = self.list.show(ui, rect, &self.model, commands));
        }
        let panes = part(ui, "panes", layout.panes, |ui| self.panes.show(ui, &inputs::panes(&self.model)));
        asked.sharper = self.sharper(panes.magnified);
        if self.model.dock {
            let networks = inputs::networks(&self.model);
            let rect = layout.dock.with_min_y(layout.dock.top() + 1.0);
            part(ui, "dock", rect, |ui| dock::show(ui, &inputs::dock(&self.model, &networks)));
        }
        part(ui, "controls", layout.controls, |ui| controls::show(ui, layout.controls, &self.model, commands));
        part(ui, "status", layout.status, |ui| status_line::show(ui, layout.status, &self.model));
        lines(ui, &layout);
    }

    /// The picture on screen, if there is more of it to see than it holds and that was not asked for since it came.
    fn sharper(&mut self, magnified: bool) -> Option<(CaseId, Arc<Picture>)> {
        let picture = self.model.picture.as_ref().filter(|picture| magnified && picture.is_reduced())?;
        let first = !std::mem::replace(&mut self.wanted_sharper, true);
        Some((self.model.selected.filter(|_| first)?, Arc::clone(picture)))
    }

    fn floating(&mut self, ui: &Ui, commands: &mut Vec<Command>) {
        match self.model.floating {
            Some(Floating::Palette) => match self.palette.show(ui) {
                Answer::Open => {}
                Answer::Close => commands.push(Command::Palette),
                Answer::Do(command) => commands.extend([Command::Palette, command]),
            },
            Some(Floating::Help) => {
                self.palette.close();
                if !help::show(ui) {
                    commands.push(Command::Help);
                }
            }
            None => self.palette.close(),
        }
    }

    /// Does what the screen itself can do; gives what is left for others.
    fn perform(&mut self, context: &egui::Context, effects: Vec<Effect>) -> Vec<Effect> {
        let mut left = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reveal(case) => self.list.reveal(case),
                Effect::Fit => self.panes.fit(),
                Effect::ActualSize => self.panes.one_to_one(),
                Effect::Zoom(factor) => self.panes.zoom_by(factor),
                Effect::Pan(share) => self.panes.pan_by(share),
                Effect::ToggleLink => self.panes.set_linked(!self.panes.linked()),
                Effect::FocusFind => context.memory_mut(|memory| memory.request_focus(top_bar::find_id())),
                other => left.push(other),
            }
        }
        left
    }
}

fn part<R>(ui: &mut Ui, name: &str, rect: Rect, draw: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new().id_salt(name).max_rect(rect);
    ui.scope_builder(builder, |ui| {
        ui.shrink_clip_rect(rect);
        draw(ui)
    })
    .inner
}

fn grounds(ui: &Ui, layout: &Layout) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter();
    for rect in [layout.top, layout.list, layout.controls, layout.dock, layout.status] {
        painter.rect_filled(rect, 0, palette.panel);
    }
    painter.rect_filled(layout.panes, 0, palette.view);
}

/// Hairlines between the parts, on whole pixels.
fn lines(ui: &Ui, layout: &Layout) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter();
    let across = |left: f32, right: f32, y: f32| {
        let line = Rect::from_min_max(pos2(left, y), pos2(right, y + 1.0));
        painter.rect_filled(line, 0, palette.line);
    };
    across(layout.top.left(), layout.top.right(), layout.top.bottom() - 1.0);
    across(layout.status.left(), layout.status.right(), layout.status.top());
    across(layout.controls.left(), layout.controls.right(), layout.controls.top());
    if layout.dock.height() > 0.0 {
        across(layout.dock.left(), layout.dock.right(), layout.dock.top());
    }
    if layout.list.width() > 0.0 {
        let (x, y) = (layout.list.right() - 1.0, layout.list.y_range());
        painter.rect_filled(Rect::from_x_y_ranges(x..=x + 1.0, y), 0, palette.line);
    }
}
