//! Lines of cache: a list whose first number begins one, so that vectors do not lie across two, and may be written past the caches.

use std::ops::{Deref, DerefMut};

/// Bytes of a line of cache.
pub const LINE: usize = 64;

/// A list of fixed length.
#[derive(Clone, Debug)]
pub struct Lines<T> {
    numbers: Vec<T>,
    length: usize,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { numbers: Vec::new(), length: 0 }
    }
}

impl<T: Clone> Lines<T> {
    pub fn new(value: T, length: usize) -> Self {
        let room = if length > 0 { length + LINE / size_of::<T>() } else { 0 };
        Self { numbers: vec![value; room], length }
    }
}

impl<T> Lines<T> {
    fn start(&self) -> usize {
        self.numbers.as_ptr().align_offset(LINE).min(self.numbers.len() - self.length)
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.numbers[self.start()..][..self.length]
    }
}

impl<T> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let start = self.start();
        &mut self.numbers[start..][..self.length]
    }
}
