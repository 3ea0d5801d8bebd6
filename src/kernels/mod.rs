//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

mod arch;
pub mod conv;
pub mod dispatch;
pub mod gemm;
mod real;
mod vector;

pub use real::Real;
