//! Every colour and size of the screen; nothing else names one.

use egui::Color32;

use crate::grading::Grade;
use crate::nn::Network;

/// The colours of one theme.
#[derive(Debug)]
pub struct Palette {
    /// Behind photographs: dark in both themes.
    pub view: Color32,
    /// List, dock, bars.
    pub panel: Color32,
    /// Selected row, segment, note.
    pub raised: Color32,
    /// Inputs, the empty part of bars.
    pub field: Color32,
    /// Hairlines, 1 px.
    pub line: Color32,
    /// What is read.
    pub text: Color32,
    /// What explains.
    pub dim: Color32,
    /// What can wait.
    pub faint: Color32,
    /// Selection, slider, progress.
    pub accent: Color32,
    /// Behind an active filter.
    pub accent_quiet: Color32,
    /// The knob of a slider.
    pub knob: Color32,
    /// Where networks differ, what is missing.
    pub warn: Color32,
    /// What holds.
    pub ok: Color32,
    /// Text on `view`.
    pub on_view: Color32,
    /// Explaining text on `view`.
    pub on_view_dim: Color32,
    /// Behind labels and switches that float over a photograph.
    pub on_view_raised: Color32,
    /// Hairlines on `view`.
    pub on_view_line: Color32,
    /// The broad bar.
    pub consensus: Color32,
    /// Under windows that float.
    pub shadow: Color32,
    /// The thin bars, in the order of [`Network::ALL`].
    networks: [Color32; 3],
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// The dark theme.
pub const DARK: Palette = Palette {
    view: rgb(0x0007_090b),
    panel: rgb(0x0012_161b),
    raised: rgb(0x001a_2027),
    field: rgb(0x000d_1115),
    line: rgb(0x0024_2c35),
    text: rgb(0x00e8_ecf0),
    dim: rgb(0x009b_a7b3),
    faint: rgb(0x007b_8793),
    accent: rgb(0x004a_a8ff),
    accent_quiet: rgb(0x0016_324d),
    knob: rgb(0x00e8_ecf0),
    warn: rgb(0x00e8_b04a),
    ok: rgb(0x0056_c596),
    on_view: rgb(0x00e8_ecf0),
    on_view_dim: rgb(0x00a9_b4bf),
    on_view_raised: rgb(0x001a_2027),
    on_view_line: rgb(0x0034_3e49),
    consensus: rgb(0x00df_e7ee),
    shadow: Color32::from_black_alpha(140),
    networks: [rgb(0x006f_b3ff), rgb(0x00c7_9bff), rgb(0x0054_d2c6)],
};

/// The light theme.
pub const LIGHT: Palette = Palette {
    view: rgb(0x0015_181b),
    panel: rgb(0x00f6_f7f8),
    raised: rgb(0x00ff_ffff),
    field: rgb(0x00ec_eff1),
    line: rgb(0x00d8_dde2),
    text: rgb(0x0014_191e),
    dim: rgb(0x0052_606c),
    faint: rgb(0x0069_7581),
    accent: rgb(0x000b_6fd0),
    accent_quiet: rgb(0x00d3_e7fa),
    knob: rgb(0x0014_191e),
    warn: rgb(0x009a_6700),
    ok: rgb(0x001e_7d54),
    on_view: rgb(0x00e8_ecf0),
    on_view_dim: rgb(0x00a9_b4bf),
    on_view_raised: rgb(0x001f_262d),
    on_view_line: rgb(0x0039_434d),
    consensus: rgb(0x002b_3640),
    shadow: Color32::from_black_alpha(48),
    networks: [rgb(0x002f_7fd6), rgb(0x0084_51c9), rgb(0x000f_857d)],
};

impl Palette {
    /// A network's bar.
    pub const fn network(&self, network: Network) -> Color32 {
        self.networks[network as usize]
    }
}

/// A grade's colour, the same in both themes.
pub const fn grade(grade: Grade) -> Color32 {
    match grade {
        Grade::None => rgb(0x004a_8f7b),
        Grade::Mild => rgb(0x008a_a04c),
        Grade::Moderate => rgb(0x00d3_a03a),
        Grade::Severe => rgb(0x00dd_6f3c),
        Grade::Proliferative => rgb(0x00cf_3f57),
    }
}

/// The digit on a grade's colour.
pub const fn on_grade(grade: Grade) -> Color32 {
    match grade {
        Grade::Proliferative => rgb(0x00ff_ffff),
        _ => rgb(0x0010_1418),
    }
}

/// The ground of a chip that has no grade (skipped).
pub const NO_GRADE: Color32 = rgb(0x006d_7885);
/// What stands on it.
pub const ON_NO_GRADE: Color32 = rgb(0x00ff_ffff);
/// Evidence for, in overlay and legend.
pub const MAP_FOR: Color32 = rgb(0x0028_e1ff);
/// Evidence against.
pub const MAP_AGAINST: Color32 = rgb(0x00ff_50d2);

/// Heights and widths of the screen's parts, in points.
pub mod size {
    /// The bar at the top.
    pub const TOP_BAR: f32 = 40.0;
    /// The row of controls under the panes.
    pub const CONTROLS: f32 = 44.0;
    /// Grade, bars and evidence.
    pub const DOCK: f32 = 236.0;
    /// The line at the bottom.
    pub const STATUS: f32 = 24.0;
    /// The list of cases.
    pub const LIST: f32 = 224.0;
    /// The list in a narrow window: thumbnails and chips.
    pub const LIST_NARROW: f32 = 104.0;
    /// Width of a window from which the list has its whole width.
    pub const ROOMY: f32 = 1180.0;
    /// A row of it.
    pub const ROW: f32 = 56.0;
    /// A round thumbnail.
    pub const THUMBNAIL: f32 = 44.0;
    /// A chip with a grade's digit.
    pub const CHIP: f32 = 20.0;
    /// The chip of the grade in the dock.
    pub const GRADE: f32 = 44.0;
    /// Buttons, segments, fields.
    pub const CONTROL: f32 = 26.0;
    /// The opacity slider.
    pub const SLIDER: f32 = 150.0;
    /// The search field and the command palette.
    pub const FIND: f32 = 220.0;
    /// Grade (left part of the dock).
    pub const DOCK_GRADE: f32 = 300.0;
    /// Evidence (right part of the dock).
    pub const DOCK_EVIDENCE: f32 = 372.0;
}

/// Corners.
pub mod radius {
    /// Chips.
    pub const CHIP: u8 = 5;
    /// Controls.
    pub const CONTROL: u8 = 6;
    /// The grade, windows that float.
    pub const LARGE: u8 = 10;
    /// Pills: filters, the device.
    pub const PILL: u8 = 13;
}

/// Type, in points.
pub mod font {
    /// The name of the grade's digit.
    pub const DIGIT: f32 = 24.0;
    /// The grade's name.
    pub const TITLE: f32 = 19.0;
    /// The program's name.
    pub const NAME: f32 = 14.5;
    /// What is read.
    pub const TEXT: f32 = 13.0;
    /// On controls.
    pub const CONTROL: f32 = 12.0;
    /// What explains.
    pub const SMALL: f32 = 11.5;
    /// Keys and axis labels.
    pub const TINY: f32 = 10.5;
    /// Line height per size.
    pub const LINE: f32 = 1.4;
}

/// The panes' own measures, in points.
pub mod pane {
    use egui::{Color32, Vec2, vec2};

    use super::Palette;

    /// Between the panes.
    pub const GAP: f32 = 1.0;
    /// From a pane's edge to what stands in its corners.
    pub const MARGIN: f32 = 12.0;
    /// What a fitted field leaves free for the title.
    pub const TITLE: f32 = 36.0;
    /// Between a title and what explains it.
    pub const TITLE_GAP: f32 = 5.0;
    /// The gradient of the legend.
    pub const LEGEND_WIDTH: f32 = 180.0;
    /// Least of it, in narrow panes.
    pub const LEGEND_LEAST: f32 = 130.0;
    /// Share of a pane's width that it takes, between the two.
    pub const LEGEND_SHARE: f32 = 0.28;
    /// Its height.
    pub const LEGEND_BAR: f32 = 6.0;
    /// A few lines in a pane.
    pub const NOTE_WIDTH: f32 = 420.0;
    /// Under them, where the link's switch is.
    pub const NOTE_BOTTOM: f32 = 64.0;
    /// Around words on a photograph.
    pub const PLATE_MARGIN: Vec2 = vec2(6.0, 3.0);
    /// The switch that links the panes.
    pub const SWITCH: f32 = 24.0;
    /// What is left and right of its words, and between them.
    pub const SWITCH_MARGINS: f32 = 28.0;
    /// Radius of the other pane's cursor.
    pub const CURSOR: f32 = 10.0;
    /// Its line.
    pub const CURSOR_LINE: f32 = 1.2;
    /// The dark line behind that, so that it is seen on bright retina.
    pub const CURSOR_SHADOW: f32 = 3.0;
    /// Its middle.
    pub const CURSOR_DOT: f32 = 1.5;

    /// Behind words on a photograph.
    pub fn plate(palette: &Palette) -> Color32 {
        palette.view.gamma_multiply(0.7)
    }
}

/// The dock's own measures, in points.
pub mod dock {
    use egui::CornerRadius;

    /// From a section's left and right edge to what stands in it.
    pub const SIDE: f32 = 18.0;
    /// From its upper and lower edge.
    pub const TOP: f32 = 14.0;
    /// Share of the dock's width that the grade takes.
    pub const GRADE_SHARE: f32 = 0.28;
    /// Least width of the grade.
    pub const GRADE_LEAST: f32 = 250.0;
    /// Share of the dock's width that the evidence takes.
    pub const EVIDENCE_SHARE: f32 = 0.28;
    /// Least width of the evidence.
    pub const EVIDENCE_LEAST: f32 = 290.0;
    /// Height of a section's heading.
    pub const HEADING: f32 = 18.0;
    /// Height of a line of text.
    pub const LINE: f32 = 18.0;
    /// The middle of the grade's name under the chip's upper edge.
    pub const TITLE_LINE: f32 = 12.0;
    /// The middle of what explains it above the chip's lower edge.
    pub const AGREEMENT_LINE: f32 = 9.0;
    /// The bar of referable.
    pub const REFERABLE: f32 = 14.0;
    /// Corners of what is behind bars.
    pub const BAR_CORNER: u8 = 2;
    /// Corners of the broad bar: it begins straight.
    pub const BAR_END: CornerRadius = CornerRadius { nw: 0, ne: BAR_CORNER, sw: 0, se: BAR_CORNER };
    /// The coloured edge of a note.
    pub const NOTE_EDGE: f32 = 3.0;
    /// Width from which the bars' heading and legend are spelt out.
    pub const BARS_ROOMY: f32 = 500.0;
    /// Width under which the legend's networks have short names.
    pub const BARS_NARROW: f32 = 380.0;
    /// Between the heading and the bars.
    pub const BARS_TOP: f32 = 8.0;
    /// Chips and labels beside the bars.
    pub const LABELS: f32 = 124.0;
    /// Figures beside the bars.
    pub const FIGURES: f32 = 44.0;
    /// Height of what is behind the bars of a grade.
    pub const TRACK: f32 = 27.0;
    /// Over the broad bar.
    pub const BAR_TOP: f32 = 1.0;
    /// The broad bar.
    pub const BROAD: f32 = 11.0;
    /// A thin bar.
    pub const THIN: f32 = 3.0;
    /// Between bars.
    pub const BAR_GAP: f32 = 1.0;
    /// A colour in the legend.
    pub const SWATCH: f32 = 10.0;
    /// Between the heading and the evidence.
    pub const EVIDENCE_TOP: f32 = 8.0;
    /// A line of evidence.
    pub const EVIDENCE_LINE: f32 = 22.0;
    /// Least height at which the chart is drawn.
    pub const CHART_LEAST: f32 = 44.0;
    /// Left of the chart's first dot.
    pub const CHART_SIDE: f32 = 12.0;
    /// Right of its last.
    pub const CHART_RIGHT: f32 = 60.0;
    /// Labels under the chart.
    pub const AXIS: f32 = 18.0;
    /// A refinement in the chart.
    pub const DOT: f32 = 3.0;
    /// The line between them.
    pub const CURVE: f32 = 1.5;
    /// A dash of the tolerance, and between two.
    pub const DASH: f32 = 4.0;
}

/// Lines, in points.
pub mod stroke {
    /// Between parts, around controls.
    pub const HAIR: f32 = 1.0;
    /// Small signs: arrows, crosses.
    pub const SIGN: f32 = 1.3;
    /// Ticks.
    pub const TICK: f32 = 1.6;
    /// Around what the keyboard has, around a place to drop files.
    pub const FOCUS: f32 = 1.5;
}

/// A key as it stands on the keyboard.
pub mod key {
    /// Its height, and its least width.
    pub const SIZE: f32 = 17.0;
    /// Left and right of what it says.
    pub const PADDING: f32 = 5.0;
    /// Its corners.
    pub const CORNER: u8 = 4;
}

/// A pill.
pub mod pill {
    /// Its height.
    pub const HEIGHT: f32 = 24.0;
    /// Left and right of what it says.
    pub const PADDING: f32 = 11.0;
    /// Between word and figure.
    pub const GAP: f32 = 5.0;
}

/// Segments, buttons that open a list, sliders.
pub mod control {
    /// Left and right of what it says.
    pub const PADDING: f32 = 10.0;
    /// Right of what it says, for an arrow.
    pub const ARROW: f32 = 24.0;
    /// The middle of that arrow, from the right edge.
    pub const ARROW_MIDDLE: f32 = 13.0;
    /// Half an arrow's width; its height is half of that.
    pub const ARROW_REACH: f32 = 3.5;
    /// From a control to the next.
    pub const GAP: f32 = 14.0;
    /// A slider's rail.
    pub const RAIL: f32 = 4.0;
    /// Its knob's radius.
    pub const KNOB: f32 = 6.5;
    /// The figure beside it.
    pub const PERCENT: f32 = 38.0;
    /// The button that shows the map's colours, and what is left free around the colours.
    pub const SWATCH: [f32; 2] = [46.0, 8.0];
    /// Share of the slider that is left where there is little room.
    pub const SLIDER_SHARE: f32 = 0.6;
}

/// Lists that open.
pub mod menu {
    /// A row.
    pub const ROW: f32 = 28.0;
    /// A row with a line that explains.
    pub const TALL_ROW: f32 = 42.0;
    /// The middle of a tick, from the row's left edge.
    pub const TICK: f32 = 14.0;
    /// The text, from the row's left edge.
    pub const TEXT: f32 = 28.0;
    /// Name and explanation, from a tall row's upper edge.
    pub const LINES: [f32; 2] = [5.0, 23.0];
    /// From a control to the list it opens.
    pub const GAP: f32 = 6.0;
    /// Widths: of orders, of choices, of what can be opened.
    pub const WIDTHS: [f32; 3] = [210.0, 280.0, 310.0];
}

/// The list of cases.
pub mod list {
    /// The line above the rows.
    pub const HEADER: f32 = 34.0;
    /// Where a row's text begins, from its left edge.
    pub const TEXT: f32 = 68.0;
    /// The middle of its thumbnail.
    pub const THUMBNAIL: f32 = 36.0;
    /// From the chip to its right edge.
    pub const MARGIN: f32 = 13.0;
    /// The bar of the row on screen.
    pub const BAR: f32 = 3.0;
    /// The middles of name and detail, from the row's.
    pub const LINES: [f32; 2] = [-10.0, 10.5];
    /// By how much a chip makes room for the mark under it, and the mark's middle under the chip.
    pub const MARK: [f32; 2] = [7.0, 8.5];
    /// A dot that says: there is something new.
    pub const DOT: f32 = 3.0;
}

/// The bar at the top and the line at the bottom.
pub mod bar {
    /// From the window's edges.
    pub const MARGIN: f32 = 14.0;
    /// Between what stands in the line at the bottom.
    pub const GAP: f32 = 20.0;
    /// Between a word and what belongs to it.
    pub const WORD: f32 = 12.0;
    /// A bar that fills.
    pub const PROGRESS: [f32; 2] = [120.0, 3.0];
    /// The search field's least width.
    pub const FIND_LEAST: f32 = 120.0;
    /// Left free at its right end.
    pub const FIND_END: f32 = 28.0;
    /// What is open: share of the bar, and the least.
    pub const TITLE: [f32; 2] = [0.2, 150.0];
}

/// The command palette and the list of keys.
pub mod float {
    /// The palette.
    pub const PALETTE: f32 = 560.0;
    /// From the window's upper edge.
    pub const PALETTE_TOP: f32 = 96.0;
    /// A row of it.
    pub const PALETTE_ROW: f32 = 34.0;
    /// Rows in view.
    pub const PALETTE_ROWS: usize = 10;
    /// Its edges.
    pub const PALETTE_MARGIN: f32 = 16.0;
    /// Where a command's name begins, from its left edge.
    pub const PALETTE_NAME: f32 = 84.0;
    /// A column of the list of keys.
    pub const KEYS: f32 = 300.0;
    /// A row of it.
    pub const KEYS_ROW: f32 = 24.0;
    /// Between its columns and at its edges.
    pub const KEYS_MARGIN: f32 = 24.0;
    /// The line of its title.
    pub const KEYS_TITLE: f32 = 60.0;
    /// A section's heading.
    pub const KEYS_HEADING: f32 = 28.0;
}

/// The step of all spacing.
pub const STEP: f32 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(colour: Color32) -> f64 {
        let linear = |channel: u8| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(colour.r()) + 0.7152 * linear(colour.g()) + 0.0722 * linear(colour.b())
    }

    /// Contrast of WCAG 2.
    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_readable_on_every_ground() {
        for palette in [&DARK, &LIGHT] {
            for ground in [palette.panel, palette.raised, palette.field] {
                assert!(contrast(palette.text, ground) >= 7.0);
                assert!(contrast(palette.dim, ground) >= 4.5);
                assert!(contrast(palette.warn, ground) >= 4.5 || ground == palette.field, "{ground:?}");
            }
            assert!(contrast(palette.on_view, palette.view) >= 7.0);
            assert!(contrast(palette.on_view_dim, palette.view) >= 4.5);
            assert!(contrast(palette.on_view, palette.on_view_raised) >= 7.0);
            assert!(contrast(palette.text, palette.accent_quiet) >= 7.0);
        }
    }

    #[test]
    fn digits_are_readable_on_their_grades() {
        for level in Grade::ALL {
            let contrast = contrast(grade(level), on_grade(level));
            assert!(contrast >= 4.5, "{level:?}: {contrast:.2}");
        }
        let contrast = contrast(NO_GRADE, ON_NO_GRADE);
        assert!(contrast >= 4.4, "{contrast:.2}");
    }
}
