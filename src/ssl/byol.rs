//! BYOL: predict a slow copy's projection of the other view.
//!
//! ```text
//! loss = mean over images of |n(p0) - n(target1)|² + |n(p1) - n(target0)|²,   n(z) = z / |z|
//! ```
//!
//! `p` is the prediction of the trained network, `target` the projection by a network whose weights
//! are a moving average of the trained one's. The targets are detached: here they are plain values.
//!
//! Source: Grill et al. 2020, arXiv 2006.07733, eq. 2.

use super::{check_anchors, check_views};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Predicts each view's target projection from the other view: BYOL.
///
/// The mean over images of the sum of both directions, each `2 - 2 cos(p, target)`: between 0 and
/// 8, and 4 where prediction and target have nothing to do with each other.
///
/// Shapes: `p0, p1, target0, target1: [N, D]` → `[]`. Differentiable to any order in `p0`, `p1`.
///
/// Formula: byol-1.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`.
///
/// # Example
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::byol;
/// use dimask::tensor::Tensor;
///
/// let p = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, 2.0]]));
/// let target = Tensor::from_rows(&[&[-2.0, 1.0]]);
/// assert!((byol(&p, &p, &target, &target).value().item() - 4.0).abs() < 1e-12);
/// ```
///
/// Source: Grill et al. 2020, arXiv 2006.07733, eq. 2 and the sum below it.
#[track_caller]
pub fn byol<T: Real>(p0: &Var<T>, p1: &Var<T>, target0: &Tensor<T>, target1: &Tensor<T>) -> Var<T> {
    let [n, _] = check_views("byol", p0, p1);
    check_anchors("byol: [prediction, target]", p0, [target0, target1]);
    let cosines = |p: &Var<T>, target: &Tensor<T>| {
        let target = Var::constant(target.clone()).l2_normalize(1, 1e-12);
        (&p.l2_normalize(1, 1e-12) * &target).sum()
    };
    let both = cosines(p0, target1) + cosines(p1, target0);
    both.scale(-2.0 / n as f64).shift(4.0)
}
