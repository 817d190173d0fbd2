//! DiaRet grades diabetic retinopathy on fundus photographs and shows why.
//!
//! The rooms, in the order in which data goes through them; nothing reaches back up.
//!
//! | room | comes in | goes out |
//! | --- | --- | --- |
//! | [`fundus`] | a file | [`fundus::Photograph`], its [`fundus::FieldOfView`] and [`fundus::NetworkInput`] |
//! | [`nn`] | a graph and weights | logits and gradients |
//! | [`attribution`] | anything differentiable, an input, a baseline | a signed map with its evidence, then an overlay |
//! | [`grading`] | logits of the networks | an [`grading::Assessment`] |
//! | [`training`], [`evaluation`] | graded photographs | weights and figures |
//! | [`session`] | requests with priorities | results, cancellable; threads, caches and devices live here |
//! | [`mod@bench`] | networks, photographs, perhaps another program | how long both take |
//! | [`viewer`], [`cli`] | a session | what a person sees |

// What a person gives must never end the program, and only commands speak to the terminal. Tests may do both.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::print_stderr)]

pub mod attribution;
pub mod bench;
pub mod cli;
pub mod evaluation;
pub mod fundus;
pub mod grading;
pub mod home;
pub mod nn;
pub mod session;
pub mod training;
pub mod viewer;
