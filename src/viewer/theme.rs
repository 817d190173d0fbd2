//! The tokens come in; egui's fonts and styles go out.

use std::sync::{Arc, LazyLock};

use egui::{Color32, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke, vec2};

use super::tokens::{self, Palette, font, radius};

/// Weights of Inter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// 400.
    #[default]
    Regular,
    /// 500.
    Medium,
    /// 600.
    SemiBold,
}

static MEDIUM: LazyLock<Arc<str>> = LazyLock::new(|| "Inter Medium".into());
static SEMI_BOLD: LazyLock<Arc<str>> = LazyLock::new(|| "Inter SemiBold".into());

impl Weight {
    fn family(self) -> FontFamily {
        match self {
            Self::Regular => FontFamily::Proportional,
            Self::Medium => FontFamily::Name(MEDIUM.clone()),
            Self::SemiBold => FontFamily::Name(SEMI_BOLD.clone()),
        }
    }
}

/// A font by size and weight.
pub fn font_id(size: f32, weight: Weight) -> FontId {
    FontId::new(size, weight.family())
}

/// What is read.
pub fn text() -> FontId {
    font_id(font::TEXT, Weight::Regular)
}

/// What is read first.
pub fn strong() -> FontId {
    font_id(font::TEXT, Weight::SemiBold)
}

/// What is read on a control.
pub fn text_small() -> FontId {
    font_id(font::CONTROL, Weight::Regular)
}

/// A figure on a control.
pub fn strong_small() -> FontId {
    font_id(font::CONTROL, Weight::SemiBold)
}

/// What explains.
pub fn small() -> FontId {
    font_id(font::SMALL, Weight::Regular)
}

/// What explains, where it is a name or a figure.
pub fn small_strong() -> FontId {
    font_id(font::SMALL, Weight::SemiBold)
}

/// What explains, where it changes.
pub fn small_medium() -> FontId {
    font_id(font::SMALL, Weight::Medium)
}

/// Keys and axis labels.
pub fn tiny() -> FontId {
    font_id(font::TINY, Weight::Regular)
}

/// The colours of the theme in use.
pub fn palette(context: &egui::Context) -> &'static Palette {
    palette_of(context.theme())
}

fn palette_of(theme: egui::Theme) -> &'static Palette {
    match theme {
        egui::Theme::Dark => &tokens::DARK,
        egui::Theme::Light => &tokens::LIGHT,
    }
}

/// Gives a context the program's fonts and both styles. Once, before the first frame.
pub fn install(context: &egui::Context) {
    context.set_fonts(fonts());
    for theme in [egui::Theme::Dark, egui::Theme::Light] {
        let mut style = egui::Style { visuals: theme.default_visuals(), ..Default::default() };
        restyle(&mut style, palette_of(theme));
        context.set_style_of(theme, style);
    }
}

/// Inter in three weights, egui's own fonts behind it for signs that Inter lacks.
fn fonts() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let fallback = fonts.families.get(&FontFamily::Proportional).cloned().unwrap_or_default();
    let weights: [(Weight, &'static [u8]); 3] = [
        (Weight::Regular, include_bytes!("../../assets/fonts/Inter-Regular.otf")),
        (Weight::Medium, include_bytes!("../../assets/fonts/Inter-Medium.otf")),
        (Weight::SemiBold, include_bytes!("../../assets/fonts/Inter-SemiBold.otf")),
    ];
    for (weight, bytes) in weights {
        let name = format!("Inter {weight:?}");
        fonts.font_data.insert(name.clone(), Arc::new(FontData::from_static(bytes)));
        let family = std::iter::once(name).chain(fallback.iter().cloned()).collect();
        fonts.families.insert(weight.family(), family);
    }
    fonts
}

fn restyle(style: &mut egui::Style, palette: &Palette) {
    use egui::TextStyle::{Body, Button, Heading, Monospace, Small};

    style.text_styles = [
        (Small, small()),
        (Body, text()),
        (Button, text()),
        (Monospace, text()),
        (Heading, font_id(font::TITLE, Weight::SemiBold)),
    ]
    .into();
    style.animation_time = 0.08;
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.35;

    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(2.0 * tokens::STEP, tokens::STEP);
    spacing.button_padding = vec2(10.0, tokens::STEP);
    spacing.interact_size.y = tokens::size::CONTROL;
    spacing.menu_margin = Margin::same(6);
    spacing.window_margin = Margin::same(12);
    spacing.tooltip_width = 360.0;
    spacing.scroll = egui::style::ScrollStyle::floating();
    spacing.scroll.floating_width = 4.0;
    spacing.scroll.bar_width = 7.0;
    spacing.scroll.fade.strength = 0.0;

    let visuals = &mut style.visuals;
    visuals.panel_fill = palette.panel;
    visuals.window_fill = palette.raised;
    visuals.window_stroke = Stroke::new(1.0, palette.line);
    visuals.window_corner_radius = CornerRadius::same(radius::LARGE);
    visuals.menu_corner_radius = CornerRadius::same(8);
    visuals.window_shadow = Shadow { offset: [0, 12], blur: 40, spread: 0, color: palette.shadow };
    visuals.popup_shadow = Shadow { offset: [0, 6], blur: 20, spread: 0, color: palette.shadow };
    visuals.extreme_bg_color = palette.field;
    visuals.faint_bg_color = palette.raised;
    visuals.hyperlink_color = palette.accent;
    visuals.warn_fg_color = palette.warn;
    visuals.error_fg_color = palette.warn;
    visuals.weak_text_color = Some(palette.dim);
    visuals.selection.bg_fill = palette.accent.gamma_multiply(0.35);
    visuals.selection.stroke = Stroke::new(1.0, palette.accent);
    visuals.interact_cursor = None;
    visuals.text_cursor.stroke = Stroke::new(1.5, palette.accent);
    restyle_widgets(&mut visuals.widgets, palette);
}

fn restyle_widgets(widgets: &mut egui::style::Widgets, palette: &Palette) {
    let states = [
        (&mut widgets.noninteractive, palette.panel, palette.line, palette.text),
        (&mut widgets.inactive, palette.field, palette.line, palette.text),
        (&mut widgets.hovered, palette.raised, palette.faint, palette.text),
        (&mut widgets.active, palette.raised, palette.accent, palette.text),
        (&mut widgets.open, palette.raised, palette.accent, palette.text),
    ];
    for (state, fill, border, text) in states {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, border);
        state.fg_stroke = Stroke::new(1.0, text);
        state.corner_radius = CornerRadius::same(radius::CONTROL);
        state.expansion = 0.0;
    }
}

/// One line of text in one colour, laid out and ready to be painted.
pub fn line(painter: &egui::Painter, words: impl Into<String>, font: FontId, colour: Color32) -> Arc<egui::Galley> {
    painter.layout_no_wrap(words.into(), font, colour)
}

/// One line, cut with an ellipsis at `width`.
pub fn line_within(
    painter: &egui::Painter,
    words: impl Into<String>,
    font: FontId,
    colour: Color32,
    width: f32,
) -> Arc<egui::Galley> {
    let mut job = egui::text::LayoutJob::simple_singleline(words.into(), font, colour);
    job.wrap = egui::text::TextWrapping::truncate_at_width(width);
    painter.layout_job(job)
}

/// Explaining lines, broken at `width`.
pub fn paragraph(painter: &egui::Painter, words: &str, colour: Color32, width: f32) -> Arc<egui::Galley> {
    let mut job = egui::text::LayoutJob::simple(words.to_owned(), small(), colour, width);
    for section in &mut job.sections {
        section.format.line_height = Some((font::SMALL * font::LINE).round());
    }
    painter.layout_job(job)
}
