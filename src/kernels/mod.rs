//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod alloc;
pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod index;
pub mod layout;
pub mod norm;
pub mod parallel;
pub mod pool;
pub mod reduce;
pub mod softmax;

mod real;

pub use real::Real;
