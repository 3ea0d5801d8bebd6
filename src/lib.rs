//! MetaMask on its own tensor engine, in pure Rust.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod train;

pub mod augment;
pub mod autodiff;
pub mod data;
pub mod error;
pub mod eval;
#[allow(unsafe_code)] // The one door: everything else is safe code.
pub mod kernels;
pub mod metamask;
pub mod nn;
pub mod optim;
pub mod rng;
pub mod ssl;
pub mod tensor;

pub use error::{Error, Result};
pub use kernels::Real;
