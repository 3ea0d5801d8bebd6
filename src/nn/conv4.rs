//! The small encoder: four blocks of convolution and pooling.

use super::{BatchNorm, Conv2d, Encode, Init, Layout, Module, Pass};
use crate::autodiff::{Tail, Var};
use crate::kernels::Real;

/// Output channels of the four blocks.
const CHANNELS: [usize; 4] = [32, 64, 128, 256];

/// Four times 3x3 convolution, batch-norm, ReLU, 2x2 max-pool; then the mean over space: D = 256.
///
/// Parameters have the names of a torch `Sequential` of these layers: `0.weight` for the first
/// convolution, `1.weight` for its batch-norm, then `4`, `5`, `8`, `9`, `12`, `13`.
#[derive(Clone, Debug)]
pub struct Conv4<T: Real = f32> {
    blocks: Vec<(Conv2d<T>, BatchNorm<T>)>,
}

impl<T: Real> Conv4<T> {
    /// The encoder of images with `channels` channels (1 or 3, say).
    ///
    /// # Panics
    /// If there are no channels.
    #[track_caller]
    pub fn new(channels: usize, init: &Init) -> Conv4<T> {
        assert!(channels > 0, "conv4: images of no channels");
        let mut inputs = channels;
        let block = |(i, &outputs): (usize, &usize)| {
            let conv = Conv2d::new(&format!("{}", 4 * i), [inputs, outputs], 3, 1, init);
            inputs = outputs;
            (conv, BatchNorm::new(&format!("{}", 4 * i + 1), outputs))
        };
        Conv4 { blocks: CHANNELS.iter().enumerate().map(block).collect() }
    }
}

impl<T: Real> Module<T> for Conv4<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let block = |(conv, norm): &(Conv2d<T>, BatchNorm<T>)| {
            let conv = conv.map_params(f);
            (conv, norm.map_params(f))
        };
        Conv4 { blocks: self.blocks.iter().map(block).collect() }
    }
}

impl<T: Real> Encode<T> for Conv4<T> {
    fn features(&self) -> usize {
        CHANNELS[3]
    }

    #[track_caller]
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let mut y = x.clone();
        for (conv, norm) in &self.blocks {
            // The ReLU of a maximum is the maximum of the ReLUs, for a quarter of the work.
            y = norm.forward_then(&conv.forward(&y), Tail::MaxPoolRelu, pass);
        }
        y.global_avg_pool2d()
    }
}
