//! The convolution layer, without bias: a batch-norm always follows it here and brings its own.

use super::{Init, Layout, Module, enter_layer};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Precision;

/// A two-dimensional convolution (cross-correlation) with zero padding and no bias.
#[derive(Clone, Debug)]
pub struct Conv2d<T: Real = f32> {
    /// The layer's name; its parameter is `NAME.weight`.
    pub name: String,
    /// `[K, K, C, O]`.
    pub weight: Var<T>,
    /// The step of the window, the same down and across.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
    /// What is multiplied.
    pub precision: Precision,
}

impl<T: Real> Conv2d<T> {
    /// A layer with a `side x side` window that keeps the size at stride 1 (`padding = side / 2`),
    /// with torch's default first weights.
    ///
    /// # Panics
    /// If there are no inputs or no outputs, or if the window's side or the stride is 0.
    #[track_caller]
    pub fn new(
        name: &str,
        [inputs, outputs]: [usize; 2],
        side: usize,
        stride: usize,
        init: &Init,
    ) -> Conv2d<T> {
        assert!(
            inputs > 0 && outputs > 0 && side > 0 && stride > 0,
            "conv2d {name}: {inputs} inputs, {outputs} outputs, side {side}, stride {stride}"
        );
        let (shape, fan_in) = ([side, side, inputs, outputs], side * side * inputs);
        let weight = init.uniform(&format!("{name}.weight"), &shape, fan_in);
        let (padding, precision) = (side / 2, init.precision([inputs, outputs], 16));
        Conv2d { name: name.to_string(), weight, stride, padding, precision }
    }

    /// `x: [N, H, W, C]` → `[N, H', W', O]` with `H' = (H + 2 padding - K) / stride + 1`, rounded
    /// down.
    ///
    /// # Panics
    /// If `x` is not `[N, H, W, C]`, or the window does not fit into it.
    #[track_caller]
    pub fn forward(&self, x: &Var<T>) -> Var<T> {
        enter_layer(&self.weight, &self.name);
        let Conv2d { name, weight, stride, padding, precision } = self;
        let (stride, padding) = ([*stride; 2], [*padding; 2]);
        x.conv2d_for(&format_args!("conv2d {name}"), weight, stride, padding, *precision)
    }
}

impl<T: Real> Module<T> for Conv2d<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let Conv2d { name, weight, stride, padding, precision } = self;
        Conv2d {
            name: name.clone(),
            weight: f(&format!("{name}.weight"), weight, Layout::Conv),
            stride: *stride,
            padding: *padding,
            precision: *precision,
        }
    }
}
