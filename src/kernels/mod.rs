//! Slices in, slices out: the loops that do the arithmetic, and the only `unsafe` of the crate.

pub mod alloc;
pub mod bf16;
pub mod conv;
pub mod cross_entropy;
pub mod dispatch;
pub mod elementwise;
pub mod gemm;
pub mod index;
pub mod layout;
pub mod limit;
pub mod maxima;
pub mod naive;
pub mod norm;
pub mod parallel;
pub(crate) mod pixels;
pub mod pool;
pub mod profile;
pub mod reduce;
pub mod transpose;
pub mod unit;

mod amx;
mod arch;
mod exp;
mod real;
#[cfg(test)]
mod tests;
mod vector;

pub use real::Real;

/// The version of the arithmetic: it rises when the same operations come to other bits.
///
/// 2: sums are taken in runs and pairwise, `x / c` is a division, and softmax and cross-entropy are
/// made of differences from the largest score.
pub const NUMERICS: u64 = 2;
