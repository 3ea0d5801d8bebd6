//! Fused operations, each with its definition in the other families.
//!
//! The kernel only has to be right to first order. Where a rule has to be recorded, the definition
//! is differentiated, or, for the cross-entropy, its first derivative is written in the other
//! families, which keeps digits that the definition's would lose.

use std::fmt;

use crate::autodiff::op::{Context, Op, Saved, SavedBatchNorm};
use crate::autodiff::{Keep, Var};
use crate::comm::Comm;
use crate::kernels::Real;
use crate::tensor::{Normed, Softmax, Tail, Targets, Tensor, check_norm, images, norm_shape};

impl<T: Real> Var<T> {
    /// The cross-entropy of each row of scores, `[N, K]` → `[N]`. Saves the scores, and two numbers
    /// a row.
    ///
    /// # Panics
    /// If a column that is named does not exist, or does not take part and is a target.
    #[track_caller]
    pub(crate) fn cross_entropy_of(&self, targets: Targets) -> Var<T> {
        let (loss, saved) = self.value().cross_entropy(targets);
        Var::record(loss, &[self], || Op::CrossEntropy(Box::new(saved)))
    }

    /// `length · x / max(‖x‖₂, eps)` over the last axis. Saves the input, and two numbers a row.
    pub(crate) fn l2_normalize_last(&self, eps: f64, length: f64) -> Var<T> {
        let (y, saved) = self.value().l2_normalize(length, eps);
        Var::record(y, &[self], || Op::L2Normalize(Box::new(saved)))
    }

    /// Batch normalisation of `[.., C]` over all axes but the last, then an affine map, then what
    /// follows it.
    ///
    /// `y = tail((x - mean) / sqrt(var + eps) · weight + bias)`. A tail costs no pass over memory
    /// of its own. Saves input, weight, bias and statistics; a pooling saves the output too, and
    /// one byte per window; a sum saves the output, unless its shortcut is a normalisation's too.
    ///
    /// By given moments one pass over memory where nothing is recorded, as in an evaluation; else,
    /// and by definition, a composition.
    ///
    /// Formula: batchnorm-1.
    ///
    /// # Panics
    /// If groups do not divide axis 0; if weight, bias or given moments are not `[C]`; if a
    /// shortcut has not the shape of `self`; if what is pooled is not `[N, H, W, C]`.
    #[track_caller]
    pub fn batch_norm(&self, norm: Norm<'_, T>) -> BatchNorm<T> {
        let x = self.value();
        norm.check(&"batch_norm", x);
        let Norm { weight, bias, eps, stats, tail } = norm;
        let (groups, comm) = match stats {
            Stats::Batch { groups, comm } => (groups, comm),
            Stats::Given { mean, var } => {
                let y = self.normalized(norm, [mean, var]);
                return BatchNorm { y, mean: mean.clone(), var: var.clone() };
            }
        };
        let affine = [weight.value(), bias.value()];
        let rest = comm.map(|comm| comm as _);
        let (y, normed) = x.batch_norm(affine, eps, groups, tail.map(Var::value), rest);
        let (mean, var) = (normed.mean.clone(), normed.var.clone());
        let operands: Vec<_> = [self, weight, bias].into_iter().chain(tail.shortcut()).collect();
        let output = y.clone();
        let y = Var::record(y, &operands, || {
            let y = match tail {
                Tail::Nothing | Tail::Relu => Saved::MadeAgain,
                Tail::AddRelu(shortcut) => Saved::of_sum(output, shortcut),
                Tail::MaxPoolRelu => Saved::Value(output),
            };
            Op::BatchNorm(Box::new(SavedBatchNorm { normed, comm: comm.cloned(), y }))
        });
        BatchNorm { y, mean, var }
    }

    /// [`Var::batch_norm`] by given moments.
    fn normalized(&self, norm: Norm<'_, T>, [mean, var]: [&Tensor<T>; 2]) -> Var<T> {
        let Norm { weight, bias, eps, tail, .. } = norm;
        let mut operands = [self, weight, bias].into_iter().chain(tail.shortcut());
        if !operands.any(Var::is_recorded) {
            let affine = [weight.value(), bias.value()];
            let y = self.value().normalize(affine, eps, [mean, var], tail.map(Var::value));
            return Var::constant(y);
        }
        let eps = T::from_f64(eps);
        let inv_std = Var::constant(var.map(|var| T::ONE / (var + eps).sqrt()));
        let y = (self - &Var::constant(mean.clone())) * (weight * &inv_std) + bias;
        match tail {
            Tail::Nothing => y,
            Tail::Relu => y.relu(),
            Tail::AddRelu(shortcut) => (y + shortcut).relu(),
            Tail::MaxPoolRelu => y.max_pool2d([2, 2], [2, 2], [0, 0]).relu(),
        }
    }

    /// [`Var::batch_norm`] without the affine map.
    ///
    /// # Panics
    /// If `groups` does not divide axis 0.
    #[track_caller]
    pub fn standardize(&self, eps: f64, groups: usize) -> BatchNorm<T> {
        let (_, c) = norm_shape("standardize", self.shape(), groups);
        let [one, zero] = [T::ONE, T::ZERO].map(|v| Var::constant(Tensor::full(&[c], v)));
        self.batch_norm(Norm::new(&one, &zero, eps, groups))
    }
}

/// How a batch is normalised, for [`Var::batch_norm`].
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a, T: Real> {
    /// `[C]`; multiplies the standardised batch.
    pub weight: &'a Var<T>,
    /// `[C]`; is added after the weight.
    pub bias: &'a Var<T>,
    /// Added to the variance.
    pub eps: f64,
    /// Where mean and variance come from.
    pub stats: Stats<'a, T>,
    /// What follows in the same operation.
    pub tail: Tail<&'a Var<T>>,
}

/// Where a batch normalisation takes its mean and biased variance from.
#[derive(Clone, Copy, Debug)]
pub enum Stats<'a, T: Real> {
    /// The batch's own, separately in each of `groups` equal pieces of axis 0: the views of a batch
    /// keep their own statistics.
    ///
    /// With a `comm`, the variable is one of the equal parts of the batch that the ranks hold, and
    /// the statistics are those of the whole batch. Each rank holds the same number of rows of a
    /// group. Weight and bias are taken as the rank's own, as everything on it: see
    /// [`Var::replicate`].
    Batch {
        /// How many pieces.
        groups: usize,
        /// The ranks that hold the batch, if not all of it is here.
        comm: Option<&'a Comm<T>>,
    },
    /// From elsewhere, such as running moments.
    Given {
        /// `[C]`.
        mean: &'a Tensor<T>,
        /// `[C]`.
        var: &'a Tensor<T>,
    },
}

impl<'a, T: Real> Norm<'a, T> {
    /// By the batch's own statistics in each of `groups` pieces, with nothing behind it.
    pub fn new(weight: &'a Var<T>, bias: &'a Var<T>, eps: f64, groups: usize) -> Norm<'a, T> {
        let stats = Stats::Batch { groups, comm: None };
        Norm { weight, bias, eps, stats, tail: Tail::Nothing }
    }

    /// Refuses what does not fit the batch `x`, in the name of the operation `op`.
    #[track_caller]
    pub(crate) fn check(&self, op: &dyn fmt::Display, x: &Tensor<T>) {
        if let Stats::Batch { groups, .. } = self.stats {
            norm_shape(op, x.shape(), groups);
        }
        check_norm(op, x, [self.weight.value(), self.bias.value()]);
        let (shape, channels) = (x.shape(), self.weight.shape());
        if let Stats::Given { mean, var } = self.stats {
            let (mean, var) = (mean.shape(), var.shape());
            let fits = mean == channels && var == channels;
            assert!(fits, "{op}: mean {mean:?}, var {var:?}, x {shape:?}");
        }
        match self.tail {
            Tail::AddRelu(shortcut) => {
                let shortcut = shortcut.shape();
                assert!(shape == shortcut, "{op}: x {shape:?}, shortcut {shortcut:?}");
            }
            Tail::MaxPoolRelu => drop(images(shape, op)),
            Tail::Nothing | Tail::Relu => {}
        }
    }
}

/// The result of a batch normalisation and its statistics.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real> {
    /// The normalised batch, and what followed it.
    pub y: Var<T>,
    /// Mean per group and channel, `[groups, C]`, or as given.
    pub mean: Tensor<T>,
    /// Biased variance per group and channel, `[groups, C]`, or as given.
    pub var: Tensor<T>,
}

/// The derivative of [`Var::cross_entropy_of`] in the scores `x`, in primitive operations:
/// `p[r, j]` of the columns that take part and are not the target, 0 in the others.
///
/// The target's entry, `p - 1`, is left out: it is minus the sum of the others, which keeps every
/// digit where `p` is near 1.
pub(crate) fn cross_entropy_slopes<T: Real>(x: &Var<T>, saved: &Softmax<T>) -> Var<T> {
    let (others, top) = (saved.targets.others(x.shape()), Var::constant(saved.tops()));
    let own = x.take(&saved.targets.places(x.shape()), top.shape());
    // What does not take part may be anything: the first gate keeps it out of the exponential.
    let exp = (x - &top).gate(&others).exp().gate(&others);
    &exp / &(exp.sum_axes(&[1], Keep::Keep) + (own - top).exp())
}

/// The cotangent of the scores from `g [rows]`, that of the losses.
pub(crate) fn cross_entropy_pulled<T: Real>(x: &Var<T>, saved: &Softmax<T>, g: &Var<T>) -> Var<T> {
    let dx = cross_entropy_slopes(x, saved) * g.reshape(&[x.shape()[0], 1]);
    let own = -dx.sum_axes(&[1], Keep::Keep);
    dx + own.put_add(&saved.targets.places(x.shape()), x.shape())
}

/// The tangent of the losses from `dx`, that of the scores.
pub(crate) fn cross_entropy_pushed<T: Real>(x: &Var<T>, saved: &Softmax<T>, dx: &Var<T>) -> Var<T> {
    let own = dx.take(&saved.targets.places(x.shape()), &[x.shape()[0], 1]);
    (cross_entropy_slopes(x, saved) * (dx - &own)).sum_axes(&[1], Keep::Drop)
}

/// What [`Var::l2_normalize`] computes, in primitive operations.
pub(crate) fn l2_normalize_definition<T: Real>(x: &Var<T>, axis: usize, eps: f64) -> Var<T> {
    let squares = x.square().sum_axes(&[axis], Keep::Keep);
    x / &squares.clamp(Some(eps * eps), None).sqrt()
}

/// The derivative, backward, of what the kernels leave of a tail: from a cotangent of the whole
/// that of the normalisation, in operations of the other families; a shortcut's is the same.
pub(crate) fn before_tail<T: Real>(c: &Context<T>, normed: &Normed<T>, g: &Var<T>) -> Var<T> {
    match normed.tail {
        Tail::Relu | Tail::MaxPoolRelu if !c.recording => g.clone(),
        Tail::Nothing => g.clone(),
        Tail::Relu | Tail::AddRelu(()) => g.gate(&c.node.output()),
        Tail::MaxPoolRelu => g.gate(&c.node.output()).put_add(&normed.indices(), normed.x.shape()),
    }
}

/// The derivative, forward, of what the kernels leave of a tail: from the sum of the tangents of
/// normalisation and shortcut that of the whole.
pub(crate) fn after_tail<T: Real>(c: &Context<T>, normed: &Normed<T>, sum: Var<T>) -> Var<T> {
    match normed.tail {
        Tail::Relu | Tail::MaxPoolRelu if !c.recording => sum,
        Tail::Nothing => sum,
        Tail::Relu | Tail::AddRelu(()) => sum.gate(&c.node.output()),
        Tail::MaxPoolRelu => sum.take(&normed.indices(), c.out_shape()).gate(&c.node.output()),
    }
}

/// What [`Var::batch_norm`] computes from `[x, weight, bias]`, in primitive operations, before the
/// tail.
pub(crate) fn batch_norm_definition<T: Real>(
    inputs: &[Var<T>],
    SavedBatchNorm { normed, comm, .. }: &SavedBatchNorm<T>,
) -> Var<T> {
    let [x, weight, bias] = inputs else { unreachable!("batch norm alone has three operands") };
    let groups = normed.mean.shape()[0];
    let (rows, c) = norm_shape("batch_norm", x.shape(), groups);
    let grouped = x.reshape(&[groups, rows, c]);
    let mean = |x: &Var<T>| match comm {
        None => x.mean_axes(&[1], Keep::Keep),
        Some(comm) => x.mean_axes(&[1], Keep::Keep).mean_over(comm),
    };
    let deviation = &grouped - &mean(&grouped);
    let std = mean(&deviation.square()).shift(normed.eps).sqrt();
    let normal = (deviation / std).reshape(x.shape());
    normal * weight + bias
}
