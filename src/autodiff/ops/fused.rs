//! Fused operations, each with its definition in the other families.
//!
//! The definition is the specification, the tests' oracle, and what is differentiated when a rule
//! has to be recorded; the kernel only has to be right to first order.

use crate::autodiff::op::Op;
use crate::autodiff::{Keep, Var};
use crate::kernels::Real;
use crate::tensor::{BatchNormStats, Tensor, norm_shape};

impl<T: Real> Var<T> {
    /// `x - log Σ e^x` along an axis. Saves input and output.
    ///
    /// # Panics
    /// If the axis does not exist or is empty.
    #[track_caller]
    pub fn log_softmax(&self, axis: usize) -> Var<T> {
        let rank = self.rank();
        let fits = axis < rank && self.shape()[axis] > 0;
        assert!(fits, "log_softmax: axis {axis} of shape {:?}", self.shape());
        if axis + 1 != rank {
            return self.transpose(axis, rank - 1).log_softmax(rank - 1).transpose(axis, rank - 1);
        }
        let y = self.value().log_softmax_last();
        Var::record(y.clone(), &[self], || Op::LogSoftmax { x: self.value().clone(), y })
    }

    /// Batch normalisation of `[.., C]` over all axes but the last, then an affine map.
    ///
    /// `y = (x - mean) / sqrt(var + eps) · weight + bias` with the biased variance, separately in
    /// each of `groups` equal pieces of axis 0: the views of a batch keep their own statistics.
    /// Saves input, weight and statistics.
    ///
    /// # Panics
    /// If `groups` does not divide axis 0, or weight and bias are not `[C]`.
    #[track_caller]
    pub fn batch_norm(
        &self,
        weight: &Var<T>,
        bias: &Var<T>,
        eps: f64,
        groups: usize,
    ) -> BatchNorm<T> {
        let (x, w, b) = (self.value(), weight.value(), bias.value());
        let (y, stats) = x.batch_norm(w, b, T::from_f64(eps), groups);
        let y = Var::record(y, &[self, weight, bias], || Op::BatchNorm {
            x: x.clone(),
            weight: w.clone(),
            bias: b.clone(),
            stats: stats.clone(),
            eps,
        });
        BatchNorm { y, mean: stats.mean, var: stats.var }
    }

    /// [`Var::batch_norm`] without the affine map.
    ///
    /// # Panics
    /// If `groups` does not divide axis 0.
    #[track_caller]
    pub fn standardize(&self, eps: f64, groups: usize) -> BatchNorm<T> {
        let (_, c) = norm_shape(self.shape(), groups);
        let one = Var::constant(Tensor::full(&[c], T::ONE));
        self.batch_norm(&one, &Var::constant(Tensor::zeros(&[c])), eps, groups)
    }
}

/// The result of a batch normalisation and what it found in the batch.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real> {
    /// The normalised batch.
    pub y: Var<T>,
    /// Mean per group and channel, `[groups, C]`.
    pub mean: Tensor<T>,
    /// Biased variance per group and channel, `[groups, C]`.
    pub var: Tensor<T>,
}

/// What [`Var::log_softmax`] computes over the last axis, in primitive operations.
pub(crate) fn log_softmax_definition<T: Real>(inputs: &[Var<T>]) -> Var<T> {
    let x = &inputs[0];
    x - &x.logsumexp(x.rank() - 1, Keep::Keep)
}

/// What [`Var::batch_norm`] computes from `[x, weight, bias]`, in primitive operations.
pub(crate) fn batch_norm_definition<T: Real>(
    inputs: &[Var<T>],
    stats: &BatchNormStats<T>,
    eps: f64,
) -> Var<T> {
    let [x, weight, bias] = inputs else { unreachable!("batch norm has three operands") };
    let groups = stats.mean.shape()[0];
    let (rows, c) = norm_shape(x.shape(), groups);
    let grouped = x.reshape(&[groups, rows, c]);
    let deviation = &grouped - &grouped.mean_axes(&[1], Keep::Keep);
    let std = deviation.square().mean_axes(&[1], Keep::Keep).shift(eps).sqrt();
    let normal = (deviation / std).reshape(x.shape());
    normal * weight + bias
}
