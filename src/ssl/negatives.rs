//! What DCL and HCL share: an anchor, its positive, its negatives, and the debiased loss of them.

use super::{check_views, excluding};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Keep;

/// Similarities of the 2N unit rows of both views over the temperature, less a constant a row.
///
/// The constant is the row's largest similarity, so that exponentials stay in range at any
/// temperature; the loss does not see it.
pub(super) struct Anchors<T: Real> {
    /// Of each anchor with its other view, `[2N, 1]`.
    pub positive: Var<T>,
    /// Of each anchor with all, `[2N, 2N]`.
    pub all: Var<T>,
    /// Added to `all`, it takes the anchor itself and its positive out: their exponential is zero.
    pub excluded: Var<T>,
    /// How many negatives an anchor has: 2N - 2.
    pub count: f64,
    /// The least that the exponentials of `count` negatives can sum up to, `[2N, 1]`.
    least: Var<T>,
}

impl<T: Real> Anchors<T> {
    /// The anchors of two views' projections, `[N, D]` each.
    #[track_caller]
    pub(super) fn new(name: &str, z0: &Var<T>, z1: &Var<T>, temperature: f64) -> Anchors<T> {
        let [n, _] = check_views(name, z0, z1);
        let rows = 2 * n;
        let u = Var::concat(&[z0, z1], 0).l2_normalize_to((1.0 / temperature).sqrt(), 1, 1e-12);
        let similarity = u.matmul_nt(&u);
        let partner = |i: usize| (i + n) % rows;
        let itself = excluding(rows, &[0]);
        let (largest, _) = (similarity.value() + &itself).max_axis(1, Keep::Keep);
        let count = (rows - 2) as f64;
        let least =
            largest.map(|m| T::from_f64(count) * (T::from_f64(-1.0 / temperature) - m).exp());
        let all = similarity - Var::constant(largest);
        let partners: Vec<u32> = (0..rows).map(|i| partner(i) as u32).collect();
        Anchors {
            positive: all.gather(1, &partners, &[rows, 1]),
            all,
            excluded: Var::constant(excluding(rows, &[0, n])),
            count,
            least: Var::constant(least),
        }
    }

    /// The mean over anchors of `-log(p / (p + N))`, `N` the debiased estimate of the negatives.
    ///
    /// With `p` the positive's exponential, `negatives` the sum of the negatives' in some measure
    /// (`[2N, 1]`) and `tau_plus` the share of them that are false:
    /// `N = max((negatives - tau_plus · count · p) / (1 - tau_plus), count · e^(-1 / t))`.
    ///
    /// Formula: dcl-1.
    pub(super) fn loss(&self, negatives: &Var<T>, tau_plus: f64) -> Var<T> {
        let p = self.positive.exp();
        let debiased = negatives - &p.scale(tau_plus * self.count);
        let above = (debiased.scale(1.0 / (1.0 - tau_plus)) - &self.least).relu();
        let estimate = above + &self.least;
        ((p + estimate).ln() - &self.positive).mean()
    }
}
