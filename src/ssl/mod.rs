//! The self-supervised losses: pure functions of projections.
//!
//! A loss takes the projections (or predictions) of the two views, `[N, D]` each, row `i` of both
//! from image `i`, and is differentiable to any order in both. What a method compares them with
//! besides is a plain value, found beforehand: BYOL's target projections, NNCLR's neighbours.

mod barlow_twins;
mod byol;
mod dcl;
mod hcl;
mod negatives;
mod nnclr;
mod simclr;

pub use barlow_twins::{BarlowTwins, Normalization, barlow_twins};
pub use byol::byol;
pub use dcl::{Dcl, dcl};
pub use hcl::{Hcl, hcl};
pub use nnclr::{Queue, nnclr};
pub use simclr::nt_xent;

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// A base method's loss with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// [`barlow_twins`].
    BarlowTwins(BarlowTwins),
    /// [`nt_xent`].
    NtXent {
        /// What similarities are divided by.
        temperature: f64,
    },
    /// [`byol`].
    Byol,
    /// [`dcl`].
    Dcl(Dcl),
    /// [`hcl`].
    Hcl(Hcl),
    /// [`nnclr`].
    Nnclr {
        /// What similarities are divided by.
        temperature: f64,
    },
}

impl Loss {
    /// The name of the method that it is the loss of.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::BarlowTwins(_) => "barlow-twins",
            Loss::NtXent { .. } => "simclr",
            Loss::Byol => "byol",
            Loss::Dcl(_) => "dcl",
            Loss::Hcl(_) => "hcl",
            Loss::Nnclr { .. } => "nnclr",
        }
    }

    /// Whether it compares predictions with anchors, and not the views with each other.
    pub fn compares(&self) -> bool {
        matches!(self, Loss::Byol | Loss::Nnclr { .. })
    }

    /// The loss of the two views, `[N, D]` each → `[]`.
    ///
    /// `anchors` belong to view 0 and view 1: for BYOL the target projections, for NNCLR the
    /// neighbours.
    ///
    /// # Panics
    /// As the loss itself does; if anchors are missing, or given to a loss that has none.
    #[track_caller]
    pub fn value<T: Real>(
        &self,
        z0: &Var<T>,
        z1: &Var<T>,
        anchors: Option<&[Tensor<T>; 2]>,
    ) -> Var<T> {
        match (self, anchors) {
            (Loss::BarlowTwins(settings), None) => barlow_twins(z0, z1, settings),
            (Loss::NtXent { temperature }, None) => nt_xent(z0, z1, *temperature),
            (Loss::Byol, Some([target0, target1])) => byol(z0, z1, target0, target1),
            (Loss::Dcl(settings), None) => dcl(z0, z1, settings),
            (Loss::Hcl(settings), None) => hcl(z0, z1, settings),
            (Loss::Nnclr { temperature }, Some([k0, k1])) => nnclr(z0, z1, k0, k1, *temperature),
            (_, None) => panic!("Loss::value: {} has no anchors to compare with", self.name()),
            (_, Some(_)) => panic!("Loss::value: {} compares the views, not anchors", self.name()),
        }
    }

    /// About what the loss is where projections are random and unrelated, of `batch` images and
    /// `width` dimensions: where training starts.
    ///
    /// The contrastive losses tell one of their candidates apart: `ln(2N - 1)`, of NNCLR `ln N`.
    /// BYOL's is 4. Barlow Twins' diagonal costs 1 a dimension, and a little for the rest: its
    /// entries have the variance 1 / N, so that it is
    /// `scale · D (1 + 1 / N + lambda (D - 1) / N)`.
    ///
    /// Formula: start-1.
    pub fn at_start(&self, batch: usize, width: usize) -> f64 {
        let (n, d) = (batch as f64, width as f64);
        match self {
            Loss::BarlowTwins(BarlowTwins { lambda, scale, .. }) => {
                scale * d * (1.0 + 1.0 / n + lambda * (d - 1.0) / n)
            }
            Loss::NtXent { .. } | Loss::Dcl(_) | Loss::Hcl(_) => (2.0 * n - 1.0).ln(),
            Loss::Byol => 4.0,
            Loss::Nnclr { .. } => n.ln(),
        }
    }
}

/// The two lengths of both views' projections.
#[track_caller]
fn check_views<T: Real>(name: &str, z0: &Var<T>, z1: &Var<T>) -> [usize; 2] {
    let shapes = [z0.shape(), z1.shape()];
    let fits = shapes[0] == shapes[1] && shapes[0].len() == 2 && shapes[0][0] > 0;
    assert!(fits, "{name}: [view 0, view 1] are {shapes:?}, should be the same [N, D]");
    [shapes[0][0], shapes[0][1]]
}

/// Refuses anchors of another shape than the first view's predictions; `what` names both.
#[track_caller]
fn check_anchors<T: Real>(what: &str, p: &Var<T>, anchors: [&Tensor<T>; 2]) {
    for anchor in anchors {
        let shapes = [p.shape(), anchor.shape()];
        assert!(shapes[0] == shapes[1], "{what} are {shapes:?}");
    }
}

/// A constant that, added to similarities `[rows, rows]`, takes out those of row `i` with row
/// `i + shift` (modulo `rows`) for each shift: their exponential is zero in both float types.
fn excluding<T: Real>(rows: usize, shifts: &[usize]) -> Tensor<T> {
    let mut terms = Tensor::zeros(&[rows, rows]);
    for (i, row) in terms.make_mut().chunks_exact_mut(rows.max(1)).enumerate() {
        shifts.iter().for_each(|shift| row[(i + shift) % rows] = T::from_f64(-1e9));
    }
    terms
}

#[cfg(test)]
pub(crate) mod tests;
