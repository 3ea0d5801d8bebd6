//! MetaMask on its own tensor engine, in pure Rust.
//!
//! Image representations are learned without labels; a *dimensional mask* on them is learned by
//! differentiating a contrastive loss through a training step. The crate holds everything for it:
//! tensors, derivatives of any order in reverse and forward mode, convolutions, the losses, the
//! exact meta-gradient, data, training and evaluation.
//!
//! ```
//! use dimask::{Tensor, Var, grad, grad_graph};
//! // The gradient of a loss after a trial step, through the step: 1-d, by hand and by engine.
//! let w = Var::leaf(Tensor::scalar(1.0f64));
//! let mask = Var::leaf(Tensor::scalar(0.5));
//! let loss = |w: &Var<f64>| (w * &mask).square();
//! let g = grad_graph(&loss(&w), &[&w]).remove(0);         // 2 m² w
//! let trial = &w - &g.scale(0.1);                         // w (1 - 0.2 m²)
//! let after = loss(&trial);                               // m² w² (1 - 0.2 m²)²
//! let meta = grad(after, &[&mask])[0].item();
//! let m: f64 = 0.5;
//! let by_hand = 2.0 * m * (1.0 - 0.2 * m * m) * (1.0 - 0.6 * m * m);
//! assert!((meta - by_hand).abs() < 1e-12);
//! ```
//!
//! # Debug builds
//! Profiles do not reach a dependency: in a debug build the kernels are not optimised, and a
//! program is tens of times slower than in release. These lines in its `Cargo.toml` mend it: a
//! small network that took 28.8 s in a debug build takes 0.57 s, in release 0.26 s.
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! ```
//!
//! # Letters
//! N batch, H W space, C and O channels in and out, K a kernel's side, D features.
//! Images are `[N, H, W, C]`, convolution weights `[K, K, C, O]`, linear weights `[in, out]`;
//! `x` input, `w` weight, `y` output, `g` incoming cotangent, `dx` outgoing or a tangent.
//!
//! # Modules, from the bottom up
//! [`kernels`], [`comm`], [`tensor`], [`autodiff`], [`nn`], [`optim`], [`ssl`], [`metamask`];
//! [`data`], [`augment`], [`eval`]; [`gradcheck`], [`explain`]; with the feature `cli`: `config`,
//! `run`, `train`, `report`, `figures`, `experiments`, `cli`; with the feature `proptest`:
//! `strategies`.
//! The feature `images`, part of `cli`, reads PNG and JPEG files.

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod config;
#[cfg(feature = "cli")]
pub mod experiments;
#[cfg(feature = "cli")]
pub mod figures;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod run;
#[cfg(feature = "cli")]
pub mod train;

pub mod augment;
pub mod autodiff;
pub mod comm;
pub mod data;
pub mod error;
pub mod eval;
pub mod explain;
#[cfg(feature = "cli")]
mod files;
pub mod gradcheck;
#[doc(hidden)]
pub mod instances;
#[allow(unsafe_code)] // The one door: everything else is safe code.
pub mod kernels;
pub mod metamask;
pub mod nn;
pub mod optim;
pub mod rng;
pub mod ssl;
#[cfg(any(test, feature = "proptest"))]
pub mod strategies;
pub mod tensor;

pub use autodiff::{Var, grad, grad_graph, hvp, pull, push};
pub use error::{Error, Result};
pub use kernels::Real;
pub use tensor::{Shape, Tensor};

/// The blocks of Rust of the front page and of the book, run as documentation tests.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../README.md")]
    struct FrontPage;
    #[doc = include_str!("../docs/book/2-engine.md")]
    struct Engine;
    #[doc = include_str!("../docs/book/3-losses.md")]
    struct Losses;
    #[doc = include_str!("../docs/book/4-mask.md")]
    struct Mask;
    #[doc = include_str!("../docs/book/5-kernels.md")]
    struct Kernels;
    #[doc = include_str!("../docs/book/7-extend.md")]
    struct Extend;
}
