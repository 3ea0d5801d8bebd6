//! Layer-wise adaptive rates: a step's length in proportion to the layer's weights.

use super::Scope;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

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
    ///
    /// Formula: lars-1.
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

    /// The same in place, in the memory of parameter and buffer: the decayed gradient, its norm and
    /// the parameter's, and one pass.
    pub(super) fn step<T: Real>(&self, p: &mut Tensor<T>, g: &Tensor<T>, b: &mut Tensor<T>) {
        let (d, local) = if self.scope.contains(p.shape()) {
            let mut d = g.clone();
            d.add_scaled(T::from_f64(self.weight_decay), p);
            let local = self.local_rate(p, g, &d);
            (d, local)
        } else {
            (g.clone(), 1.0)
        };
        // The rate comes before the momentum or after it.
        let (before, after) = match self.form {
            LarsForm::Inside => (self.lr * local, 1.0),
            LarsForm::Outside | LarsForm::Clipped { .. } => (local, self.lr),
        };
        let [before, after, momentum] = [before, after, self.momentum].map(T::from_f64);
        p.update_with(b, &d, move |p, b, d| {
            let b = momentum * b + before * d;
            (p - after * b, b)
        });
    }

    /// What [`Lars::scaled`] multiplies the decayed gradient `d` by.
    ///
    /// Formula: lars-2.
    fn local_rate<T: Real>(&self, p: &Tensor<T>, g: &Tensor<T>, d: &Tensor<T>) -> f64 {
        let length = |x: &Tensor<T>| x.sum_of_squares().to_f64().sqrt();
        let clipped = matches!(self.form, LarsForm::Clipped { .. });
        let [p, g] = [p, if clipped { g } else { d }].map(length);
        if p == 0.0 || g == 0.0 {
            return 1.0;
        }
        match self.form {
            LarsForm::Outside | LarsForm::Inside => self.eta * p / g,
            LarsForm::Clipped { eps, clip } => {
                let local = self.eta * p / (g + self.weight_decay * p + eps);
                match clip {
                    Clip::Off => local,
                    Clip::On => (local / self.lr).min(1.0),
                }
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
