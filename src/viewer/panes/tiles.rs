//! A photograph's pyramid and the part in view come in; tiles as textures go out, the sharpest there are.
//!
//! Only tiles in view are uploaded, a few a frame; until they are there a coarser level is drawn in their place. Tiles are
//! kept while they fit into a budget of bytes, the longest unseen go first. Each tile has a margin of a pixel of its
//! neighbours, so that no seam shows.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use egui::{Color32, ColorImage, Context, TextureHandle, TextureId, TextureOptions};
use image::RgbImage;

use super::Adjustments;
use crate::session::{Level, Picture};

/// Pixels of a side of a tile's texture, its margins included.
const TEXTURE: u32 = 512;
/// Pixels of a side that a tile covers.
const COVER: u32 = TEXTURE - 2;
/// Bytes of textures that are kept.
const BUDGET: usize = 256 << 20;
/// Time a frame gives to uploads; one tile is always uploaded.
const PER_FRAME: Duration = Duration::from_millis(5);
/// A level is drawn up to this many physical pixels per pixel of it before the next finer is asked for.
const MAGNIFIED: f64 = 1.05;

/// A part of a picture in a texture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// The texture.
    pub texture: TextureId,
    /// The part, in pixels of the original: upper left, lower right.
    pub part: [[f64; 2]; 2],
    /// The same corners in the texture, in [0, 1].
    pub uv: [[f64; 2]; 2],
}

/// A tile of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    level: u64,
    column: u32,
    row: u32,
}

struct Tile {
    texture: TextureHandle,
    adjustments: Adjustments,
    seen: u64,
}

/// The tiles of the photographs shown lately.
#[derive(Default)]
pub struct Tiles {
    kept: HashMap<Key, Tile>,
    /// Levels by number: a picture that becomes sharper keeps those that it has. A weak reference keeps its address from being
    /// given to another level.
    levels: Vec<(u64, Weak<RgbImage>)>,
    numbered: u64,
    frame: u64,
    uploads: Option<Uploads>,
}

/// What is left of a frame's time for uploads.
struct Uploads {
    until: Instant,
    done: usize,
    pending: bool,
}

impl Tiles {
    /// Begins a frame.
    pub fn begin(&mut self) {
        self.frame += 1;
        self.uploads = Some(Uploads { until: Instant::now() + PER_FRAME, done: 0, pending: false });
        let gone: Vec<u64> =
            self.levels.iter().filter(|(_, level)| level.strong_count() == 0).map(|(number, _)| *number).collect();
        if !gone.is_empty() {
            self.levels.retain(|(number, _)| !gone.contains(number));
            self.kept.retain(|key, _| !gone.contains(&key.level));
        }
    }

    /// Ends a frame: drops what the budget no longer holds. True if tiles in view are still to be uploaded.
    pub fn end(&mut self) -> bool {
        let mut bytes: usize = self.kept.values().map(|tile| tile.texture.byte_size()).sum();
        if bytes > BUDGET {
            let mut unseen: Vec<(u64, Key)> = self
                .kept
                .iter()
                .filter(|(_, tile)| tile.seen < self.frame)
                .map(|(key, tile)| (tile.seen, *key))
                .collect();
            unseen.sort_unstable_by_key(|(seen, _)| *seen);
            for (_, key) in unseen {
                if bytes <= BUDGET {
                    break;
                }
                if let Some(tile) = self.kept.remove(&key) {
                    bytes -= tile.texture.byte_size();
                }
            }
        }
        self.uploads.take().is_some_and(|uploads| uploads.pending)
    }

    /// The pieces that cover `view` (a rectangle in the original's pixels) at `scale` physical pixels per pixel of the
    /// original. What no level has a texture for yet is left out.
    pub fn pieces(
        &mut self,
        context: &Context,
        picture: &Arc<Picture>,
        adjustments: Adjustments,
        view: [[f64; 2]; 2],
        scale: f64,
    ) -> Vec<Piece> {
        let Some(coarsest) = picture.levels.len().checked_sub(1) else { return Vec::new() };
        let target = level_for(scale, &picture.levels);
        for level in [coarsest, target] {
            let level = &picture.levels[level];
            let number = self.number(level);
            for (column, row) in grid(level, picture.size, view) {
                self.require(context, level, Key { level: number, column, row }, adjustments);
            }
        }
        grid(&picture.levels[target], picture.size, view)
            .filter_map(|(column, row)| {
                let part = covered(&picture.levels[target], picture.size, column, row);
                picture.levels[target..].iter().find_map(|level| self.piece(level, part))
            })
            .collect()
    }

    fn number(&mut self, level: &Level) -> u64 {
        let weak = Arc::downgrade(&level.pixels);
        if let Some((number, _)) = self.levels.iter().find(|(_, known)| known.ptr_eq(&weak)) {
            return *number;
        }
        self.numbered += 1;
        self.levels.push((self.numbered, weak));
        self.numbered
    }

    /// Uploads a tile that is missing or shows other adjustments, if the frame has time for it.
    fn require(&mut self, context: &Context, level: &Level, key: Key, adjustments: Adjustments) {
        let Some(uploads) = &mut self.uploads else { return };
        if let Some(tile) = self.kept.get_mut(&key) {
            tile.seen = self.frame;
            if tile.adjustments == adjustments {
                return;
            }
        }
        if uploads.done > 0 && Instant::now() >= uploads.until {
            uploads.pending = true;
            return;
        }
        uploads.done += 1;
        let image = cut(level, key.column, key.row, adjustments);
        if let Some(tile) = self.kept.get_mut(&key) {
            tile.texture.set(image, TextureOptions::LINEAR);
            tile.adjustments = adjustments;
        } else {
            let texture = context.load_texture("photograph", image, TextureOptions::LINEAR);
            self.kept.insert(key, Tile { texture, adjustments, seen: self.frame });
        }
    }

    /// `part` out of the tile of `level` that holds it, if that is uploaded.
    fn piece(&mut self, level: &Level, part: [[f64; 2]; 2]) -> Option<Piece> {
        let [columns, rows] = counts(level);
        let stride = f64::from(level.scale) * f64::from(COVER);
        let column = ((part[0][0] / stride) as u32).min(columns - 1);
        let row = ((part[0][1] / stride) as u32).min(rows - 1);
        let number = self.number(level);
        let tile = self.kept.get_mut(&Key { level: number, column, row })?;
        tile.seen = self.frame;
        let [low, high] = held(level, column, row);
        let uv = part.map(|corner| {
            [0, 1].map(|i| (corner[i] / f64::from(level.scale) - f64::from(low[i])) / f64::from(high[i] - low[i]))
        });
        Some(Piece { texture: tile.texture.id(), part, uv })
    }
}

/// Whether a picture is visibly magnified at `scale` physical pixels per pixel of the original: its finest level is.
pub fn magnified(picture: &Picture, scale: f64) -> bool {
    picture.levels.first().is_some_and(|finest| magnifies(scale, finest))
}

/// The coarsest level that is not visibly magnified at `scale`; the original beyond 1:1.
fn level_for(scale: f64, levels: &[Level]) -> usize {
    levels.iter().rposition(|level| !magnifies(scale, level)).unwrap_or(0)
}

/// Whether a level is visibly magnified at `scale`.
fn magnifies(scale: f64, level: &Level) -> bool {
    scale * f64::from(level.scale) > MAGNIFIED
}

/// Columns and rows of tiles of a level.
fn counts(level: &Level) -> [u32; 2] {
    [level.pixels.width(), level.pixels.height()].map(|pixels| pixels.div_ceil(COVER).max(1))
}

/// The tiles of a level that meet `view`.
fn grid(level: &Level, size: [u32; 2], view: [[f64; 2]; 2]) -> impl Iterator<Item = (u32, u32)> + use<> {
    let counts = counts(level);
    let stride = f64::from(level.scale) * f64::from(COVER);
    let meets = (0..2).all(|i| view[1][i] > 0.0 && view[0][i] < f64::from(size[i]));
    let first = [0, 1].map(|i| ((view[0][i].max(0.0) / stride) as u32).min(counts[i] - 1));
    let last = [0, 1].map(|i| ((view[1][i].max(0.0) / stride) as u32).min(counts[i] - 1));
    (first[1]..=last[1])
        .flat_map(move |row| (first[0]..=last[0]).map(move |column| (column, row)))
        .filter(move |_| meets)
}

/// What a tile covers, in pixels of the original; the last of a row or column reaches to the photograph's edge.
fn covered(level: &Level, size: [u32; 2], column: u32, row: u32) -> [[f64; 2]; 2] {
    let counts = counts(level);
    let place = [column, row];
    let edge = |i: usize, index: u32| {
        if index == counts[i] {
            f64::from(size[i])
        } else {
            (f64::from(index) * f64::from(COVER) * f64::from(level.scale)).min(f64::from(size[i]))
        }
    };
    [[edge(0, place[0]), edge(1, place[1])], [edge(0, place[0] + 1), edge(1, place[1] + 1)]]
}

/// The pixels of its level that a tile's texture holds: what it covers and a margin of a pixel, inside the level.
fn held(level: &Level, column: u32, row: u32) -> [[u32; 2]; 2] {
    let size = [level.pixels.width(), level.pixels.height()];
    let place = [column, row];
    [[0, 1].map(|i| (place[i] * COVER).saturating_sub(1)), [0, 1].map(|i| ((place[i] + 1) * COVER + 1).min(size[i]))]
}

/// A tile's pixels, adjusted.
fn cut(level: &Level, column: u32, row: u32, adjustments: Adjustments) -> ColorImage {
    let table = adjustments.table();
    let shown = |value: u8| table[usize::from(value)];
    if adjustments.red_free {
        copy(level, column, row, |rgb| Color32::from_gray(shown(rgb[1])))
    } else if adjustments.is_neutral() {
        copy(level, column, row, |rgb| Color32::from_rgb(rgb[0], rgb[1], rgb[2]))
    } else {
        copy(level, column, row, |rgb| Color32::from_rgb(shown(rgb[0]), shown(rgb[1]), shown(rgb[2])))
    }
}

/// A tile's pixels through `colour`, which is given three bytes.
fn copy(level: &Level, column: u32, row: u32, colour: impl Fn(&[u8]) -> Color32) -> ColorImage {
    let [low, high] = held(level, column, row);
    let [width, height] = [0, 1].map(|i| (high[i] - low[i]) as usize);
    let row_bytes = level.pixels.width().max(1) as usize * 3;
    let rows = level.pixels.as_raw().chunks_exact(row_bytes).skip(low[1] as usize).take(height);
    let mut pixels = Vec::with_capacity(width * height);
    for row in rows {
        pixels.extend(row.chunks_exact(3).skip(low[0] as usize).take(width).map(&colour));
    }
    ColorImage::new([width, height], pixels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fundus::{FieldOfView, Identity, Photograph};

    /// Red is the column, green the row, both modulo 256.
    fn level(scale: u32, width: u32, height: u32) -> Level {
        let pixels = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 0]));
        Level { scale, pixels: Arc::new(pixels) }
    }

    fn picture(size: [u32; 2], levels: Vec<Level>) -> Arc<Picture> {
        let field = FieldOfView { centre: size.map(|s| f64::from(s) / 2.0), radius: f64::from(size[0]) / 2.0 };
        let photograph = Photograph {
            path: "generated".into(),
            sha256: [0; 32],
            identity: Identity::default(),
            size,
            scale: 1,
            pixels: image::RgbImage::new(1, 1),
        };
        let mut picture = Picture::new(photograph, field);
        picture.levels = levels;
        Arc::new(picture)
    }

    #[test]
    fn the_level_drawn_is_never_magnified_while_a_finer_one_exists() {
        let levels = [1, 2, 4, 8].map(|scale| level(scale, 8, 8));
        let chosen = [0.1, 0.2, 0.25, 0.3, 0.5, 0.7, 1.0, 8.0].map(|scale| level_for(scale, &levels));
        assert_eq!(chosen, [3, 2, 2, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn a_tile_holds_its_pixels_and_a_margin() {
        let level = level(1, 1200, 700);
        let image = cut(&level, 1, 0, Adjustments::default());
        assert_eq!(image.size, [512, 511]);
        assert_eq!(image.pixels[0], Color32::from_rgb((COVER - 1) as u8, 0, 0));
        let grey = cut(&level, 0, 1, Adjustments { red_free: true, ..Default::default() });
        assert_eq!(grey.size, [511, 191]);
        assert_eq!(grey.pixels[0], Color32::from_gray((COVER - 1) as u8));
    }

    #[test]
    fn a_coarser_level_stands_in_until_a_tile_is_uploaded() {
        let context = Context::default();
        let photograph = picture([1200, 1200], vec![level(1, 1200, 1200), level(4, 300, 300)]);
        let mut tiles = Tiles::default();
        tiles.begin();
        if let Some(uploads) = &mut tiles.uploads {
            uploads.until = Instant::now();
        }
        let view = [[0.0, 0.0], [1200.0, 1200.0]];
        let first = tiles.pieces(&context, &photograph, Adjustments::default(), view, 1.0);
        assert!(tiles.end(), "tiles are still to come");
        assert_eq!(first.len(), 9);
        assert!(first.iter().all(|piece| piece.texture == first[0].texture), "all from the one coarse tile");
        while {
            tiles.begin();
            tiles.pieces(&context, &photograph, Adjustments::default(), view, 1.0);
            tiles.end()
        } {}
        tiles.begin();
        let last = tiles.pieces(&context, &photograph, Adjustments::default(), view, 1.0);
        let mut textures: Vec<_> = last.iter().map(|piece| piece.texture).collect();
        textures.dedup();
        assert_eq!(textures.len(), 9);
    }

    #[test]
    fn a_picture_that_becomes_sharper_keeps_its_tiles() {
        let context = Context::default();
        let levels = [level(1, 400, 400), level(2, 200, 200)];
        let shown = |tiles: &mut Tiles, levels: &[Level], scale: f64| {
            tiles.begin();
            let photograph = picture([400, 400], levels.to_vec());
            let pieces = tiles.pieces(&context, &photograph, Adjustments::default(), [[0.0; 2], [400.0; 2]], scale);
            tiles.end();
            (pieces[0].texture, magnified(&photograph, scale))
        };
        let mut tiles = Tiles::default();
        let (coarse, is_magnified) = shown(&mut tiles, &levels[1..], 0.5);
        assert!(!is_magnified, "it is as sharp as the screen");
        assert_eq!(shown(&mut tiles, &levels[1..], 1.0), (coarse, true));
        let (fine, is_magnified) = shown(&mut tiles, &levels, 1.0);
        assert!(fine != coarse && !is_magnified);
        assert_eq!(shown(&mut tiles, &levels, 0.5), (coarse, false), "it was not uploaded again");
    }

    #[test]
    fn tiles_of_a_dropped_picture_go() {
        let context = Context::default();
        let photograph = picture([100, 100], vec![level(1, 100, 100)]);
        let mut tiles = Tiles::default();
        tiles.begin();
        tiles.pieces(&context, &photograph, Adjustments::default(), [[0.0; 2], [100.0; 2]], 1.0);
        tiles.end();
        assert_eq!(tiles.kept.len(), 1);
        drop(photograph);
        tiles.begin();
        assert!(tiles.kept.is_empty() && tiles.levels.is_empty());
    }

    proptest! {
        #[test]
        fn tiles_cover_a_photograph_once(width in 1_u32..3000, height in 1_u32..3000, halvings in 0_u32..4) {
            let scale = 1 << halvings;
            let pixels = image::RgbImage::new(width.div_ceil(scale), height.div_ceil(scale));
            let level = Level { scale, pixels: Arc::new(pixels) };
            let size = [width, height];
            let view = [[0.0; 2], size.map(f64::from)];
            let area: f64 = grid(&level, size, view)
                .map(|(column, row)| covered(&level, size, column, row))
                .map(|[low, high]| (high[0] - low[0]) * (high[1] - low[1]))
                .sum();
            prop_assert!((area - f64::from(width) * f64::from(height)).abs() < 1e-6);
        }
    }
}
