//! Projectors and predictors: linear layers with batch-norm and ReLU between them.

use super::{BatchNorm, Init, Layout, Linear, Module, Pass};
use crate::autodiff::{Tail, Var};
use crate::kernels::Real;

/// One layer of an [`Mlp`].
#[derive(Clone, Debug)]
pub struct MlpLayer<T: Real = f32> {
    /// The linear map.
    pub linear: Linear<T>,
    /// What normalises its output, if anything does.
    pub norm: Option<BatchNorm<T>>,
}

/// What the last layer of an [`Mlp`] ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MlpEnd {
    /// Batch-norm, as in MetaMask's heads, which are lightly 1.0.8's SimSiam projection.
    #[default]
    BatchNorm,
    /// Its linear map, as in BYOL's projector and in every predictor.
    Linear,
}

/// Linear, batch-norm, ReLU, over and over; the last layer has no ReLU and maybe no batch-norm.
#[derive(Clone, Debug)]
pub struct Mlp<T: Real = f32> {
    /// First to last.
    pub layers: Vec<MlpLayer<T>>,
}

impl<T: Real> Mlp<T> {
    /// The head with `sizes[0]` inputs and `sizes[1..]` outputs layer by layer, each layer with
    /// bias and batch-norm, the last one with what `end` says; layer `i`, counted from 1, is called
    /// `NAME.fci` and `NAME.bni`.
    ///
    /// # Panics
    /// If there is no layer, or a size is 0.
    #[track_caller]
    pub fn new(name: &str, sizes: &[usize], end: MlpEnd, init: &Init) -> Mlp<T> {
        let some = sizes.len() > 1 && !sizes.contains(&0);
        assert!(some, "mlp {name}: {sizes:?} are not the sizes of one layer or more");
        let last = sizes.len() - 2;
        let layer = |(i, pair): (usize, &[usize])| MlpLayer {
            linear: Linear::new(&format!("{name}.fc{}", i + 1), pair[0], pair[1], init),
            norm: (i < last || end == MlpEnd::BatchNorm)
                .then(|| BatchNorm::new(&format!("{name}.bn{}", i + 1), pair[1])),
        };
        Mlp { layers: sizes.windows(2).enumerate().map(layer).collect() }
    }

    /// How many outputs there are of `inputs` inputs; absent if the layers do not fit them or each
    /// other.
    pub(crate) fn outputs(&self, inputs: usize) -> Option<usize> {
        self.layers.iter().try_fold(inputs, |inputs, layer| match layer.linear.weight.shape() {
            &[rows, outputs] if rows == inputs => Some(outputs),
            _ => None,
        })
    }

    /// `x: [N, in]` → `[N, out]`.
    ///
    /// # Panics
    /// As [`Linear::forward`] and [`BatchNorm::forward`] of its layers, which are named.
    #[track_caller]
    pub fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let mut y = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            y = layer.linear.forward(&y);
            let is_last = i + 1 == self.layers.len();
            y = match &layer.norm {
                Some(norm) if is_last => norm.forward(&y, pass),
                Some(norm) => norm.forward_then(&y, Tail::Relu, pass),
                None if is_last => y,
                None => y.relu(),
            };
        }
        y
    }
}

impl<T: Real> Module<T> for Mlp<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let layer = |layer: &MlpLayer<T>| MlpLayer {
            linear: layer.linear.map_params(f),
            norm: layer.norm.as_ref().map(|norm| norm.map_params(f)),
        };
        Mlp { layers: self.layers.iter().map(layer).collect() }
    }
}
