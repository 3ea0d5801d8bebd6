//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod alloc;
pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod index;
pub mod layout;
pub mod norm;
pub mod pool;
mod real;
pub mod reduce;
pub mod softmax;

pub use real::Real;
