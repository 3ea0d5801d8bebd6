//! DCL: contrast with an estimate of the true negatives.
//!
//! With `u` the 2N unit rows of both views, for an anchor `o` with its other view `o⁺` and the
//! n = 2N - 2 other rows as negatives:
//!
//! ```text
//! p = exp(o·o⁺ / t),   N = max( (Σ exp(o·oⱼ / t) - tau_plus n p) / (1 - tau_plus),  n e^(-1/t) )
//! loss = mean over anchors of -log( p / (p + N) )
//! ```
//!
//! Negatives are drawn from all images, so a share `tau_plus` of them is of the anchor's own class;
//! what they contribute is taken out. Nothing is detached; where the bound is reached the gradient
//! through N is zero. *Decoupled* contrastive learning, which is called DCL too, is another method.
//!
//! Source: Chuang et al. 2020, arXiv 2007.00224, eq. 7 and 8, and the authors' code for the mean.

use super::negatives::Anchors;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Keep;

/// Settings of [`dcl`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dcl {
    /// What similarities are divided by.
    pub temperature: f64,
    /// The share of negatives of the anchor's own class, below 1; with 0 the loss is NT-Xent.
    pub tau_plus: f64,
}

impl Default for Dcl {
    /// The authors' settings for CIFAR-10 and STL-10.
    fn default() -> Dcl {
        Dcl { temperature: 0.5, tau_plus: 0.1 }
    }
}

/// Contrasts the two views of each image against the others, debiased: DCL.
///
/// The formula is at the top of this file's documentation: `-log(p / (p + N))` with the estimate
/// `N` of the true negatives.
///
/// Shapes: `z0, z1: [N, D]` → `[]`. Differentiable to any order in both.
///
/// Formula: dcl-2.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`.
///
/// # Example
/// Without debiasing it is NT-Xent:
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::{Dcl, dcl, nt_xent};
/// use dimask::tensor::Tensor;
///
/// let z0 = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, 2.0], &[0.5, -1.0]]));
/// let z1 = Var::constant(Tensor::<f64>::from_rows(&[&[1.5, 2.0], &[0.2, -1.0]]));
/// let plain = dcl(&z0, &z1, &Dcl { temperature: 0.5, tau_plus: 0.0 });
/// assert!((plain.value().item() - nt_xent(&z0, &z1, 0.5).value().item()).abs() < 1e-12);
/// ```
///
/// Source: Chuang et al. 2020, arXiv 2007.00224, eq. 7 and 8.
#[track_caller]
pub fn dcl<T: Real>(z0: &Var<T>, z1: &Var<T>, settings: &Dcl) -> Var<T> {
    let anchors = Anchors::new("dcl", z0, z1, settings.temperature);
    let negatives = (&anchors.all + &anchors.excluded).exp().sum_axes(&[1], Keep::Keep);
    anchors.loss(&negatives, settings.tau_plus)
}
