//! Barlow Twins: the cross-correlation of two views' features should be the identity.

use super::check_views;
use crate::autodiff::{Keep, Var};
use crate::kernels::Real;

/// How a feature is standardised over the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Normalization {
    /// Divide by the standard deviation with `N - 1`, nothing added to it: MetaMask's choice.
    ///
    /// A feature that is the same for the whole batch gives NaN.
    Unbiased,
    /// Divide by `√(var + eps)` with the biased variance: the authors' choice.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
    },
}

/// Settings of [`barlow_twins`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BarlowTwins {
    /// Weight of the off-diagonal entries.
    pub lambda: f64,
    /// How features are standardised.
    pub normalization: Normalization,
    /// Factor on the whole loss; `1 / D` makes it independent of the projection's width.
    pub scale: f64,
}

impl Default for BarlowTwins {
    /// MetaMask's redundancy loss: unbiased, `lambda` 0.005, unscaled.
    fn default() -> BarlowTwins {
        BarlowTwins { lambda: 5e-3, normalization: Normalization::Unbiased, scale: 1.0 }
    }
}

/// Decorrelates the features of two views: Barlow Twins.
///
/// With `z` standardised feature by feature over the batch and `c = z0ᵀ z1 / N`, the loss is
/// `scale · (Σᵢ (1 - cᵢᵢ)² + lambda · Σᵢ≠ⱼ cᵢⱼ²)`.
/// With [`Normalization::Unbiased`] `cᵢᵢ` is at most `(N - 1) / N`, so the loss is at least
/// `scale · D / N²`.
///
/// Shapes: `z0, z1: [N, D]` → `[]`. Differentiable to any order in both.
///
/// Formulas: barlow-1, barlow-2.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`, or if `N < 2` (a batch of one has no variance).
///
/// # Example
/// Two identical views cost only their redundancy:
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::{BarlowTwins, Normalization, barlow_twins};
/// use dimask::tensor::Tensor;
///
/// let z = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, -1.0], &[-1.0, 1.0]]));
/// let normalization = Normalization::BatchNorm { eps: 1e-5 };
/// let settings = BarlowTwins { lambda: 0.5, normalization, scale: 1.0 };
/// // Both features are equal up to sign: c₀₁ = c₁₀ = -1.
/// let loss = barlow_twins(&z, &z, &settings);
/// assert!((loss.value().item() - 1.0).abs() < 1e-4);
/// ```
///
/// Source: Zbontar et al. 2021, arXiv 2103.03230, eq. 1.
#[track_caller]
pub fn barlow_twins<T: Real>(z0: &Var<T>, z1: &Var<T>, settings: &BarlowTwins) -> Var<T> {
    let [n, _] = check_views("barlow_twins", z0, z1);
    assert!(n >= 2, "barlow_twins: a batch of {n} has no variance");
    let n = n as f64;
    let (eps, unbias) = match settings.normalization {
        // Standardised with N - 1 instead of N, each view is smaller by √((N - 1) / N).
        Normalization::Unbiased => (0.0, (n - 1.0) / n),
        Normalization::BatchNorm { eps } => (eps, 1.0),
    };
    let (a, b) = (z0.standardize(eps, 1).y.scale(unbias / n), z1.standardize(eps, 1).y);
    let c = a.matmul_tn(&b);
    let diagonal = (&a * &b).sum_axes(&[0], Keep::Drop);
    let invariance = diagonal.shift(-1.0).square().sum();
    let redundancy = c.dot(&c) - diagonal.dot(&diagonal);
    (invariance + redundancy.scale(settings.lambda)).scale(settings.scale)
}
