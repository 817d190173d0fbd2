//! Evidence in [-1, 1] comes in; a colour and an opacity go out.
//!
//! Opacity follows magnitude, so that the retina shows wherever there is little to say.

use serde::{Deserialize, Serialize};

use super::colormap_tables::{CIVIDIS, VIRIDIS};

/// For: #28e1ff.
const FOR: [u8; 3] = [0x28, 0xe1, 0xff];
/// Against: #ff50d2.
const AGAINST: [u8; 3] = [0xff, 0x50, 0xd2];

/// Opacity is the magnitude to this power. Tried on fundus photographs: 1 leaves moderate evidence so faint that magenta reads
/// as a vessel, 1/2 covers the retina with what says little.
const OPACITY: f32 = 0.75;

/// The colours of a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colormap {
    /// Cyan for, magenta against: no lesion has these colours.
    #[default]
    CyanMagenta,
    /// Viridis, by magnitude: for and against look alike.
    Viridis,
    /// Cividis, by magnitude: for and against look alike.
    Cividis,
}

impl Colormap {
    /// Straight (not premultiplied) sRGB and opacity, each in [0, 1]; no evidence (0, or not a number) is transparent.
    pub fn rgba(self, evidence: f32) -> [f32; 4] {
        let magnitude = if evidence.is_nan() { 0.0 } else { evidence.abs().min(1.0) };
        let [red, green, blue] = match self {
            Self::CyanMagenta if evidence < 0.0 => AGAINST.map(unit),
            Self::CyanMagenta => FOR.map(unit),
            Self::Viridis => along(&VIRIDIS, magnitude),
            Self::Cividis => along(&CIVIDIS, magnitude),
        };
        [red, green, blue, magnitude.powf(OPACITY)]
    }
}

fn unit(byte: u8) -> f32 {
    f32::from(byte) / 255.0
}

/// The colour at `position` in [0, 1], linear between the table's entries.
fn along(table: &[[u8; 3]; 64], position: f32) -> [f32; 3] {
    let place = position * (table.len() - 1) as f32;
    let lower = (place as usize).min(table.len() - 2);
    let share = place - lower as f32;
    std::array::from_fn(|c| unit(table[lower][c]) * (1.0 - share) + unit(table[lower + 1][c]) * share)
}

#[cfg(test)]
// Exact values are what is promised.
#[allow(clippy::float_cmp)]
mod tests {
    use super::*;

    const ALL: [Colormap; 3] = [Colormap::CyanMagenta, Colormap::Viridis, Colormap::Cividis];

    #[test]
    fn opacity_follows_magnitude_in_every_map() {
        for map in ALL {
            assert_eq!(map.rgba(0.0)[3], 0.0);
            assert_eq!(map.rgba(f32::NAN)[3], 0.0);
            for step in 0..100 {
                let (low, high) = (step as f32 / 100.0, (step + 1) as f32 / 100.0);
                assert!(map.rgba(low)[3] < map.rgba(high)[3] && map.rgba(-low)[3] < map.rgba(-high)[3]);
            }
            assert_eq!(map.rgba(1.0)[3], 1.0);
            assert_eq!(map.rgba(-5.0)[3], 1.0);
        }
    }

    #[test]
    fn for_and_against_have_the_colours_of_the_legend() {
        let byte = |v: f32| (255.0 * v).round() as u8;
        assert_eq!(Colormap::CyanMagenta.rgba(0.4).map(byte)[..3], FOR);
        assert_eq!(Colormap::CyanMagenta.rgba(-0.4).map(byte)[..3], AGAINST);
        assert_eq!(Colormap::Viridis.rgba(0.4)[..3], Colormap::Viridis.rgba(-0.4)[..3]);
    }

    #[test]
    fn tables_grow_lighter_from_end_to_end() {
        let lightness = |c: [f32; 4]| 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
        for map in [Colormap::Viridis, Colormap::Cividis] {
            for step in 0..50 {
                assert!(lightness(map.rgba(step as f32 / 50.0)) < lightness(map.rgba((step + 1) as f32 / 50.0)));
            }
        }
    }
}
