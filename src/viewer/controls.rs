//! The model comes in; the row of controls under the panes goes out: how the map is drawn at the left, what it explains at
//! the right. Where there is less room, words get shorter before anything is left out.

use egui::{Align2, Painter, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

use super::commands::{self, Command};
use super::model::Model;
use super::theme;
use super::tokens::{STEP, bar, control, font, key, menu, radius, size, stroke};
use super::widgets::{self, Dropdown, Segment};
use crate::attribution::colormap::Colormap;
use crate::attribution::heatmap::Sign;
use crate::attribution::{Baseline, Method};
use crate::grading::{Grade, Output, Target};
use crate::nn::Network;

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    Ample,
    /// No key beside the slider.
    Less,
    /// Short words for output, method and baseline, a shorter slider.
    Little,
    /// Short names of networks.
    Least,
}

impl Room {
    const ALL: [Self; 4] = [Self::Ample, Self::Less, Self::Little, Self::Least];

    fn slider(self) -> f32 {
        if self < Self::Little { size::SLIDER } else { control::SLIDER_SHARE * size::SLIDER }
    }

    fn gap(self) -> f32 {
        if self < Self::Little { control::GAP } else { 2.0 * STEP }
    }
}

/// Draws the row into `rect`.
pub fn show(ui: &mut Ui, rect: Rect, model: &Model, commands: &mut Vec<Command>) {
    let painter = ui.painter().clone();
    let fits = |room: &Room| {
        left_width(&painter, *room) + right_width(&painter, model, *room) + 2.0 * bar::MARGIN + room.gap()
    };
    let room = Room::ALL.into_iter().find(|room| fits(room) <= rect.width()).unwrap_or(Room::Least);
    drawing(ui, rect, model, room, commands);
    explained(ui, rect, model, room, commands);
}

/// How the map is drawn.
fn drawing(ui: &mut Ui, rect: Rect, model: &Model, room: Room, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let y = rect.center().y;
    let mut x = rect.left() + bar::MARGIN;
    let label = painter.text(pos2(x, y), Align2::LEFT_CENTER, "Overlay", theme::text_small(), palette.dim);
    x = label.right() + control::PADDING;
    let opacity = model.overlay.effective_opacity();
    let (response, moved) = widgets::slider(ui, pos2(x, y), room.slider(), opacity, "Overlay opacity");
    commands.extend(moved.map(Command::Opacity));
    x = response.rect.right() + 2.0 * STEP;
    let percent = format!("{:.0} %", 100.0 * opacity);
    painter.text(
        pos2(x, y),
        Align2::LEFT_CENTER,
        percent,
        theme::font_id(font::TEXT, theme::Weight::Medium),
        palette.text,
    );
    x += control::PERCENT;
    if room == Room::Ample {
        x += STEP;
        let width = widgets::key_cap_width(&painter, "Space");
        let area = Rect::from_min_max(pos2(x, y - key::SIZE / 2.0), pos2(x + width, y + key::SIZE / 2.0));
        widgets::key_cap(&painter, pos2(x + width, y), "Space", palette.dim, palette.line);
        let response = ui.interact(area, ui.scope_id().with("toggle"), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Overlay on or off"));
        if response.clicked() {
            commands.push(Command::ToggleOverlay);
        }
        response.on_hover_text(commands::tooltip(Command::ToggleOverlay));
        x += width;
    }
    x += room.gap();
    let signs = signs(model);
    commands.extend(
        widgets::segments(ui, pos2(x, y), &signs).and_then(|place| SIGNS.get(place)).map(|s| Command::Sign(s.0)),
    );
    x += widgets::segments_width(&painter, &signs) + 2.0 * STEP;
    colours(ui, pos2(x, y), model, commands);
}

const SIGNS: [(Sign, &str); 3] = [(Sign::Both, "Both"), (Sign::Positive, "For"), (Sign::Negative, "Against")];

fn signs(model: &Model) -> Vec<Segment<'static>> {
    let segment = |(sign, label)| Segment {
        label,
        name: format!("Evidence: {label}"),
        selected: model.overlay.sign == sign,
        unavailable: None,
        tooltip: commands::tooltip(Command::Sign(sign)),
    };
    SIGNS.into_iter().map(segment).collect()
}

fn left_width(painter: &Painter, room: Room) -> f32 {
    let word = |words: &str| theme::line(painter, words, theme::text_small(), egui::Color32::WHITE).size().x;
    let key = if room == Room::Ample { widgets::key_cap_width(painter, "Space") + STEP } else { 0.0 };
    let signs: f32 = SIGNS.iter().map(|(_, label)| word(label) + 2.0 * control::PADDING).sum();
    word("Overlay")
        + control::PADDING
        + room.slider()
        + 2.0 * STEP
        + control::PERCENT
        + key
        + room.gap()
        + signs
        + 2.0 * STEP
        + control::SWATCH[0]
}

/// A button that shows the colours and opens a list of others.
fn colours(ui: &mut Ui, left: egui::Pos2, model: &Model, commands: &mut Vec<Command>) {
    let palette = theme::palette(ui.ctx());
    let painter = ui.painter().clone();
    let [width, free] = control::SWATCH;
    let rect = Rect::from_min_size(pos2(left.x, left.y - size::CONTROL / 2.0), vec2(width, size::CONTROL));
    let response = ui.interact(rect, ui.scope_id().with("colours"), Sense::click());
    let entry = commands::entry(Command::Colormap(model.overlay.colormap));
    let name = entry.map_or("", |entry| entry.name);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Colours of the map: {name}")));
    let line = if response.hovered() { palette.faint } else { palette.line };
    painter.rect(rect, radius::CONTROL, palette.field, Stroke::new(stroke::HAIR, line), StrokeKind::Inside);
    let swatch = Rect::from_min_max(rect.min, pos2(rect.right() - control::ARROW + free, rect.bottom())).shrink(free);
    for (place, colour) in swatch_colours(model.overlay.colormap).into_iter().enumerate() {
        let width = swatch.width() / 2.0;
        let half = Rect::from_min_size(swatch.min + vec2(width * place as f32, 0.0), vec2(width, swatch.height()));
        painter.rect_filled(half, 1, colour);
    }
    widgets::chevron(&painter, pos2(rect.right() - control::ARROW_MIDDLE, rect.center().y), palette.dim);
    widgets::focus_ring(ui, &response, radius::CONTROL, palette);
    let popup = egui::Popup::menu(&response).gap(menu::GAP).show(|ui| {
        ui.set_width(menu::WIDTHS[1]);
        for colormap in [Colormap::CyanMagenta, Colormap::Viridis, Colormap::Cividis] {
            row(ui, Command::Colormap(colormap), None, model.overlay.colormap == colormap, commands);
        }
    });
    if popup.is_none() {
        response.on_hover_text(commands::tooltip(Command::NextColormap));
    }
}

/// The colours of strong evidence against and for; of weak and strong where the sign is not told.
fn swatch_colours(colormap: Colormap) -> [egui::Color32; 2] {
    let ends = if colormap == Colormap::CyanMagenta { [-1.0, 1.0] } else { [0.35, 1.0] };
    ends.map(|evidence| {
        let [red, green, blue, _] = colormap.rgba(evidence).map(|channel| (255.0 * channel).round() as u8);
        egui::Color32::from_rgb(red, green, blue)
    })
}

/// A row of a list that opens; its name is the command's unless `name` says it shorter.
fn row(ui: &mut Ui, command: Command, name: Option<&str>, ticked: bool, commands: &mut Vec<Command>) {
    let Some(entry) = commands::entry(command) else { return };
    if widgets::menu_row(ui, name.unwrap_or(entry.name), entry.explains, entry.key().as_deref(), ticked) {
        commands.push(command);
    }
}

/// What the map explains, from the right edge.
fn explained(ui: &mut Ui, rect: Rect, model: &Model, room: Room, commands: &mut Vec<Command>) {
    let painter = ui.painter().clone();
    let y = rect.center().y;
    let request = &model.request;
    let mut x = rect.right() - bar::MARGIN - right_width(&painter, model, room);

    let segments = networks(model, room);
    if let Some(network) = widgets::segments(ui, pos2(x, y), &segments).and_then(|place| Network::ALL.get(place)) {
        commands.push(Command::Network(*network));
    }
    x += widgets::segments_width(&painter, &segments) + room.gap();

    let label = output_label(request.output, room);
    let tooltip = "What the map explains";
    Dropdown { label: &label, name: "Output explained", tooltip, enabled: true }
        .show(ui, pos2(x, y), |ui| outputs(ui, request.output, commands));
    x += widgets::dropdown_width(&painter, &label) + room.gap();

    let label = method_label(request.method, room);
    let tooltip = commands::tooltip(Command::NextMethod);
    Dropdown { label, name: "Method", tooltip: &tooltip, enabled: true }.show(ui, pos2(x, y), |ui| {
        ui.set_width(menu::WIDTHS[1]);
        for method in [Method::Ig, Method::GradCam] {
            row(ui, Command::Method(method), None, request.method == method, commands);
        }
    });
    x += widgets::dropdown_width(&painter, label) + room.gap();

    let (label, enabled) = (baseline_label(request.baseline, room), request.method == Method::Ig);
    let tooltip = if enabled { "Where the path of integrated gradients starts" } else { "Grad-CAM has no baseline" };
    Dropdown { label, name: "Baseline", tooltip, enabled }.show(ui, pos2(x, y), |ui| {
        ui.set_width(menu::WIDTHS[1]);
        for baseline in [Baseline::Blur, Baseline::Black, Baseline::Mean, Baseline::BlackWhite] {
            row(ui, Command::Baseline(baseline), None, request.baseline == baseline, commands);
        }
    });
}

fn right_width(painter: &Painter, model: &Model, room: Room) -> f32 {
    let request = &model.request;
    let labels = [method_label(request.method, room), baseline_label(request.baseline, room)];
    let dropdowns: f32 = labels.iter().map(|label| widgets::dropdown_width(painter, label)).sum();
    let output = widgets::dropdown_width(painter, &output_label(request.output, room));
    widgets::segments_width(painter, &networks(model, room)) + output + dropdowns + 3.0 * room.gap()
}

fn networks(model: &Model, room: Room) -> Vec<Segment<'_>> {
    let segment = |network: Network| Segment {
        label: if room == Room::Least { network.short_label() } else { network.label() },
        name: format!("Network: {}", network.label()),
        selected: model.request.network == network && model.unavailable(network).is_none(),
        unavailable: model.unavailable(network),
        tooltip: commands::tooltip(Command::NextNetwork),
    };
    Network::ALL.into_iter().map(segment).collect()
}

/// The list of what can be explained.
fn outputs(ui: &mut Ui, chosen: Output, commands: &mut Vec<Command>) {
    ui.set_width(menu::WIDTHS[1]);
    let palette = theme::palette(ui.ctx());
    row(
        ui,
        Command::Output(Output::LogOddsReferable),
        Some("Referable (grade ≥ 2)"),
        chosen == Output::LogOddsReferable,
        commands,
    );
    for (heading, output) in
        [("Probability of", Output::Probability as fn(Target) -> Output), ("Logit of", Output::Logit)]
    {
        let (line, _) = ui.allocate_exact_size(vec2(ui.available_width(), menu::ROW), Sense::hover());
        let left = pos2(line.left() + menu::TEXT, line.bottom() - menu::ROW / 2.0 + STEP / 2.0);
        ui.painter().text(left, Align2::LEFT_CENTER, heading, theme::small(), palette.dim);
        let targets = std::iter::once(Target::Predicted).chain(Grade::ALL.map(Target::Grade));
        for target in targets {
            let name = match target {
                Target::Predicted => "the predicted grade".to_owned(),
                Target::Grade(grade) => format!("{}  {}", grade.digit(), grade.name()),
            };
            row(ui, Command::Output(output(target)), Some(&name), chosen == output(target), commands);
        }
    }
}

fn output_label(output: Output, room: Room) -> String {
    let (what, target) = match output {
        Output::LogOddsReferable if room < Room::Little => return "Referable (grade ≥ 2)".to_owned(),
        Output::LogOddsReferable => return "Referable".to_owned(),
        Output::Probability(target) => ("Probability", target),
        Output::Logit(target) => ("Logit", target),
    };
    match (target, room < Room::Little) {
        (Target::Predicted, true) => format!("{what} of predicted"),
        (Target::Predicted, false) => what.to_owned(),
        (Target::Grade(grade), true) => format!("{what} of grade {}", grade.digit()),
        (Target::Grade(grade), false) => format!("{what} {}", grade.digit()),
    }
}

fn method_label(method: Method, room: Room) -> &'static str {
    match method {
        Method::Ig if room < Room::Little => "Integrated gradients",
        Method::Ig => "Int. gradients",
        Method::GradCam => "Grad-CAM",
    }
}

fn baseline_label(baseline: Baseline, room: Room) -> &'static str {
    match (baseline, room < Room::Little) {
        (Baseline::Blur, true) => "Blurred baseline",
        (Baseline::Blur, false) => "Blurred",
        (Baseline::Black, true) => "Black baseline",
        (Baseline::Black, false) => "Black",
        (Baseline::Mean, true) => "Mean baseline",
        (Baseline::Mean, false) => "Mean",
        (Baseline::BlackWhite, _) => "Black and white",
    }
}
