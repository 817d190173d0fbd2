//! A matrix comes in; panels go out: groups of neighbouring columns, in the order in which a micro-kernel reads them.
//!
//! In memory: panel after panel, in a panel row after row.

use super::aligned::Aligned;

/// A matrix `[depth, columns]` in panels of `width` columns; the last one is filled up with zeros.
#[derive(Debug)]
pub struct Panels {
    numbers: Aligned,
    pub depth: usize,
    pub columns: usize,
    width: usize,
}

impl Panels {
    /// Zeros in the place of a matrix.
    pub fn zeros(depth: usize, columns: usize, width: usize) -> Self {
        Self { numbers: Aligned::zeros(depth * columns.next_multiple_of(width)), depth, columns, width }
    }

    /// Packs a row-major matrix.
    pub fn fill(&mut self, matrix: &[f32]) {
        assert_eq!(matrix.len(), self.depth * self.columns, "a matrix of another shape");
        for (row, values) in matrix.chunks_exact(self.columns).enumerate() {
            self.fill_row(row, values);
        }
    }

    /// Packs a row.
    pub fn fill_row(&mut self, row: usize, values: &[f32]) {
        assert_eq!(values.len(), self.columns, "a row of another length");
        for (panel, values) in values.chunks(self.width).enumerate() {
            self.row_mut(row, panel)[..values.len()].copy_from_slice(values);
        }
    }

    /// A row of a panel.
    pub fn row_mut(&mut self, row: usize, panel: usize) -> &mut [f32] {
        let start = self.place(row, panel);
        &mut self.numbers.numbers_mut()[start..start + self.width]
    }

    /// The same, to be read.
    pub fn row(&self, row: usize, panel: usize) -> &[f32] {
        let start = self.place(row, panel);
        &self.numbers.numbers()[start..start + self.width]
    }

    /// The matrix again.
    pub fn unpack(&self) -> Vec<f32> {
        let mut matrix = Vec::with_capacity(self.depth * self.columns);
        for row in 0..self.depth {
            for (panel, from) in (0..self.columns).step_by(self.width).enumerate() {
                matrix.extend_from_slice(&self.row(row, panel)[..self.width.min(self.columns - from)]);
            }
        }
        matrix
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.columns.div_ceil(self.width)
    }

    /// One panel, `[depth, width]`.
    pub fn panel(&self, panel: usize) -> &[f32] {
        let start = self.place(0, panel);
        &self.numbers.numbers()[start..start + self.depth * self.width]
    }

    /// Where a row of a panel begins.
    fn place(&self, row: usize, panel: usize) -> usize {
        (panel * self.depth + row) * self.width
    }
}
