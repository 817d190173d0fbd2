//! Lines of cache: a list whose first number begins one, so that vectors do not lie across two, and may be written past the caches.

use std::ops::{Deref, DerefMut};

/// Bytes of a line of cache.
pub const LINE: usize = 64;

/// How many numbers a list has to have, so that so many begin with a line of cache.
pub const fn with_room<T>(numbers: usize) -> usize {
    numbers + LINE / size_of::<T>()
}

/// The numbers of a list from the start of a line of cache on.
pub fn aligned<T>(list: &[T]) -> &[T] {
    &list[list.as_ptr().align_offset(LINE).min(list.len())..]
}

/// The same, to be written.
pub fn aligned_mut<T>(list: &mut [T]) -> &mut [T] {
    let start = list.as_ptr().align_offset(LINE).min(list.len());
    &mut list[start..]
}

/// A list of fixed length.
#[derive(Debug, Default)]
pub struct Lines<T> {
    numbers: Vec<T>,
    length: usize,
}

impl<T: Clone> Lines<T> {
    pub fn new(value: T, length: usize) -> Self {
        Self { numbers: vec![value; with_room::<T>(length)], length }
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &aligned(&self.numbers)[..self.length]
    }
}

impl<T> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut aligned_mut(&mut self.numbers)[..self.length]
    }
}
