//! Weights and images made by an integer hash, as `tests/goldens/keras_parity.py` makes them.
#![allow(unused_imports)] // Each test takes what it needs.

pub use diaret::bench::formula::{parameters, uniform};
