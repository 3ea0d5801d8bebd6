//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod alloc;
pub mod conv;
pub mod dispatch;
pub mod elementwise;
pub mod gemm;
pub mod index;
pub mod layout;
pub mod limit;
pub mod naive;
pub mod norm;
pub mod parallel;
pub(crate) mod pixels;
pub mod pool;
pub mod profile;
pub mod reduce;
pub mod softmax;

mod arch;
mod exp;
mod real;
#[cfg(test)]
mod tests;
mod transpose;
mod vector;

pub use real::Real;
