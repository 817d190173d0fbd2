//! Work on one image, cut into tiles; and memory that tiles write side by side.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// How many threads work on one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub usize);

impl Threads {
    /// Calls `work` for each item, on several threads if there are several.
    pub fn each<I: Sync>(self, items: &[I], work: impl Fn(&I) + Sync + Send) {
        if self.0 <= 1 || items.len() <= 1 {
            items.iter().for_each(work);
        } else {
            items.par_iter().for_each(work);
        }
    }

    /// Calls `work` with each number below `count`, on several threads if there are several.
    pub fn tasks(self, count: usize, work: impl Fn(usize) + Sync + Send) {
        if self.0 <= 1 || count <= 1 {
            (0..count).for_each(work);
        } else {
            (0..count).into_par_iter().with_max_len(1).for_each(work);
        }
    }

    /// Calls `work` with the place and the numbers of each chunk of `data`.
    pub fn chunks<T: Send>(self, data: &mut [T], length: usize, work: impl Fn(usize, &mut [T]) + Sync + Send) {
        if self.0 <= 1 {
            data.chunks_mut(length).enumerate().for_each(|(place, chunk)| work(place, chunk));
        } else {
            data.par_chunks_mut(length).enumerate().for_each(|(place, chunk)| work(place, chunk));
        }
    }

    /// The same with the chunks of two lists that lie at the same place.
    pub fn pairs<A: Send, B: Send>(
        self,
        (first, length): (&mut [A], usize),
        (second, other): (&mut [B], usize),
        work: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
    ) {
        let work = |(place, (first, second)): (usize, (&mut [A], &mut [B]))| work(place, first, second);
        if self.0 <= 1 {
            first.chunks_mut(length).zip(second.chunks_mut(other)).enumerate().for_each(work);
        } else {
            first.par_chunks_mut(length).zip(second.par_chunks_mut(other)).enumerate().for_each(work);
        }
    }
}

/// Rows of an image that tiles write to at the same time, each its own rows and columns.
#[derive(Debug)]
pub struct Shared<'a, T> {
    start: *mut T,
    length: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for the only borrow of its numbers, which may move between threads as `T: Send` says. What it hands out
// are pointers (`start`, `rectangle`), which only unsafe code follows, and slices (`row`), whose callers promise that no two
// threads ask for the same numbers at the same time.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Rows `stride` apart.
    pub fn new(data: &'a mut [T], stride: usize) -> Self {
        Self { start: data.as_mut_ptr(), length: data.len(), stride, borrow: PhantomData }
    }

    /// A pointer to the first number.
    pub fn start(&self) -> *mut T {
        self.start
    }

    /// Numbers between the beginnings of two rows.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// A pointer to a rectangle, after checking that it lies inside.
    pub fn rectangle(&self, rows: &Range<usize>, columns: &Range<usize>) -> *mut T {
        let end = rows.end.saturating_sub(1) * self.stride + columns.end;
        assert!(rows.start < rows.end && columns.start <= columns.end && end <= self.length, "tile outside its image");
        self.start.wrapping_add(rows.start * self.stride + columns.start)
    }

    /// Part of one row.
    ///
    /// # Safety
    /// Nothing else reads or writes these numbers while the slice lives.
    #[allow(clippy::mut_from_ref, reason = "tiles are disjoint; the caller promises it")]
    pub unsafe fn row(&self, row: usize, columns: &Range<usize>) -> &mut [T] {
        let start = self.rectangle(&(row..row + 1), columns);
        // SAFETY: `rectangle` has checked the bounds, the caller promises that nothing else uses them.
        unsafe { std::slice::from_raw_parts_mut(start, columns.len()) }
    }
}

/// Buffers that tiles borrow and give back, so that they are made once.
#[derive(Debug, Default)]
pub struct Spares<B>(Mutex<Vec<B>>);

impl<B> Spares<B> {
    /// Frees those that wait.
    pub fn free(&mut self) {
        *self.0.get_mut().unwrap_or_else(PoisonError::into_inner) = Vec::new();
    }
}

impl<B: Default> Spares<B> {
    /// Calls `work` with a buffer of its own.
    pub fn with<R>(&self, work: impl FnOnce(&mut B) -> R) -> R {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let result = work(&mut buffer);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        result
    }
}

/// The first `length` numbers of a buffer that grows and never shrinks; what they are is left over from before.
pub fn at_least<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}
