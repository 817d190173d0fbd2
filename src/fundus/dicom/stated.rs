//! A coded stream comes in; the size that it states goes out, before a decoder allocates for it, whatever the object's header
//! says.

use crate::fundus::jpeg;

/// The first box of a JPEG 2000 file (RFC 3745). DICOM wants the codestream alone; some write the file.
const JP2: &[u8] = b"\0\0\0\x0CjP  \r\n\x87\n";

/// What a decoder will make room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    /// Width and height.
    pub size: [u32; 2],
    /// Channels.
    pub channels: u16,
    /// Bits of a channel.
    pub bits: u8,
    /// JPEG whose pixels are coded from their neighbours and not as frequencies.
    pub lossless: bool,
    /// Parts with parameters of their own; JPEG 2000 alone has more than one.
    pub tiles: u64,
}

/// What a JPEG states; `None` where no decoder would find a frame.
pub(super) fn jpeg(stream: &[u8]) -> Option<Stated> {
    let jpeg::Frame { size, channels, bits, marker } = jpeg::frame(stream)?;
    Some(Stated { size, channels: channels.into(), bits, lossless: marker == 0xC3, tiles: 1 })
}

/// What a JPEG 2000 codestream states, alone or in its file. Where a channel is smaller than the picture, its size is given.
pub(super) fn jpeg_2000(stream: &[u8]) -> Option<Stated> {
    // Start of codestream, size.
    let content = stream.get(codestream_at(stream)?..)?.strip_prefix(b"\xFF\x4F\xFF\x51")?;
    let long = |at: usize| Some(u64::from(u32::from_be_bytes(*content.get(at..)?.first_chunk()?)));
    // After the segment's length and capabilities.
    let [right, bottom, left, top] = [long(4)?, long(8)?, long(12)?, long(16)?];
    let [tile_width, tile_height, tile_left, tile_top] = [long(20)?, long(24)?, long(28)?, long(32)?];
    let channels = u16::from_be_bytes(*content.get(36..)?.first_chunk()?);
    let each = content.get(38..38 + 3 * usize::from(channels))?.chunks_exact(3);
    let mut sizes = Vec::with_capacity(channels.into());
    let mut bits = 0;
    for channel in each {
        let &[depth, across, down] = channel else { return None };
        // The highest bit says whether the samples have a sign.
        bits = bits.max((depth & 0x7F) + 1);
        sizes.push([extent(left, right, across)?, extent(top, bottom, down)?]);
    }
    if tile_width == 0 || tile_height == 0 {
        return None;
    }
    let across = right.checked_sub(tile_left)?.div_ceil(tile_width);
    let down = bottom.checked_sub(tile_top)?.div_ceil(tile_height);
    Some(Stated { size: sizes.into_iter().min()?, channels, bits, lossless: false, tiles: across.checked_mul(down)? })
}

/// Samples of a channel between two sides of the picture, one for each `step` pixels.
fn extent(from: u64, to: u64, step: u8) -> Option<u32> {
    let step = u64::from(step);
    if step == 0 {
        return None;
    }
    u32::try_from(to.div_ceil(step).checked_sub(from.div_ceil(step))?).ok()
}

/// Whether a JPEG 2000 file has a palette, which makes up to 255 channels of one. Its name counts wherever it stands before the
/// codestream: decoders read misplaced boxes, too.
pub(super) fn has_palette(stream: &[u8]) -> bool {
    codestream_at(stream).is_some_and(|at| stream[..at].windows(4).any(|word| word == b"pclr"))
}

/// Where the codestream begins: at once, or in its box of a file.
fn codestream_at(stream: &[u8]) -> Option<usize> {
    if !stream.starts_with(JP2) {
        return Some(0);
    }
    let mut at = 0;
    loop {
        let word = |from: usize| Some(u32::from_be_bytes(*stream.get(at + from..)?.first_chunk()?));
        // A length of 1 stands for the one that follows, 8 bytes long; its upper half is 0, as nothing larger is read.
        let (length, head) = if word(0)? == 1 { (word(12)?, 16) } else { (word(0)?, 8) };
        if stream.get(at + 4..at + 8)? == b"jp2c" {
            return Some(at + head);
        }
        let length = length as usize;
        if length < head {
            return None;
        }
        at += length;
    }
}

/// What each of the first `segments` segments of an RLE fragment expands to, in bytes (PS3.5 annex G).
pub(super) fn runs(fragment: &[u8], segments: usize) -> Option<Vec<usize>> {
    let word = |at: usize| Some(u32::from_le_bytes(*fragment.get(4 * at..)?.first_chunk()?) as usize);
    let there = word(0)?;
    // A header has room for 15.
    if !(segments..=15).contains(&there) || fragment.len() < 64 {
        return None;
    }
    let end = |index: usize| if index == there { Some(fragment.len()) } else { word(1 + index) };
    (0..segments).map(|index| Some(expanded(fragment.get(word(1 + index)?..end(index + 1)?)?))).collect()
}

/// Bytes that a segment of runs expands to.
fn expanded(segment: &[u8]) -> usize {
    let (mut at, mut bytes) = (0, 0);
    while let Some(&head) = segment.get(at) {
        let head = usize::from(head);
        let (coded, meant) = match head {
            0..128 => (head + 1, head + 1),
            128 => (0, 0),
            _ => (1, 257 - head),
        };
        at += 1 + coded;
        bytes += meant;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG 2000 codestream's size: the reference grid, its tiles, and channels as depth and steps.
    fn codestream(grid: [u32; 8], channels: &[[u8; 3]]) -> Vec<u8> {
        let length = (38 + 3 * channels.len() as u16).to_be_bytes();
        let count = (channels.len() as u16).to_be_bytes();
        let grid = grid.map(u32::to_be_bytes).concat();
        [b"\xFF\x4F\xFF\x51", &length[..], &[0, 0], &grid, &count, &channels.concat(), b"\xFF\x52"].concat()
    }

    fn in_box(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        [&(8 + content.len() as u32).to_be_bytes(), &kind[..], content].concat()
    }

    #[test]
    fn a_codestream_states_its_size_alone_and_in_a_file() {
        // 64 x 48 pixels beginning at (16, 8), in tiles of 32 x 32 from (0, 0).
        let plain = codestream([80, 56, 16, 8, 32, 32, 0, 0], &[[7, 1, 1], [7, 1, 1], [11, 1, 1]]);
        let stated = Stated { size: [64, 48], channels: 3, bits: 12, lossless: false, tiles: 6 };
        assert_eq!(jpeg_2000(&plain), Some(stated));
        let header = in_box(*b"jp2h", &in_box(*b"ihdr", &[0; 14]));
        let wrapped = [JP2, &in_box(*b"ftyp", b"jp2 "), &header, &in_box(*b"jp2c", &plain)].concat();
        assert_eq!(jpeg_2000(&wrapped), Some(stated));
        assert!(!has_palette(&wrapped));
        let long = [&1_u32.to_be_bytes()[..], b"jp2c", &(16 + plain.len() as u64).to_be_bytes(), &plain].concat();
        assert_eq!(jpeg_2000(&[JP2, &long].concat()), Some(stated));
        let painted = in_box(*b"jp2h", &in_box(*b"pclr", &[0; 9]));
        assert!(has_palette(&[JP2, &painted, &in_box(*b"jp2c", &plain)].concat()));
        let endless = b"\0\0\0\0free";
        assert_eq!(jpeg_2000(&[JP2, endless, &in_box(*b"jp2c", &plain)].concat()), None);
    }

    #[test]
    fn a_codestream_without_a_whole_size_states_none() {
        let grid = [80, 56, 16, 8, 32, 32, 0, 0];
        let whole = codestream(grid, &[[7, 1, 1]; 3]);
        assert!((0..whole.len() - 2).all(|length| jpeg_2000(&whole[..length]).is_none()));
        assert_eq!(jpeg_2000(&codestream(grid, &[])), None, "no channel");
        assert_eq!(jpeg_2000(&codestream(grid, &[[7, 0, 1]])), None, "no step");
        assert_eq!(jpeg_2000(&codestream([80, 56, 16, 8, 0, 32, 0, 0], &[[7, 1, 1]])), None, "no tile");
        assert_eq!(jpeg_2000(&codestream([10, 56, 16, 8, 32, 32, 0, 0], &[[7, 1, 1]])), None, "ends before it begins");
        let halved = codestream(grid, &[[7, 1, 1], [7, 2, 2], [7, 2, 2]]);
        assert_eq!(jpeg_2000(&halved).map(|stated| stated.size), Some([32, 24]), "the smallest channel counts");
    }

    #[test]
    fn runs_are_counted_as_they_expand() {
        // Three bytes as they are, one 129 times no operation, one repeated 128 times.
        assert_eq!(expanded(&[2, 9, 9, 9, 128, 129, 7]), 3 + 128);
        assert_eq!(expanded(&[]), 0);
        let offsets: Vec<u8> = [2_u32, 64, 66].into_iter().flat_map(u32::to_le_bytes).collect();
        let mut fragment = offsets;
        fragment.resize(64, 0);
        fragment.extend([255, 7, 1, 7, 7, 254, 7]);
        assert_eq!(runs(&fragment, 2), Some(vec![2, 2 + 3]), "the last one ends with the fragment");
        assert_eq!(runs(&fragment, 1), Some(vec![2]));
        assert_eq!(runs(&fragment, 3), None, "a segment is missing");
        fragment[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(runs(&fragment, 2), None, "no header has so many");
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(any::<u8>(), 0..160), segments in 1_usize..7) {
            let file = [JP2, &bytes].concat();
            let stream = [b"\xFF\x4F\xFF\x51", &bytes[..]].concat();
            let _ = (jpeg(&bytes), jpeg_2000(&bytes), jpeg_2000(&stream), jpeg_2000(&file), has_palette(&file));
            let _ = runs(&bytes, segments);
            let fragment = [&[segments as u8, 0, 0, 0], &bytes[..]].concat();
            let _ = runs(&fragment, segments);
        }
    }
}
