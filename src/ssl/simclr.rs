//! SimCLR: find an image's other view among all views of the batch.

use super::check_views;
use crate::autodiff::{Reduction, Var};
use crate::kernels::Real;

/// Contrasts the two views of each image against all other views: NT-Xent.
///
/// With the 2N rows `u` of both views divided by their lengths, the loss of anchor `i`, whose other
/// view is `p(i)`, is `-log( exp(uᵢ·uₚ₍ᵢ₎ / t) / Σₖ≠ᵢ exp(uᵢ·uₖ / t) )`, `t` the temperature; the
/// result is the mean over the 2N anchors, which is the mean of the two directions.
/// The positive is one of the 2N - 1 terms of the denominator.
///
/// Shapes: `z0, z1: [N, D]` → `[]`. Differentiable to any order in both.
///
/// Formula: simclr-1.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`.
///
/// # Example
/// One image has no negatives, so nothing is left to learn:
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::nt_xent;
/// use dimask::tensor::Tensor;
///
/// let z0 = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, 2.0]]));
/// let z1 = Var::constant(Tensor::<f64>::from_rows(&[&[3.0, -1.0]]));
/// assert!(nt_xent(&z0, &z1, 0.5).value().item().abs() < 1e-12);
/// ```
///
/// Source: Chen et al. 2020, arXiv 2002.05709, eq. 1.
#[track_caller]
pub fn nt_xent<T: Real>(z0: &Var<T>, z1: &Var<T>, temperature: f64) -> Var<T> {
    let [n, _] = check_views("nt_xent", z0, z1);
    let rows = 2 * n;
    // The temperature's root on both sides: a Gram matrix has a cheaper derivative, and fewer
    // numbers are scaled.
    let u = Var::concat(&[z0, z1], 0).l2_normalize_to((1.0 / temperature).sqrt(), 1, 1e-12);
    let similarity = u.matmul_nt(&u);
    // An anchor is not its own negative.
    let itself: Vec<u32> = (0..rows as u32).collect();
    let other_view: Vec<u32> = (0..rows).map(|i| ((i + n) % rows) as u32).collect();
    similarity.cross_entropy_without(&other_view, &itself, Reduction::Mean)
}
