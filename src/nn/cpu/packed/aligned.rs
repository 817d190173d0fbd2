//! Numbers in pages of their own: they begin with a line of cache, and go back to the system when they are dropped. Packed
//! weights come and go in pieces of megabytes, among short-lived ones of the same size; a heap would keep the gaps.

use memmap2::MmapMut;

/// A list of f32 whose first lies at the start of a page.
#[derive(Debug, Default)]
pub struct Aligned {
    pages: Option<MmapMut>,
}

impl Aligned {
    /// So many zeros.
    pub fn zeros(numbers: usize) -> Self {
        let bytes = numbers * size_of::<f32>();
        // As for any list: without memory nothing can go on.
        #[allow(clippy::expect_used, reason = "no memory")]
        let map = |bytes| MmapMut::map_anon(bytes).expect("memory for packed numbers");
        Self { pages: (bytes > 0).then(|| map(bytes)) }
    }

    /// At least `numbers` of them, for a buffer that grows and never shrinks; what they are is left over from before.
    pub fn at_least(&mut self, numbers: usize) -> &mut [f32] {
        if self.numbers().len() < numbers {
            *self = Self::zeros(numbers);
        }
        self.numbers_mut()
    }

    pub fn numbers(&self) -> &[f32] {
        let Some(pages) = &self.pages else { return &[] };
        // SAFETY: a mapping begins with a page and is as long as it says; any bytes are an f32.
        unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), pages.len() / size_of::<f32>()) }
    }

    pub fn numbers_mut(&mut self) -> &mut [f32] {
        let Some(pages) = &mut self.pages else { return &mut [] };
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), pages.len() / size_of::<f32>()) }
    }
}
