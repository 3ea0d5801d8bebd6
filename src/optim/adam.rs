//! Adam and AdamW.

use super::Scope;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Settings of Adam.
///
/// Source: Kingma and Ba 2014, arXiv 1412.6980, algorithm 1; for [`AdamDecay::Decoupled`]
/// Loshchilov and Hutter 2017, arXiv 1711.05101.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate of this step.
    pub lr: f64,
    /// How much of the mean, and of the mean square, the next step keeps.
    pub betas: [f64; 2],
    /// Added to the denominator.
    pub eps: f64,
    /// The weight decay.
    pub weight_decay: f64,
    /// Where it is applied.
    pub decay: AdamDecay,
    /// The parameters with weight decay.
    pub scope: Scope,
}

/// Where Adam's weight decay is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdamDecay {
    /// To the gradient, which the means then see: Adam.
    L2,
    /// To the parameter, apart from the gradient: AdamW.
    Decoupled,
}

/// Keeps the root of a mean square of zero differentiable; far below any `eps`.
const TINY: f64 = 1e-30;

impl Adam {
    /// Step `t`, counted from 1: `m ← β₁ m + (1 - β₁) g`, `v ← β₂ v + (1 - β₂) g²`, then
    /// `p ← p - lr · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps)`.
    ///
    /// Before it `g ← g + weight_decay · p`, or decoupled `p ← (1 - lr · weight_decay) p`.
    ///
    /// Formula: adam-1.
    pub(super) fn update<T: Real>(
        &self,
        p: &Var<T>,
        g: &Var<T>,
        [m, v]: [&Var<T>; 2],
        t: usize,
    ) -> (Var<T>, Vec<Var<T>>) {
        let decay = if self.scope.contains(p.shape()) { self.weight_decay } else { 0.0 };
        let (p, g) = match self.decay {
            AdamDecay::L2 => (p.clone(), g + p.scale(decay)),
            AdamDecay::Decoupled => (p.scale(1.0 - self.lr * decay), g.clone()),
        };
        let [keep, keep_square] = self.betas;
        let m = m.scale(keep) + g.scale(1.0 - keep);
        let v = v.scale(keep_square) + g.square().scale(1.0 - keep_square);
        let [mean, square] = self.betas.map(|beta| 1.0 / (1.0 - beta.powf(t as f64)));
        let root = v.scale(square).shift(TINY).sqrt();
        let step = m.scale(self.lr * mean) / root.shift(self.eps);
        (p - step, vec![m, v])
    }

    /// The same in place, in the memory of the parameter and of its means.
    pub(super) fn step<T: Real>(
        &self,
        p: &mut Tensor<T>,
        g: &Tensor<T>,
        [m, v]: [&mut Tensor<T>; 2],
        t: usize,
    ) {
        let decay = if self.scope.contains(p.shape()) { self.weight_decay } else { 0.0 };
        let [into_gradient, shrink] = match self.decay {
            AdamDecay::L2 => [decay, 1.0],
            AdamDecay::Decoupled => [0.0, 1.0 - self.lr * decay],
        };
        let [mean, square] = self.betas.map(|beta| 1.0 / (1.0 - beta.powf(t as f64)));
        let [into_gradient, shrink, rate, square, eps, tiny] =
            [into_gradient, shrink, self.lr * mean, square, self.eps, TINY].map(T::from_f64);
        let [keep, keep_square] = self.betas.map(T::from_f64);
        let [take, take_square] = self.betas.map(|beta| T::from_f64(1.0 - beta));
        p.update_with2(m, v, g, move |p, m, v, g| {
            let g = g + into_gradient * p;
            let m = keep * m + take * g;
            let v = keep_square * v + take_square * g * g;
            (shrink * p - rate * m / ((square * v + tiny).sqrt() + eps), m, v)
        });
    }
}
