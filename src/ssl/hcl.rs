//! HCL: contrast with the negatives that are hard to tell apart.
//!
//! As DCL, but a negative counts in proportion to `w = exp(beta o·oⱼ / t)`:
//!
//! ```text
//! p = exp(o·o⁺ / t),   R = Σ wⱼ exp(o·oⱼ / t) / mean wⱼ
//! N = max( (R - tau_plus n p) / (1 - tau_plus),  n e^(-1/t) )
//! loss = mean over anchors of -log( p / (p + N) )
//! ```
//!
//! Nothing is detached, the weights neither; where the bound is reached the gradient through N is
//! zero. `R = n exp(lse((1 + beta) o·oⱼ / t) - lse(beta o·oⱼ / t))`, which is how it is computed.
//!
//! Source: Robinson et al. 2020, arXiv 2010.04592, section 3, and the authors' code, whose weights
//! have the temperature in them.

use super::negatives::Anchors;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Keep;

/// Settings of [`hcl`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hcl {
    /// What similarities are divided by.
    pub temperature: f64,
    /// The share of negatives of the anchor's own class, below 1.
    pub tau_plus: f64,
    /// How much more a hard negative counts; with 0 the loss is DCL.
    pub beta: f64,
}

impl Default for Hcl {
    /// The authors' settings for STL-10.
    fn default() -> Hcl {
        Hcl { temperature: 0.5, tau_plus: 0.1, beta: 1.0 }
    }
}

/// Contrasts the two views of each image against hard negatives, debiased: HCL.
///
/// The formula is at the top of this file's documentation: `-log(p / (p + N))` with the estimate
/// `N` of the true negatives, each weighted by its own similarity.
///
/// Shapes: `z0, z1: [N, D]` → `[]`. Differentiable to any order in both.
///
/// Formula: hcl-1.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`.
///
/// # Example
/// Without weights it is DCL:
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::{Dcl, Hcl, dcl, hcl};
/// use dimask::tensor::Tensor;
///
/// let z0 = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, 2.0], &[0.5, -1.0]]));
/// let z1 = Var::constant(Tensor::<f64>::from_rows(&[&[1.5, 2.0], &[0.2, -1.0]]));
/// let even = hcl(&z0, &z1, &Hcl { beta: 0.0, ..Hcl::default() });
/// let plain = dcl(&z0, &z1, &Dcl::default());
/// assert!((even.value().item() - plain.value().item()).abs() < 1e-12);
/// ```
///
/// Source: Robinson et al. 2020, arXiv 2010.04592, section 3.
#[track_caller]
pub fn hcl<T: Real>(z0: &Var<T>, z1: &Var<T>, settings: &Hcl) -> Var<T> {
    let Hcl { temperature, tau_plus, beta } = *settings;
    let anchors = Anchors::new("hcl", z0, z1, temperature);
    // The exclusion comes after the factor, which may be 0.
    let weighed =
        |factor: f64| (anchors.all.scale(factor) + &anchors.excluded).logsumexp(1, Keep::Keep);
    let ratio = (weighed(1.0 + beta) - weighed(beta)).exp();
    anchors.loss(&ratio.scale(anchors.count), tau_plus)
}
