//! Fused operations, each with its definition in the other families.
//!
//! The kernel only has to be right to first order. Where a rule has to be recorded, the definition
//! is differentiated, or, for the cross-entropy, its first derivative is written in the other
//! families, which keeps digits that the definition's would lose.

use std::fmt;
use std::sync::Arc;

use crate::autodiff::op::{Context, Op, Saved, SavedBatchNorm, SavedTail};
use crate::autodiff::{Keep, Var};
use crate::comm::Comm;
use crate::kernels::Real;
use crate::tensor::{Rest, Softmax, Tail, Targets, Tensor};
use crate::tensor::{check_moments, check_norm, images, norm_shape};

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

    /// Batch normalisation of `[.., C]` over all axes but the last, then an affine map.
    ///
    /// `y = (x - mean) / sqrt(var + eps) · weight + bias` with the biased variance, separately in
    /// each of `groups` equal pieces of axis 0: the views of a batch keep their own statistics.
    /// Saves input, weight and statistics.
    ///
    /// Formula: batchnorm-1.
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
        self.batch_norm_for(&"batch_norm", [weight, bias], eps, groups, Then::Nothing, None)
    }

    /// [`Var::batch_norm`] and what follows it, without a pass over memory of its own.
    ///
    /// A pooling saves the output besides, and a byte a window; a sum saves the output, unless its
    /// shortcut is a normalisation's too.
    ///
    /// # Panics
    /// As [`Var::batch_norm`]; if a shortcut has not the shape of `self`; if what is pooled is not
    /// `[N, H, W, C]`.
    #[track_caller]
    pub fn batch_norm_then(
        &self,
        weight: &Var<T>,
        bias: &Var<T>,
        eps: f64,
        groups: usize,
        then: Then<'_, T>,
    ) -> BatchNorm<T> {
        self.batch_norm_for(&"batch_norm_then", [weight, bias], eps, groups, then, None)
    }

    /// [`Var::batch_norm_then`] with the mean and variance of the whole batch, if `self` is one of
    /// the equal parts of it that the ranks of `comm` hold.
    ///
    /// Of a group, each rank holds as many rows. `weight` and `bias` are taken as the rank's own,
    /// as everything on it: see [`Var::replicate`].
    ///
    /// # Panics
    /// As [`Var::batch_norm_then`].
    #[track_caller]
    pub fn batch_norm_over(
        &self,
        weight: &Var<T>,
        bias: &Var<T>,
        eps: f64,
        groups: usize,
        then: Then<'_, T>,
        comm: Option<&Comm<T>>,
    ) -> BatchNorm<T> {
        self.batch_norm_for(&"batch_norm_over", [weight, bias], eps, groups, then, comm)
    }

    /// [`Var::batch_norm_over`] for the operation `op`, which a complaint names.
    #[track_caller]
    pub(crate) fn batch_norm_for(
        &self,
        op: &dyn fmt::Display,
        [weight, bias]: [&Var<T>; 2],
        eps: f64,
        groups: usize,
        then: Then<'_, T>,
        comm: Option<&Comm<T>>,
    ) -> BatchNorm<T> {
        let (x, w, b) = (self.value(), weight.value(), bias.value());
        check_norm(op, x, [w, b], groups);
        then.check(op, x.shape());
        let mut operands = vec![self, weight, bias];
        let rest = comm.map(|comm| Arc::new(comm.clone()) as Arc<dyn Rest<T>>);
        let plain =
            |tail: Tail<'_, T>| x.batch_norm(w, b, T::from_f64(eps), groups, tail, rest.clone());
        let (y, stats, picks) = match then {
            Then::Nothing => with_none(plain(Tail::Nothing)),
            Then::Relu => with_none(plain(Tail::Relu)),
            Then::AddRelu(shortcut) => {
                operands.push(shortcut);
                with_none(plain(Tail::AddRelu(shortcut.value().as_slice())))
            }
            Then::MaxPoolRelu => {
                let (y, stats, picks) =
                    x.batch_norm_pool(w, b, T::from_f64(eps), groups, rest.clone());
                (y, stats, Some(picks))
            }
        };
        let saved = y.clone();
        let y = Var::record(y, &operands, || {
            let tail = match (then, picks) {
                (Then::Nothing, _) => SavedTail::Nothing,
                (Then::AddRelu(shortcut), _) => {
                    SavedTail::AddRelu { y: Saved::of_sum(saved, shortcut) }
                }
                (_, None) => SavedTail::Relu,
                (_, Some(picks)) => SavedTail::MaxPoolRelu { y: saved, picks },
            };
            let (x, weight, bias) = (x.clone(), w.clone(), b.clone());
            let (stats, comm) = (stats.clone(), comm.cloned());
            Op::BatchNorm(Box::new(SavedBatchNorm { x, weight, bias, stats, comm, eps, tail }))
        });
        BatchNorm { y, mean: stats.mean, var: stats.var }
    }

    /// Batch normalisation by a mean and a variance `[C]` from elsewhere, and what follows it.
    ///
    /// One pass over memory where nothing is recorded, as in an evaluation; else, and by
    /// definition, a composition.
    ///
    /// # Panics
    /// As [`Var::batch_norm_then`]; if a moment is not `[C]`.
    #[track_caller]
    pub fn normalize_then(
        &self,
        [weight, bias]: [&Var<T>; 2],
        [mean, var]: [&Tensor<T>; 2],
        eps: f64,
        then: Then<'_, T>,
    ) -> Var<T> {
        self.normalize_for(&"normalize_then", [weight, bias], [mean, var], eps, then)
    }

    /// [`Var::normalize_then`] for the operation `op`, which a complaint names.
    #[track_caller]
    pub(crate) fn normalize_for(
        &self,
        op: &dyn fmt::Display,
        [weight, bias]: [&Var<T>; 2],
        [mean, var]: [&Tensor<T>; 2],
        eps: f64,
        then: Then<'_, T>,
    ) -> Var<T> {
        check_moments(op, self.value(), [weight.value(), bias.value()], [mean, var]);
        then.check(op, self.shape());
        let eps = T::from_f64(eps);
        let inv_std = var.map(|var| T::ONE / (var + eps).sqrt());
        let shortcut = match then {
            Then::AddRelu(shortcut) => Some(shortcut),
            _ => None,
        };
        let operands = [self, weight, bias].into_iter().chain(shortcut);
        if operands.clone().any(Var::is_recorded) {
            let deviation = self - &Var::constant(mean.clone());
            let y = deviation * (weight * &Var::constant(inv_std)) + bias;
            return match then {
                Then::Nothing => y,
                Then::Relu => y.relu(),
                Then::AddRelu(shortcut) => (y + shortcut).relu(),
                Then::MaxPoolRelu => y.max_pool2d([2, 2], [2, 2], [0, 0]).relu(),
            };
        }
        let (x, moments, affine) = (self.value(), [mean, &inv_std], [weight.value(), bias.value()]);
        Var::constant(match then {
            Then::Nothing => x.normalize(moments, affine, Tail::Nothing),
            Then::Relu => x.normalize(moments, affine, Tail::Relu),
            Then::AddRelu(shortcut) => {
                x.normalize(moments, affine, Tail::AddRelu(shortcut.value().as_slice()))
            }
            Then::MaxPoolRelu => x.normalize_pool(moments, affine),
        })
    }

    /// [`Var::batch_norm`] without the affine map.
    ///
    /// # Panics
    /// If `groups` does not divide axis 0.
    #[track_caller]
    pub fn standardize(&self, eps: f64, groups: usize) -> BatchNorm<T> {
        let (_, c) = norm_shape("standardize", self.shape(), groups);
        let one = Var::constant(Tensor::full(&[c], T::ONE));
        self.batch_norm(&one, &Var::constant(Tensor::zeros(&[c])), eps, groups)
    }
}

/// What follows a batch normalisation in the same operation.
#[derive(Clone, Copy, Debug)]
pub enum Then<'a, T: Real> {
    /// Nothing.
    Nothing,
    /// A ReLU.
    Relu,
    /// The sum with another variable, which has the same shape, and a ReLU: the end of a residual
    /// block.
    AddRelu(&'a Var<T>),
    /// Max-pooling over 2x2 windows with stride 2 (`[N, H, W, C]` → `[N, H / 2, W / 2, C]`, rounded
    /// down) and a ReLU.
    MaxPoolRelu,
}

impl<T: Real> Then<'_, T> {
    /// Refuses what cannot follow the normalisation of `x`.
    #[track_caller]
    fn check(&self, op: &dyn fmt::Display, x: &[usize]) {
        match self {
            Then::AddRelu(shortcut) => {
                let shortcut = shortcut.shape();
                assert!(x == shortcut, "{op}: x {x:?}, shortcut {shortcut:?}");
            }
            Then::MaxPoolRelu => drop(images(x, op)),
            Then::Nothing | Then::Relu => {}
        }
    }
}

fn with_none<A, B, C>((a, b): (A, B)) -> (A, B, Option<C>) {
    (a, b, None)
}

/// The result of a batch normalisation and what it found in the batch.
#[derive(Clone, Debug)]
pub struct BatchNorm<T: Real> {
    /// The normalised batch, and what followed it.
    pub y: Var<T>,
    /// Mean per group and channel, `[groups, C]`.
    pub mean: Tensor<T>,
    /// Biased variance per group and channel, `[groups, C]`.
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

/// The derivative of a tail, backward: from a cotangent of the whole that of the normalisation, in
/// operations of the other families; a shortcut's is the same.
pub(crate) fn before_tail<T: Real>(
    c: &Context<T>,
    saved: &SavedBatchNorm<T>,
    g: &Var<T>,
) -> Var<T> {
    match &saved.tail {
        SavedTail::Nothing => g.clone(),
        SavedTail::Relu | SavedTail::AddRelu { .. } => g.gate(&c.node.output()),
        SavedTail::MaxPoolRelu { y, picks } => g.gate(y).put_add(&picks.indices(), saved.x.shape()),
    }
}

/// The derivative of a tail, forward: from the tangents of normalisation and shortcut, of which at
/// least one moves, that of the whole.
pub(crate) fn after_tail<T: Real>(
    c: &Context<T>,
    tail: &SavedTail<T>,
    dy: Option<Var<T>>,
    shortcut: Option<&Var<T>>,
) -> Var<T> {
    let sum = dy.into_iter().chain(shortcut.cloned()).reduce(|a, b| a + b);
    let sum = sum.expect("a node on the path has an operand that moves");
    match tail {
        SavedTail::Nothing => sum,
        SavedTail::Relu | SavedTail::AddRelu { .. } => sum.gate(&c.node.output()),
        SavedTail::MaxPoolRelu { y, picks } => sum.take(&picks.indices(), y.shape()).gate(y),
    }
}

/// What [`Var::batch_norm`] computes from `[x, weight, bias]`, in primitive operations.
pub(crate) fn batch_norm_definition<T: Real>(
    inputs: &[Var<T>],
    SavedBatchNorm { stats, comm, eps, .. }: &SavedBatchNorm<T>,
) -> Var<T> {
    let [x, weight, bias] = inputs else { unreachable!("batch norm alone has three operands") };
    let groups = stats.mean.shape()[0];
    let (rows, c) = norm_shape("batch_norm", x.shape(), groups);
    let grouped = x.reshape(&[groups, rows, c]);
    let mean = |x: &Var<T>| match comm {
        None => x.mean_axes(&[1], Keep::Keep),
        Some(comm) => x.mean_axes(&[1], Keep::Keep).mean_over(comm),
    };
    let deviation = &grouped - &mean(&grouped);
    let std = mean(&deviation.square()).shift(*eps).sqrt();
    let normal = (deviation / std).reshape(x.shape());
    normal * weight + bias
}
