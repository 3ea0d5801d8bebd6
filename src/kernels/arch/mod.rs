//! One file for each kind of processor: implementations of [`super::vector::Vector`], and tiles.

#[cfg_attr(not(target_arch = "x86_64"), path = "no_amx.rs")]
pub(super) mod amx;
pub(super) mod scalar;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;
