//! Small pictures come in as they are made; textures go out. Bounded: those not seen for longest make room.

use std::collections::HashMap;

use egui::{ColorImage, Context, TextureHandle, TextureId, TextureOptions};

use crate::session::CaseId;

/// Textures kept: several screens of rows, 31 KB each.
const CAPACITY: usize = 256;

/// The list's textures.
#[derive(Default)]
pub struct Thumbnails {
    textures: HashMap<CaseId, (TextureHandle, u64)>,
    clock: u64,
}

impl Thumbnails {
    /// Takes a thumbnail in; one that is there is replaced.
    pub fn insert(&mut self, context: &Context, case: CaseId, image: &image::RgbaImage) {
        let size = [image.width() as usize, image.height() as usize];
        let pixels = ColorImage::from_rgba_unmultiplied(size, image.as_raw());
        let texture = context.load_texture(format!("thumbnail {}", case.0), pixels, TextureOptions::LINEAR);
        self.clock += 1;
        self.textures.insert(case, (texture, self.clock));
        if self.textures.len() > CAPACITY {
            let oldest = self.textures.iter().min_by_key(|(_, (_, seen))| *seen).map(|(&case, _)| case);
            oldest.map(|case| self.textures.remove(&case));
        }
    }

    /// The texture of a row that is on screen.
    pub fn get(&mut self, case: CaseId) -> Option<TextureId> {
        self.clock += 1;
        let (texture, seen) = self.textures.get_mut(&case)?;
        *seen = self.clock;
        Some(texture.id())
    }

    /// Whether a row's texture is there.
    pub fn contains(&self, case: CaseId) -> bool {
        self.textures.contains_key(&case)
    }

    /// Another list is open: places mean other files.
    pub fn clear(&mut self) {
        self.textures.clear();
    }
}
