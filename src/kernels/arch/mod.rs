//! One file for each kind of processor: implementations of [`super::vector::Vector`] only.

pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;
