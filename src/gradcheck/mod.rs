//! Derivatives checked against differences: every operation, every loss, and the mask's gradient of
//! every method.
//!
//! The tables are what the crate's own tests run; [`check`](crate::autodiff::check) does the
//! comparing, and works for a user's function as well.

mod losses;
mod methods;
mod ops;

pub use losses::losses;
pub use methods::{MaskCheck, Setting, Smooth, smooth};
pub use ops::{COMPOSED, operations};

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::autodiff::Var;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// One function and inputs to try it on.
pub struct Row {
    /// What is tried.
    pub name: &'static str,
    /// What it is a row of: an operation by its name in [`OP_NAMES`](crate::autodiff::OP_NAMES) or
    /// [`COMPOSED`], or a method by the name of its loss.
    pub op: &'static str,
    /// The inputs, away from the function's kinks.
    pub inputs: Vec<Tensor<f64>>,
    /// The function.
    pub f: Box<Function>,
}

/// A function of some tensors that can be differentiated to any order.
pub type Function = dyn Fn(&[Var<f64>]) -> Var<f64>;

/// Fixed pseudo-random inputs.
struct Numbers(ChaCha8Rng);

impl Numbers {
    fn new(seed: u64) -> Numbers {
        Numbers(Stream::new(seed, "gradcheck").at(&[]))
    }

    /// Entries uniform in `[low, high)`.
    fn uniform(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor<f64> {
        Tensor::from_fn(shape, |_| low + (high - low) * self.0.random::<f64>())
    }

    /// Entries pairwise at least `gap` apart and nowhere nearer to zero.
    fn spread(&mut self, shape: &[usize], gap: f64) -> Tensor<f64> {
        let size: usize = shape.iter().product();
        let mut ranks: Vec<usize> = (0..size).collect();
        ranks.shuffle(&mut self.0);
        let middle = (size as f64 - 1.0) / 2.0 + 0.25;
        Tensor::from_fn(shape, |i| gap * 2.0 * (ranks[i] as f64 - middle))
    }
}
