//! What turns images into features, and the encoders by name.

use super::{Conv4, Init, Layout, Module, Pass, ResNet18, Stem};
use crate::autodiff::Var;
use crate::kernels::Real;

/// A network from a batch to features.
pub trait Encode<T: Real>: Module<T> {
    /// D, the number of features.
    fn features(&self) -> usize;

    /// The number of ranks that the batch lies on, each with equally many rows; the features are
    /// those of all.
    fn ranks(&self) -> usize {
        1
    }

    /// A batch, usually images `[N, H, W, C]`, to features `[N, D]`.
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T>;
}

/// Which encoder to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// [`Conv4`].
    Conv4,
    /// [`ResNet18`].
    ResNet18 {
        /// Channels of the stem and the first stage; 64 as published.
        width: usize,
        /// What follows the stem's batch-norm.
        stem: Stem,
    },
}

/// One of the encoders.
#[derive(Clone, Debug)]
pub enum Encoder<T: Real = f32> {
    /// Four blocks of convolution and pooling.
    Conv4(Conv4<T>),
    /// ResNet-18 for small images.
    ResNet18(Box<ResNet18<T>>),
}

impl<T: Real> Encoder<T> {
    /// The encoder of images with `channels` channels, with first weights from `init`.
    ///
    /// # Panics
    /// If there are no channels, or the width is 0.
    #[track_caller]
    pub fn new(architecture: Architecture, channels: usize, init: &Init) -> Encoder<T> {
        let empty =
            channels == 0 || matches!(architecture, Architecture::ResNet18 { width: 0, .. });
        assert!(!empty, "Encoder::new: {architecture:?} of images of {channels} channels");
        match architecture {
            Architecture::Conv4 => Encoder::Conv4(Conv4::new(channels, init)),
            Architecture::ResNet18 { width, stem } => {
                Encoder::ResNet18(Box::new(ResNet18::new(channels, width, stem, init)))
            }
        }
    }
}

impl<T: Real> Module<T> for Encoder<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        match self {
            Encoder::Conv4(net) => Encoder::Conv4(net.map_params(f)),
            Encoder::ResNet18(net) => Encoder::ResNet18(Box::new(net.map_params(f))),
        }
    }
}

impl<T: Real> Encode<T> for Encoder<T> {
    fn features(&self) -> usize {
        match self {
            Encoder::Conv4(net) => net.features(),
            Encoder::ResNet18(net) => net.features(),
        }
    }

    #[track_caller]
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        match self {
            Encoder::Conv4(net) => net.forward(x, pass),
            Encoder::ResNet18(net) => net.forward(x, pass),
        }
    }
}
