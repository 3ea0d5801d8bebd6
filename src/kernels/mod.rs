//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod conv;
pub mod gemm;
mod real;

pub use real::Real;
