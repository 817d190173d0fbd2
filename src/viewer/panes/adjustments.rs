//! Red-free, brightness and contrast come in; what becomes of a pixel goes out. For the screen only: networks and maps never
//! see it.

use serde::{Deserialize, Serialize};

/// The grey value that contrast turns about: a retina's middle, darker than the scale's.
const PIVOT: f32 = 0.35;

/// How both panes show the photograph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Adjustments {
    /// The green channel as grey: vessels and haemorrhages stand out.
    pub red_free: bool,
    /// Stops: 1 doubles every value. -2 to 2.
    pub brightness: f32,
    /// Stops of the slope about the middle. -2 to 2.
    pub contrast: f32,
}

impl Adjustments {
    /// Furthest from neutral, in stops, that brightness and contrast go.
    pub const LIMIT: f32 = 2.0;
    /// What a key changes, in stops.
    pub const STEP: f32 = 0.25;

    /// Whether photographs are shown as they are.
    pub fn is_neutral(&self) -> bool {
        *self == Self::default()
    }

    /// Brighter (or darker) by `steps` of [`Self::STEP`].
    pub fn brighten(&mut self, steps: f32) {
        self.brightness = (self.brightness + steps * Self::STEP).clamp(-Self::LIMIT, Self::LIMIT);
    }

    /// More (or less) contrast by `steps` of [`Self::STEP`].
    pub fn steepen(&mut self, steps: f32) {
        self.contrast = (self.contrast + steps * Self::STEP).clamp(-Self::LIMIT, Self::LIMIT);
    }

    /// In words, for a label beside the zoom: `red-free · brightness +0.5`; empty if neutral.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.red_free {
            words.push("red-free".to_owned());
        }
        for (name, stops) in [("brightness", self.brightness), ("contrast", self.contrast)] {
            if stops != 0.0 {
                words.push(format!("{name} {stops:+}").replace('-', "\u{2212}"));
            }
        }
        words.join(" · ")
    }

    /// The value shown for each value of a channel.
    pub(super) fn table(&self) -> [u8; 256] {
        let (gain, slope) = (self.brightness.exp2(), self.contrast.exp2());
        std::array::from_fn(|value| {
            let bright = value as f32 / 255.0 * gain;
            let shown = if self.contrast == 0.0 { bright } else { PIVOT + (bright - PIVOT) * slope };
            (shown * 255.0).round().clamp(0.0, 255.0) as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neutral_changes_nothing() {
        let table = Adjustments::default().table();
        assert!((0..=255_u8).all(|value| table[usize::from(value)] == value));
        assert_eq!(Adjustments::default().words(), "");
    }

    #[test]
    fn a_stop_doubles_and_contrast_steepens_about_the_middle() {
        let bright = Adjustments { brightness: 1.0, ..Default::default() }.table();
        assert_eq!([bright[0], bright[50], bright[200]], [0, 100, 255]);
        let steep = Adjustments { contrast: 1.0, ..Default::default() }.table();
        assert_eq!(steep[89], 89);
        assert!(steep[60] < 60 && steep[120] > 120);
    }

    #[test]
    fn words_name_what_differs() {
        let adjusted = Adjustments { red_free: true, brightness: 0.5, contrast: -0.25 };
        assert_eq!(adjusted.words(), "red-free · brightness +0.5 · contrast \u{2212}0.25");
    }
}
