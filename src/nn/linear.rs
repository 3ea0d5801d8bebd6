//! The fully connected layer.

use super::{Init, Layout, Module, enter_layer};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::{Precision, Trans};

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
    ///
    /// # Panics
    /// If there are no inputs or no outputs.
    #[track_caller]
    pub fn new(name: &str, inputs: usize, outputs: usize, init: &Init) -> Linear<T> {
        let some = inputs > 0 && outputs > 0;
        assert!(some, "linear {name}: {inputs} inputs and {outputs} outputs");
        Linear {
            name: name.to_string(),
            weight: init.uniform(&format!("{name}.weight"), &[inputs, outputs], inputs),
            bias: Some(init.uniform(&format!("{name}.bias"), &[outputs], inputs)),
            precision: init.precision([inputs, outputs], 64),
        }
    }

    /// `y = x w` in full precision.
    ///
    /// # Panics
    /// If the weight is not a matrix.
    #[track_caller]
    pub fn unbiased(name: &str, weight: Var<T>) -> Linear<T> {
        assert!(weight.rank() == 2, "linear {name}: weight {:?}", weight.shape());
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
        enter_layer(&self.weight, &self.name);
        let (name, w) = (&self.name, &self.weight);
        let y = x.matmul_broadcast(&format_args!("linear {name}"), w, Trans::Nn, self.precision);
        let Some(bias) = &self.bias else { return y };
        let (b, w) = (bias.shape(), w.shape());
        assert!(b == &w[w.len() - 1..], "linear {name}: bias {b:?}, weight {w:?}");
        y + bias
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
