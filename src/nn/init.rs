//! First weights, as torch draws them by default.

use rand::Rng;

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// Draws a network's first weights; each parameter's draw depends on the seed and its name only.
///
/// So a layer gets the same weights whatever else the network holds, in `f32` and in `f64` up to
/// rounding.
#[derive(Clone, Copy, Debug)]
pub struct Init {
    seed: u64,
}

impl Init {
    /// The first weights under `seed`.
    pub fn new(seed: u64) -> Init {
        Init { seed }
    }

    /// Uniform on `±1/√fan_in`: torch's default for the weights and biases of linear and
    /// convolution layers (Kaiming-uniform with `a = √5`).
    ///
    /// `fan_in` is the number of inputs that one output adds up: `in` features, or `K·K·C`.
    pub fn uniform<T: Real>(&self, name: &str, shape: &[usize], fan_in: usize) -> Var<T> {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let mut rng = Stream::new(self.seed, &format!("init/{name}")).at(&[]);
        Var::constant(Tensor::from_fn(shape, |_| {
            T::from_f64(bound * (2.0 * rng.random::<f64>() - 1.0))
        }))
    }
}
