//! What layers are made with: first weights, as torch draws them by default, and a precision.

use rand::Rng;

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::rng::Stream;
use crate::tensor::{Precision, Tensor};

/// Draws a network's first weights; each parameter's draw depends on the seed and its name only.
///
/// So a layer gets the same weights whatever else the network holds, in `f32` and in `f64` up to
/// rounding. It also says what the layers multiply.
#[derive(Clone, Copy, Debug)]
pub struct Init {
    seed: u64,
    precision: Precision,
}

impl Init {
    /// The first weights under `seed`, of layers that multiply in full precision.
    pub fn new(seed: u64) -> Init {
        Init { seed, precision: Precision::Full }
    }

    /// The same weights, of layers that multiply in another precision if they are large enough to
    /// gain by it: convolutions from 16 channels on both sides, linear layers from 64.
    pub fn with(self, precision: Precision) -> Init {
        Init { precision, ..self }
    }

    /// What a layer multiplies whose inputs and outputs should each be `least`.
    pub(super) fn precision(&self, [inputs, outputs]: [usize; 2], least: usize) -> Precision {
        if inputs.min(outputs) >= least { self.precision } else { Precision::Full }
    }

    /// Uniform on `±1/√fan_in`: torch's default for the weights and biases of linear and
    /// convolution layers (Kaiming-uniform with `a = √5`).
    ///
    /// `fan_in` is the number of inputs that one output adds up: `in` features, or `K·K·C`.
    ///
    /// # Panics
    /// If `fan_in` is 0, or no tensor can have the shape.
    #[track_caller]
    pub fn uniform<T: Real>(&self, name: &str, shape: &[usize], fan_in: usize) -> Var<T> {
        assert!(fan_in > 0, "uniform: {name} of shape {shape:?} has no inputs");
        let bound = 1.0 / (fan_in as f64).sqrt();
        let mut rng = Stream::new(self.seed, &format!("init/{name}")).at(&[]);
        Var::constant(Tensor::from_fn(shape, |_| {
            T::from_f64(bound * (2.0 * rng.random::<f64>() - 1.0))
        }))
    }
}
