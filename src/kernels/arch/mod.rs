//! One file for each kind of processor: implementations of [`super::vector::Vector`], and the
//! tile registers of AMX.

#[cfg_attr(not(avx512), path = "no_amx.rs")]
pub(super) mod amx;
#[cfg(avx512)]
#[clippy::msrv = "1.89"]
pub(super) mod avx512;
pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;

/// Rows of a tile register.
pub(super) const ROWS: usize = 16;
/// Numbers of its row in bf16: steps of one product.
pub(super) const STEPS: usize = 32;
/// Numbers of a tile register in bf16.
pub(super) const REGISTER: usize = ROWS * STEPS;
