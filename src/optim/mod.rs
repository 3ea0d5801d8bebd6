//! Update rules as pure functions of parameters, gradients and state.
//!
//! State goes in and comes out, so that a trial step is as easy to write as a real one.

mod schedule;
mod sgd;

pub use schedule::cosine;
pub use sgd::{Sgd, SgdState};

use crate::kernels::Real;
use crate::tensor::Tensor;

/// The Euclidean norm of all tensors taken as one vector.
pub fn norm<T: Real>(tensors: &[Tensor<T>]) -> f64 {
    tensors.iter().map(|tensor| tensor.sum_of_squares().to_f64()).sum::<f64>().sqrt()
}
