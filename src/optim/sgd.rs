//! Stochastic gradient descent with momentum.

use super::Scope;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Settings of stochastic gradient descent, as torch means them: weight decay is part of the
/// gradient, nothing dampens the momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate of this step.
    pub lr: f64,
    /// How much of the buffer the next step keeps.
    pub momentum: f64,
    /// Added to the gradient as `weight_decay · p`.
    pub weight_decay: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
    /// The parameters with weight decay.
    pub scope: Scope,
}

impl Default for Sgd {
    /// The published MetaMask settings.
    fn default() -> Sgd {
        Sgd { lr: 1e-3, momentum: 0.9, weight_decay: 5e-4, nesterov: false, scope: Scope::All }
    }
}

impl Sgd {
    /// One step: `d = g + weight_decay · p`, `b ← momentum · b + d`, then `p ← p - lr · b`, or with
    /// nesterov `p ← p - lr · (d + momentum · b)`.
    ///
    /// Formula: sgd-1.
    pub(super) fn update<T: Real>(
        &self,
        p: &Var<T>,
        g: &Var<T>,
        b: &Var<T>,
    ) -> (Var<T>, Vec<Var<T>>) {
        let d = g + p.scale(self.decay(p.shape()));
        let b = b.scale(self.momentum) + &d;
        let step = if self.nesterov { d + b.scale(self.momentum) } else { b.clone() };
        (p - step.scale(self.lr), vec![b])
    }

    /// The same in place, in the memory of parameter and buffer.
    pub(super) fn step<T: Real>(&self, p: &mut Tensor<T>, g: &Tensor<T>, b: &mut Tensor<T>) {
        let [lr, momentum, decay] = self.numbers::<T>(p.shape());
        let nesterov = self.nesterov;
        p.update_with(b, g, move |p, b, g| {
            let d = g + decay * p;
            let b = momentum * b + d;
            (p - lr * if nesterov { d + momentum * b } else { b }, b)
        });
    }

    /// The parameter after a trial step, in the memory of its gradient.
    pub(super) fn trial<T: Real>(&self, p: &Tensor<T>, g: &mut Tensor<T>, b: &Tensor<T>) {
        let [lr, momentum, decay] = self.numbers::<T>(p.shape());
        let nesterov = self.nesterov;
        g.zip_assign2(p, b, move |g, p, b| {
            let d = g + decay * p;
            let b = momentum * b + d;
            p - lr * if nesterov { d + momentum * b } else { b }
        });
    }

    /// The step's derivative in the gradient, the same for every entry.
    pub(super) fn slope(&self) -> f64 {
        -self.lr * if self.nesterov { 1.0 + self.momentum } else { 1.0 }
    }

    fn decay(&self, shape: &[usize]) -> f64 {
        if self.scope.contains(shape) { self.weight_decay } else { 0.0 }
    }

    fn numbers<T: Real>(&self, shape: &[usize]) -> [T; 3] {
        [self.lr, self.momentum, self.decay(shape)].map(T::from_f64)
    }
}
