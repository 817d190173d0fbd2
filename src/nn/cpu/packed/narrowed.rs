//! Where taps begin comes in; what they see goes out as pairs of bf16, each pixel once.

use super::aligned::Aligned;
use super::image::View;
use super::pairs::PairLoops;
use super::product::BORDER;

/// The pixels of a task; memory that the next one uses again.
#[derive(Debug, Default)]
pub struct Narrowed {
    words: Aligned,
    /// Per pixel of the images: `begun` and which of the task's it is, counted from 1; no more than `begun` for one that it has not
    /// seen.
    seen: Vec<u32>,
    begun: u32,
}

impl Narrowed {
    /// Narrows all pixels that `offsets` lead to, and lets them lead to the pairs; an even number of channels.
    pub fn take_in(&mut self, loops: &PairLoops, source: &View, offsets: &mut [usize]) -> &[f32] {
        let Self { words, seen, begun } = self;
        let (apart, length) = (source.apart[2], source.channels / 2);
        let pixels = (source.images * source.apart[0]).div_ceil(apart);
        if seen.len() < pixels {
            seen.resize(pixels, 0);
        }
        let most = offsets.len().min(pixels);
        if *begun as usize + most > u32::MAX as usize {
            seen.fill(0);
            *begun = 0;
        }
        let words = words.at_least(most * length);
        let mut taken = 0;
        for offset in offsets.iter_mut().filter(|offset| **offset != BORDER) {
            let seen = &mut seen[*offset / apart];
            if *seen <= *begun {
                let to = &mut words[taken * length..][..length];
                loops.narrow(&source.data[*offset..][..source.channels], to);
                taken += 1;
                *seen = *begun + taken as u32;
            }
            *offset = (*seen - *begun - 1) as usize * length;
        }
        *begun += taken as u32;
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Lanes;
    use super::super::pairs::apart;
    use super::super::vector::Engine;
    use super::*;

    #[test]
    fn every_pixel_is_taken_once_and_anew_by_every_task_even_when_counting_begins_again() {
        let loops = Lanes::bf16().pairs().unwrap();
        let data: Vec<f32> = (0..5 * 4).map(|number| number as f32).collect();
        let source = View { data: &data, images: 1, size: [1, 5], apart: [20, 20, 4], channels: 2 };
        let mut narrowed = Narrowed { begun: u32::MAX - 7, ..Narrowed::default() };
        for _ in 0..4 {
            let mut offsets = [8, BORDER, 16, 8];
            let words = narrowed.take_in(loops, &source, &mut offsets);
            assert_eq!(offsets, [0, BORDER, 1, 0]);
            assert_eq!([apart(words[0]), apart(words[1])], [[8.0, 9.0], [16.0, 17.0]]);
        }
        assert!(narrowed.begun < 8);
    }
}
