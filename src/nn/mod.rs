//! Layers as values: a struct of variables and a forward function.
//!
//! A layer knows its name, which is torch's name for the same layer, and holds nothing hidden:
//! batch-norm's running moments live in a [`RunningStats`] that goes into an evaluation and is
//! updated from what a training [`Pass`] hands back.
//! [`Module::map_params`] is the one traversal: collecting, replacing, averaging and saving
//! parameters are all written with it.

mod batch_norm;
mod conv;
mod conv4;
mod data_parallel;
mod encoder;
mod init;
mod linear;
mod mlp;
mod pass;
mod resnet;

pub use batch_norm::BatchNorm;
pub use conv::Conv2d;
pub use conv4::Conv4;
pub use data_parallel::{BatchNormOver, DataParallel};
pub use encoder::{Architecture, Encode, Encoder};
pub use init::Init;
pub use linear::Linear;
pub use mlp::{Mlp, MlpEnd, MlpLayer};
pub use pass::{LayerMoments, Moments, Pass, RunningStats};
pub use resnet::{ResNet18, Stem};

use crate::autodiff::Var;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// How a parameter is laid out here, and so how torch lays it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A convolution's weight: `[K, K, C, O]` here, `[O, C, K, K]` in torch.
    Conv,
    /// A linear layer's weight: `[in, out]` here, `[out, in]` in torch.
    Linear,
    /// One number a channel, `[C]`, everywhere.
    Vector,
}

impl Layout {
    /// The parameter (or its gradient, or its momentum) in torch's layout.
    ///
    /// # Panics
    /// If it has not as many axes as the layout.
    #[track_caller]
    pub fn to_torch<T: Real>(self, tensor: &Tensor<T>) -> Tensor<T> {
        self.check("to_torch", tensor);
        match self {
            Layout::Conv => tensor.permute(&[3, 2, 0, 1]),
            Layout::Linear => tensor.permute(&[1, 0]),
            Layout::Vector => tensor.clone(),
        }
    }

    /// The inverse of [`Layout::to_torch`].
    ///
    /// # Panics
    /// If it has not as many axes as the layout.
    #[track_caller]
    pub fn from_torch<T: Real>(self, tensor: &Tensor<T>) -> Tensor<T> {
        self.check("from_torch", tensor);
        match self {
            Layout::Conv => tensor.permute(&[2, 3, 1, 0]),
            Layout::Linear => tensor.permute(&[1, 0]),
            Layout::Vector => tensor.clone(),
        }
    }

    #[track_caller]
    fn check<T: Real>(self, op: &str, tensor: &Tensor<T>) {
        let axes = match self {
            Layout::Conv => 4,
            Layout::Linear => 2,
            // What is the same everywhere may be anything.
            Layout::Vector => return,
        };
        let shape = tensor.shape();
        assert!(shape.len() == axes, "{op}: {shape:?} for the layout {self:?} of {axes} axes");
    }
}

/// A value made of named parameters.
pub trait Module<T: Real>: Sized {
    /// The same module with each parameter replaced by what `f` returns for it.
    ///
    /// `f` is called with torch's name of the parameter (`layer1.0.bn1.weight`), the parameter, and
    /// its layout, always in the same order; a replacement normally keeps the shape.
    #[allow(clippy::type_complexity)] // A name for the closure's type would say less.
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self;

    /// Calls `f` with each parameter, in the order of [`Module::map_params`].
    fn visit(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout)) {
        // A variable is a counted pointer, so rebuilding the module costs next to nothing.
        self.map_params(&mut |name, var, layout| {
            f(name, var, layout);
            var.clone()
        });
    }
}

/// The parameters, in traversal order.
pub fn params<T: Real>(module: &impl Module<T>) -> Vec<Var<T>> {
    let mut all = Vec::new();
    module.visit(&mut |_, var, _| all.push(var.clone()));
    all
}

/// The parameters with their names, in traversal order.
pub fn named_params<T: Real>(module: &impl Module<T>) -> Vec<(String, Var<T>)> {
    let mut all = Vec::new();
    module.visit(&mut |name, var, _| all.push((name.to_string(), var.clone())));
    all
}

/// The module with its parameters replaced, given in traversal order.
///
/// # Panics
/// If there are not as many replacements as parameters.
#[track_caller]
pub fn with_params<T: Real, M: Module<T>>(module: &M, params: Vec<Var<T>>) -> M {
    let (given, mut wanted) = (params.len(), 0);
    module.visit(&mut |_, _, _| wanted += 1);
    assert!(given == wanted, "with_params: {given} given, {wanted} wanted");
    let mut rest = params.into_iter();
    module.map_params(&mut |_, old, _| {
        rest.next().expect("as many as counted above").watched_like(old)
    })
}

/// The module with each parameter as a fresh leaf of a graph: what a gradient is taken for.
pub fn leaves<T: Real, M: Module<T>>(module: &M) -> M {
    module.map_params(&mut |_, var, _| var.as_leaf())
}

/// Takes the parameters out of a module, in traversal order, and leaves it hollow.
///
/// The hollow module serves [`with_params`] only.
/// When nobody else holds the parameters they now have one owner, so that an optimiser can update
/// them in place.
pub fn into_params<T: Real, M: Module<T>>(module: M) -> (M, Vec<Tensor<T>>) {
    let mut taken = Vec::new();
    let hollow = module.map_params(&mut |_, var, _| {
        taken.push(var.value().clone());
        Var::scalar(0.0).watched_like(var)
    });
    (hollow, taken)
}

/// The part of a computation that a watch over the module's parameters enters.
pub(crate) fn enter<T: Real>(module: &impl Module<T>, part: &'static str) {
    module.visit(&mut |_, var, _| var.watch().into_iter().for_each(|watch| watch.enter(part)));
}

/// The layer that a watch over the variable `var` of it enters.
pub(crate) fn enter_layer<T: Real>(var: &Var<T>, name: &str) {
    var.watch().into_iter().for_each(|watch| watch.layer(name));
}

#[cfg(test)]
mod tests;
