//! Batch normalisation over every axis but the last.

use super::pass::Mode;
use super::{LayerMoments, Layout, Module, Pass, enter_layer};
use crate::autodiff::{Norm, Stats, Tail, Var};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// `y = (x - mean) / √(var + eps) · weight + bias`, channel by channel.
///
/// In a training pass mean and (biased) variance are the batch's own, in each view separately, and
/// where several ranks hold parts of the batch those of all of it, if
/// [`DataParallel`](super::DataParallel) says so; in an evaluation they are the running ones.
///
/// Source: Ioffe and Szegedy 2015, arXiv 1502.03167.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real = f32> {
    /// The layer's name; its parameters are `NAME.weight` and `NAME.bias`, and its running moments
    /// are kept under `NAME`.
    pub name: String,
    /// `[C]`, at first 1.
    pub weight: Var<T>,
    /// `[C]`, at first 0.
    pub bias: Var<T>,
    /// Added to the variance.
    pub eps: f64,
}

impl<T: Real> BatchNorm<T> {
    /// A layer with torch's defaults: weight 1, bias 0, `eps` 1e-5.
    ///
    /// # Panics
    /// If there are no channels.
    #[track_caller]
    pub fn new(name: &str, channels: usize) -> BatchNorm<T> {
        assert!(channels > 0, "batch_norm {name}: no channels");
        BatchNorm {
            name: name.to_string(),
            weight: Var::constant(Tensor::full(&[channels], T::ONE)),
            bias: Var::constant(Tensor::zeros(&[channels])),
            eps: 1e-5,
        }
    }

    /// `x: [N, .., C]` → the same shape; a training pass notes the batch's moments.
    ///
    /// # Panics
    /// If `x` does not have `C` channels, if its batch does not split into the pass's views, if a
    /// training batch has one value a channel only (it has no variance), or if an evaluation has
    /// no running moments for this layer.
    #[track_caller]
    pub fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        self.forward_then(x, Tail::Nothing, pass)
    }

    /// [`BatchNorm::forward`] and what follows it, in one operation.
    ///
    /// # Panics
    /// As [`BatchNorm::forward`]; if a shortcut has not the shape of `x`, or what is pooled is not
    /// `[N, H, W, C]`.
    #[track_caller]
    pub fn forward_then(&self, x: &Var<T>, tail: Tail<&Var<T>>, pass: &mut Pass<'_, T>) -> Var<T> {
        let name = &self.name;
        enter_layer(&self.weight, name);
        let op = &format!("batch_norm {name}");
        let (weight, bias, eps) = (&self.weight, &self.bias, self.eps);
        match pass.mode() {
            Mode::Train { groups, moments, comm } => {
                let stats = Stats::Batch { groups: *groups, comm: comm.as_ref() };
                let norm = Norm { weight, bias, eps, stats, tail };
                norm.check(op, x.value());
                let ranks = comm.as_ref().map_or(1, |comm| comm.size());
                let count = ranks * x.value().len() / weight.value().len().max(1) / *groups;
                assert!(count > 1, "{op}: one value a channel in {:?}", x.shape());
                let normal = x.batch_norm(norm);
                let (mean, var) = (normal.mean, normal.var);
                moments.push(LayerMoments { name: name.clone(), mean, var, count });
                normal.y
            }
            Mode::Eval(running) => {
                let Some((mean, var)) = running.get(name) else {
                    panic!("{op}: no running moments");
                };
                let stats = Stats::Given { mean, var };
                let norm = Norm { weight, bias, eps, stats, tail };
                norm.check(op, x.value());
                x.batch_norm(norm).y
            }
        }
    }
}

impl<T: Real> Module<T> for BatchNorm<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        let BatchNorm { name, weight, bias, eps } = self;
        BatchNorm {
            name: name.clone(),
            weight: f(&format!("{name}.weight"), weight, Layout::Vector),
            bias: f(&format!("{name}.bias"), bias, Layout::Vector),
            eps: *eps,
        }
    }
}
