//! The fully connected layer.

use super::{Init, Layout, Module};
use crate::autodiff::{Var, watch};
use crate::kernels::Real;
use crate::tensor::Precision;

/// `y = x w + b`.
#[derive(Clone, Debug)]
pub struct Linear<T: Real = f32> {
    /// The layer's name; its parameters are `NAME.weight` and `NAME.bias`.
    pub name: String,
    /// `[in, out]`.
    pub weight: Var<T>,
    /// `[out]`, if there is one.
    pub bias: Option<Var<T>>,
    /// What is multiplied.
    pub precision: Precision,
}

impl<T: Real> Linear<T> {
    /// A layer with a bias and torch's default first weights.
    pub fn new(name: &str, inputs: usize, outputs: usize, init: &Init) -> Linear<T> {
        Linear {
            name: name.to_string(),
            weight: init.uniform(&format!("{name}.weight"), &[inputs, outputs], inputs),
            bias: Some(init.uniform(&format!("{name}.bias"), &[outputs], inputs)),
            precision: init.precision([inputs, outputs], 64),
        }
    }

    /// `y = x w` in full precision.
    pub fn unbiased(name: &str, weight: Var<T>) -> Linear<T> {
        Linear { name: name.to_string(), weight, bias: None, precision: Precision::Full }
    }

    /// `x: [N, in]` → `[N, out]`.
    ///
    /// Formula: linear-1.
    ///
    /// # Panics
    /// If `x` does not have `in` columns.
    #[track_caller]
    pub fn forward(&self, x: &Var<T>) -> Var<T> {
        watch::layer(&self.name);
        let y = x.matmul_with(&self.weight, self.precision);
        match &self.bias {
            Some(bias) => y + bias,
            None => y,
        }
    }
}

impl<T: Real> Module<T> for Linear<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let Linear { name, weight, bias, precision } = self;
        Linear {
            name: name.clone(),
            weight: f(&format!("{name}.weight"), weight, Layout::Linear),
            bias: bias.as_ref().map(|bias| f(&format!("{name}.bias"), bias, Layout::Vector)),
            precision: *precision,
        }
    }
}
