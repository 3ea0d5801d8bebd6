//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod alloc;
pub mod elementwise;
pub mod exp;
pub mod index;
pub mod layout;
pub mod naive;
pub mod norm;
pub mod parallel;
pub mod pool;
pub mod reduce;
pub mod softmax;

mod real;
#[cfg(test)]
mod tests;
mod transpose;

pub use real::Real;
