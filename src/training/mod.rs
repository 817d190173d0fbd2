//! Graded photographs come in; weights and the figures of their card go out.
