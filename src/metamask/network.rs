//! What is trained: an encoder and its heads.

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Encode, Init, Layout, Mlp, Module};

/// The projections that the losses look at; both take the masked features.
#[derive(Clone, Debug)]
pub struct Heads<T: Real = f32> {
    /// For the redundancy loss; absent where a base method trains alone.
    pub redundancy: Option<Mlp<T>>,
    /// For the base method's loss.
    pub base: Mlp<T>,
}

/// An encoder and its heads: everything but the mask.
///
/// Parameters have the encoder's own names, then `redundancy.fc1.weight` and so on, then
/// `base.fc1.weight` and so on, in this order.
#[derive(Clone, Debug)]
pub struct Network<T: Real, E> {
    /// Images to features.
    pub encoder: E,
    /// Masked features to projections.
    pub heads: Heads<T>,
}

impl<T: Real, E: Encode<T>> Network<T, E> {
    /// The network with heads of the given layer widths, hidden ones first and the projection last.
    ///
    /// MetaMask's published widths are `[2048, 256]` for the base method's head and
    /// `[2048, 2048, 2048]` for the redundancy head.
    pub fn new(encoder: E, base: &[usize], redundancy: Option<&[usize]>, init: &Init) -> Self {
        let features = encoder.features();
        let head = |name: &str, widths: &[usize]| {
            let sizes: Vec<usize> = [features].iter().chain(widths).copied().collect();
            Mlp::new(name, &sizes, init)
        };
        let redundancy = redundancy.map(|widths| head("redundancy", widths));
        Network { encoder, heads: Heads { redundancy, base: head("base", base) } }
    }
}

impl<T: Real> Module<T> for Heads<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let redundancy = self.redundancy.as_ref().map(|head| head.map_params(f));
        Heads { redundancy, base: self.base.map_params(f) }
    }
}

impl<T: Real, E: Module<T>> Module<T> for Network<T, E> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let encoder = self.encoder.map_params(f);
        Network { encoder, heads: self.heads.map_params(f) }
    }
}
