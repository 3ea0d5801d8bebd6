//! What is trained: an encoder and its heads.

use super::{Mask, Objective};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Encode, Init, Layout, Mlp, MlpEnd, Module, Pass};
use crate::ssl::Loss;
use crate::tensor::Tensor;

/// The projections that the losses look at; they take the masked features.
#[derive(Clone, Debug)]
pub struct Heads<T: Real = f32> {
    /// For the redundancy loss; absent where there is none.
    pub redundancy: Option<Mlp<T>>,
    /// For the base method's loss: its projector.
    pub base: Mlp<T>,
    /// On top of the projector, in the methods that predict one view from the other.
    pub predictor: Option<Mlp<T>>,
}

/// The widths of the heads' layers, hidden ones first and the projection last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadShapes {
    /// Of the projector.
    pub base: Vec<usize>,
    /// How the projector ends.
    pub end: MlpEnd,
    /// Of the predictor, which ends linear; empty: none.
    pub predictor: Vec<usize>,
    /// Of the redundancy head; empty: none.
    pub redundancy: Vec<usize>,
}

impl Default for HeadShapes {
    /// `MetaMask`'s over `SimCLR`, as published.
    fn default() -> HeadShapes {
        HeadShapes {
            base: vec![2048, 256],
            end: MlpEnd::BatchNorm,
            predictor: vec![],
            redundancy: vec![2048; 3],
        }
    }
}

/// What the base method's loss is computed from, of two stacked views.
#[derive(Clone, Debug)]
pub struct Projections<T: Real> {
    /// The projector's output, `[2N, P]`.
    pub z: Var<T>,
    /// The predictor's output, or `z` where there is none.
    pub p: Var<T>,
}

impl<T: Real> Heads<T> {
    /// The base method's projections of (masked) features `[2N, D]`.
    ///
    /// # Panics
    /// If the features do not fit the head: the layer is named.
    #[track_caller]
    pub fn project(&self, features: &Var<T>, pass: &mut Pass<'_, T>) -> Projections<T> {
        let z = self.base.forward(features, pass);
        let p = match &self.predictor {
            Some(predictor) => predictor.forward(&z, pass),
            None => z.clone(),
        };
        Projections { z, p }
    }
}

/// An encoder and its heads: everything but the mask.
///
/// Parameters have the encoder's own names, then `redundancy.fc1.weight` and so on, then
/// `base.fc1.weight` and so on, then `predictor.fc1.weight` and so on, in this order.
#[derive(Clone, Debug)]
pub struct Network<T: Real, E> {
    /// Images to features.
    pub encoder: E,
    /// Masked features to projections.
    pub heads: Heads<T>,
}

impl<T: Real, E: Encode<T>> Network<T, E> {
    /// The network with heads of the given shapes.
    ///
    /// # Panics
    /// If the projector has no layer, or something has the width 0.
    #[track_caller]
    pub fn new(encoder: E, shapes: &HeadShapes, init: &Init) -> Self {
        assert!(!shapes.base.is_empty(), "Network::new: a projector has at least one layer");
        let widths = || shapes.base.iter().chain(&shapes.predictor).chain(&shapes.redundancy);
        let some = encoder.features() > 0 && widths().all(|&width| width > 0);
        assert!(some, "Network::new: {shapes:?} on {} features", encoder.features());
        let head = |name: &str, inputs: usize, widths: &[usize], end: MlpEnd| {
            let sizes: Vec<usize> = [inputs].iter().chain(widths).copied().collect();
            (!widths.is_empty()).then(|| Mlp::new(name, &sizes, end, init))
        };
        let features = encoder.features();
        let projection = shapes.base[shapes.base.len() - 1];
        let redundancy = head("redundancy", features, &shapes.redundancy, MlpEnd::BatchNorm);
        let base = head("base", features, &shapes.base, shapes.end);
        let predictor = head("predictor", projection, &shapes.predictor, MlpEnd::Linear);
        let base = base.expect("checked above");
        Network { encoder, heads: Heads { redundancy, base, predictor } }
    }
}

impl<T: Real, E: Encode<T>> Network<T, E> {
    /// Refuses a mask, heads or a batch that do not fit, before any of them is run; what the base
    /// method's loss compares, `[N, P]`.
    #[track_caller]
    pub(super) fn check(
        &self,
        op: &str,
        objective: &Objective,
        mask: Option<&Mask<T>>,
        x: &Tensor<T>,
    ) -> [usize; 2] {
        let (d, ranks) = (self.encoder.features(), self.encoder.ranks());
        let rows = ranks * x.shape().first().copied().unwrap_or(1);
        if let Some(mask) = mask {
            let shape = mask.logits.shape();
            assert!(shape == [d], "{op}: a mask of {shape:?} on {d} features");
        }
        let Heads { redundancy, base, predictor } = &self.heads;
        let redundancy_fits = redundancy.as_ref().is_none_or(|head| head.outputs(d).is_some());
        let width = base.outputs(d).and_then(|width| match predictor {
            Some(predictor) => predictor.outputs(width),
            None => Some(width),
        });
        let Some(width) = width.filter(|_| redundancy_fits) else {
            panic!("{op}: the heads do not fit {d} features, or their layers each other");
        };
        // One image has no variance: neither for a batch-norm nor for Barlow Twins.
        let norms = |head: &Mlp<T>| head.layers.iter().any(|layer| layer.norm.is_some());
        let normalises = redundancy.is_some()
            || matches!(objective.base, Loss::BarlowTwins(_))
            || [Some(base), predictor.as_ref()].into_iter().flatten().any(norms);
        let least = if normalises { 4 } else { 2 };
        let fits = rows % (2 * ranks) == 0 && rows >= least;
        let least = least / 2;
        assert!(fits, "{op}: a batch of {:?} is not two views of {least} images", x.shape());
        [rows / 2, width]
    }
}

impl<T: Real> Module<T> for Heads<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let redundancy = self.redundancy.as_ref().map(|head| head.map_params(f));
        let base = self.base.map_params(f);
        let predictor = self.predictor.as_ref().map(|head| head.map_params(f));
        Heads { redundancy, base, predictor }
    }
}

impl<T: Real, E: Module<T>> Module<T> for Network<T, E> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let encoder = self.encoder.map_params(f);
        Network { encoder, heads: self.heads.map_params(f) }
    }
}
