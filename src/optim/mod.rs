//! Update rules and schedules as pure functions of parameters, gradients and state.
//!
//! State goes in and comes out, so that a trial step is as easy to write as a real one. Each rule
//! is written once, as a differentiable function of one parameter ([`Optimizer::update`]); SGD,
//! which most runs use, has a fast path beside it.

mod adam;
mod ema;
mod lars;
mod optimizer;
mod schedule;
mod sgd;

pub use adam::{Adam, AdamDecay};
pub use ema::ema;
pub use lars::{Clip, Lars, LarsForm};
pub use optimizer::{Optimizer, OptimizerState};
pub use schedule::{cosine, ema_cosine, warmup_cosine};
pub use sgd::Sgd;

use crate::kernels::Real;
use crate::tensor::Tensor;

/// Which parameters weight decay applies to, and LARS's local rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Scope {
    /// Every one.
    #[default]
    All,
    /// Not the 1-D ones: biases and batch-norm's.
    Matrices,
}

impl Scope {
    /// Whether a parameter of this shape is in it.
    pub fn contains(self, shape: &[usize]) -> bool {
        self == Scope::All || shape.len() > 1
    }
}

/// The Euclidean norm of all tensors taken as one vector.
pub fn norm<T: Real>(tensors: &[Tensor<T>]) -> f64 {
    tensors.iter().map(|tensor| tensor.sum_of_squares().to_f64()).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests;
