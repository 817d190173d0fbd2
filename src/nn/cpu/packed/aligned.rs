//! Numbers that begin with a line of cache.

/// A line of cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// A list of f32 whose first lies at the start of a line of cache.
#[derive(Clone, Debug, Default)]
pub struct Aligned {
    lines: Vec<Line>,
}

impl Aligned {
    /// At least so many zeros.
    pub fn zeros(numbers: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); numbers.div_ceil(LINE)] }
    }

    /// At least `numbers` of them, for a buffer that grows and never shrinks; what they are is left over from before.
    pub fn at_least(&mut self, numbers: usize) -> &mut [f32] {
        if self.lines.len() * LINE < numbers {
            self.lines.resize(numbers.div_ceil(LINE), Line([0.0; LINE]));
        }
        self.numbers_mut()
    }

    pub fn numbers(&self) -> &[f32] {
        // SAFETY: a `Line` is an array of `LINE` numbers and nothing else, as large as its alignment.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }

    pub fn numbers_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) }
    }
}
