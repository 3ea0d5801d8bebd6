//! Layer-wise adaptive rates: a step's length in proportion to the layer's weights.

use super::Scope;
use crate::autodiff::Var;
use crate::kernels::Real;

/// Settings of LARS.
///
/// Source: You et al. 2017, arXiv 1708.03888.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// Learning rate of this step.
    pub lr: f64,
    /// How much of the buffer the next step keeps.
    pub momentum: f64,
    /// Added to the gradient as `weight_decay · p`.
    pub weight_decay: f64,
    /// The trust coefficient: the share of a layer's length that a step at rate 1 may take.
    pub eta: f64,
    /// Which of the published forms.
    pub form: LarsForm,
    /// The parameters with weight decay and local rates; the others take plain momentum steps.
    pub scope: Scope,
}

/// The published forms of LARS.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LarsForm {
    /// Barlow Twins' code: the rate is applied after the momentum.
    Outside,
    /// Google's SimCLR: the rate is applied before the momentum, so that a buffer remembers the
    /// rates it was made with.
    Inside,
    /// solo-learn: other norms in the local rate, and a bound on it.
    Clipped {
        /// Added to the local rate's denominator.
        eps: f64,
        /// Whether the bound is there.
        clip: Clip,
    },
}

/// Whether LARS's local rate is at most the global one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clip {
    /// The local rate is `min(local / lr, 1)`.
    On,
    /// The local rate is what it is.
    Off,
}

impl Lars {
    /// One step. With `d = g + weight_decay · p`:
    ///
    /// - `Outside`: `d ← eta |p| / |d| · d`, `b ← momentum · b + d`, `p ← p - lr · b`;
    /// - `Inside`: the same `d`, `b ← momentum · b + lr · d`, `p ← p - b`;
    /// - `Clipped`: `d ← local · d` with `local = eta |p| / (|g| + weight_decay |p| + eps)`, maybe
    ///   bounded as [`Clip`] says, then as `Outside`.
    ///
    /// Where a norm is zero, and outside of the scope, `d` stays as it is; outside of the scope it
    /// is `g`.
    pub(super) fn update<T: Real>(
        &self,
        p: &Var<T>,
        g: &Var<T>,
        b: &Var<T>,
    ) -> (Var<T>, Vec<Var<T>>) {
        let d = match self.scope.contains(p.shape()) {
            true => self.scaled(p, g),
            false => g.clone(),
        };
        match self.form {
            LarsForm::Inside => {
                let b = b.scale(self.momentum) + d.scale(self.lr);
                (p - &b, vec![b])
            }
            LarsForm::Outside | LarsForm::Clipped { .. } => {
                let b = b.scale(self.momentum) + d;
                (p - b.scale(self.lr), vec![b])
            }
        }
    }

    /// The decayed gradient at the local rate.
    fn scaled<T: Real>(&self, p: &Var<T>, g: &Var<T>) -> Var<T> {
        let d = g + p.scale(self.weight_decay);
        let LarsForm::Clipped { eps, clip } = self.form else {
            return match (length(p), length(&d)) {
                (Some(p), Some(length)) => &d * &(p.scale(self.eta) / length),
                _ => d,
            };
        };
        let (Some(p), Some(g)) = (length(p), length(g)) else { return d };
        let local = p.scale(self.eta) / (g + p.scale(self.weight_decay).shift(eps));
        match clip {
            Clip::Off => &d * &local,
            Clip::On if local.item() < self.lr => &d * &local.scale(1.0 / self.lr),
            Clip::On => d,
        }
    }
}

/// The Euclidean norm, where it has a derivative.
fn length<T: Real>(x: &Var<T>) -> Option<Var<T>> {
    let length = x.square().sum().sqrt();
    (length.item() > 0.0).then_some(length)
}
