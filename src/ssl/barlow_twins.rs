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
    let [rows, d] = check_views("barlow_twins", z0, z1);
    assert!(rows >= 2, "barlow_twins: a batch of {rows} has no variance");
    let n = rows as f64;
    let (eps, unbias) = match settings.normalization {
        // Standardised with N - 1 instead of N, each view is smaller by √((N - 1) / N).
        Normalization::Unbiased => (0.0, (n - 1.0) / n),
        Normalization::BatchNorm { eps } => (eps, 1.0),
    };
    let (a, b) = (z0.standardize(eps, 1).y.scale(unbias / n), z1.standardize(eps, 1).y);
    let diagonal = (&a * &b).sum_axes(&[0], Keep::Drop);
    let invariance = diagonal.shift(-1.0).square().sum();
    let squares = if 2 * rows <= d { squares_by_rows(&a, &b) } else { squares(&a, &b) };
    let redundancy = squares - diagonal.dot(&diagonal);
    (invariance + redundancy.scale(settings.lambda)).scale(settings.scale)
}

/// `Σᵢⱼ cᵢⱼ²` of `c = aᵀ b`: `6 N D²` operations with the derivative.
fn squares<T: Real>(a: &Var<T>, b: &Var<T>) -> Var<T> {
    let c = a.matmul_tn(b);
    c.dot(&c)
}

/// The same by the rows' inner products, `Σᵢⱼ cᵢⱼ² = tr(bᵀ a aᵀ b) = Σₙₘ (a aᵀ)ₙₘ (b bᵀ)ₙₘ`:
/// `6 N² D` operations with the derivative, since both Gram matrices are symmetric.
///
/// Formula: barlow-3.
fn squares_by_rows<T: Real>(a: &Var<T>, b: &Var<T>) -> Var<T> {
    a.matmul_nt(a).dot(&b.matmul_nt(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{grad, grad_graph};
    use crate::tensor::Tensor;

    // Formula: barlow-3.
    #[test]
    fn the_sum_of_squares_and_its_derivatives_are_the_same_by_rows() {
        let leaf = |shift: f64| {
            let value = |i: usize| ((i * i) as f64 * 0.37 + shift).sin();
            Var::leaf(Tensor::<f64>::from_fn(&[5, 13], value))
        };
        let (a, b) = (leaf(0.1), leaf(1.3));
        let all = |loss: Var<f64>| {
            let value = loss.value().item();
            let first = grad_graph(&loss, &[&a, &b]);
            let along = first[0].dot(&b) + first[1].square().sum();
            let firsts = first.iter().map(|g| g.value().clone()).collect::<Vec<_>>();
            let seconds = grad(along, &[&a, &b]);
            [vec![Tensor::scalar(value)], firsts, seconds].concat()
        };
        for (x, y) in all(squares(&a, &b)).iter().zip(&all(squares_by_rows(&a, &b))) {
            let size = x.as_slice().iter().fold(1.0f64, |most, x| most.max(x.abs()));
            for (x, y) in x.as_slice().iter().zip(y.as_slice()) {
                assert!((x - y).abs() < 1e-13 * size, "{x} {y}");
            }
        }
    }
}
