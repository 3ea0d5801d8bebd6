//! Fused operations: one pass where the definition in `autodiff` takes several.

use std::fmt;

use crate::kernels::alloc::Buffer;
use crate::kernels::cross_entropy::{self, Scores};
use crate::kernels::profile::{self, Work};
use crate::kernels::{Real, norm, unit};
use crate::tensor::index::split;
use crate::tensor::{Indices, Tensor, images};

use norm::{Found, Norm, Rest, Tail};

/// The columns that rows of scores should choose, and a column of each, if any, that does not take
/// part.
pub(crate) struct Targets {
    pub(crate) right: Vec<u32>,
    pub(crate) without: Option<Vec<u32>>,
}

impl Targets {
    /// 1 in the columns of scores of `shape` that take part and are not the target, 0 elsewhere.
    pub(crate) fn others<T: Real>(&self, shape: &[usize]) -> Tensor<T> {
        let cols = shape[1];
        let mut others = Tensor::full(shape, T::ONE);
        for named in std::iter::once(&self.right).chain(&self.without) {
            let rows = others.make_mut().chunks_exact_mut(cols);
            rows.zip(named).for_each(|(row, &column)| row[column as usize] = T::ZERO);
        }
        others
    }

    /// Where the targets are among scores of `shape`.
    pub(crate) fn places(&self, shape: &[usize]) -> Indices {
        Indices::gather(shape, 1, &self.right, &[shape[0], 1])
    }

    fn scores<'a, T: Real>(&'a self, x: &'a Tensor<T>) -> Scores<'a, T> {
        Scores { x: x.as_slice(), target: &self.right, without: self.without.as_deref() }
    }
}

/// What the derivatives of a cross-entropy need.
pub(crate) struct Softmax<T: Real> {
    pub(crate) x: Tensor<T>,
    pub(crate) targets: Targets,
    /// For each row the largest score that takes part, and the sum of the exponentials of all
    /// differences from it, without its own 1.
    peaks: Vec<[T; 2]>,
}

impl<T: Real> Softmax<T> {
    /// The largest score of each row that takes part, `[rows, 1]`; 0 for an infinite one.
    #[inline(never)]
    pub(crate) fn tops(&self) -> Tensor<T> {
        Tensor::from_fn(&[self.peaks.len(), 1], |row| self.peaks[row][0])
    }

    /// The adjoint of [`Tensor::cross_entropy`] at `g [rows]`.
    #[inline(never)]
    pub(crate) fn grad(&self, g: &Tensor<T>) -> Tensor<T> {
        Tensor::passed("cross_entropy_grad", self.x.len(), self.x.shape(), |dx| {
            let scores = self.targets.scores(&self.x);
            cross_entropy::cross_entropy_grad(scores, &self.peaks, g.as_slice(), dx);
        })
    }

    /// The tangent of [`Tensor::cross_entropy`] at the tangent `dx` of the scores.
    #[inline(never)]
    pub(crate) fn tangent(&self, dx: &Tensor<T>) -> Tensor<T> {
        Tensor::passed("cross_entropy_tangent", 2 * self.x.len(), &[self.peaks.len()], |dloss| {
            let scores = self.targets.scores(&self.x);
            cross_entropy::cross_entropy_tangent(scores, &self.peaks, dx.as_slice(), dloss);
        })
    }
}

/// What the derivative of [`Tensor::l2_normalize`] needs.
pub(crate) struct UnitRows<T: Real> {
    pub(crate) x: Tensor<T>,
    pub(crate) length: f64,
    pub(crate) eps: f64,
    factors: Vec<unit::Factors<T>>,
}

impl<T: Real> UnitRows<T> {
    /// The derivative, which is symmetric, applied to `g`.
    #[inline(never)]
    pub(crate) fn grad(&self, g: &Tensor<T>) -> Tensor<T> {
        Tensor::passed("l2_normalize_grad", 2 * g.len(), g.shape(), |dx| {
            unit::l2_normalize_grad(self.x.as_slice(), &self.factors, g.as_slice(), dx);
        })
    }
}

/// What the derivatives of [`Tensor::batch_norm`] need.
pub(crate) struct Normed<T: Real> {
    /// `[.., C]`.
    pub(crate) x: Tensor<T>,
    /// `[C]`.
    pub(crate) weight: Tensor<T>,
    /// `[C]`.
    pub(crate) bias: Tensor<T>,
    pub(crate) eps: f64,
    /// The mean of each group, `[groups, C]`.
    pub(crate) mean: Tensor<T>,
    /// The biased variance of each group, `[groups, C]`.
    pub(crate) var: Tensor<T>,
    pub(crate) tail: Tail<()>,
    /// Which element of each 2x2 window is its maximum, one byte per window; empty without pooling.
    picks: Buffer<u8>,
}

impl<T: Real> Normed<T> {
    /// The result, made again in a pass over memory, to the same bits.
    pub(crate) fn output(&self, shortcut: Option<&Tensor<T>>) -> Tensor<T> {
        let tail = self.tail.map(|()| shortcut.expect("a sum has a shortcut"));
        let Normed { x, weight, bias, eps, mean, var, .. } = self;
        x.normalize([weight, bias], *eps, [mean, var], tail)
    }

    /// The picks of a pooling as positions in `x`. A window that the ReLU let nothing through has
    /// its first element's; a gate has to know which these are.
    pub(crate) fn indices(&self) -> Indices {
        let [n, h, w, c] = images(self.x.shape(), "batch_norm");
        let (oh, ow) = (h / 2, w / 2);
        let position = |(i, &pick): (usize, &u8)| {
            let (pixel, channel) = (i / c, i % c);
            let (row, column) = (pixel / ow, pixel % ow);
            let pick = if pick == norm::DEAD { 0 } else { usize::from(pick) };
            let (row, column) = (row / oh * h + 2 * (row % oh) + pick / 2, 2 * column + pick % 2);
            ((row * w + column) * c + channel) as u32
        };
        Indices::new(self.picks.iter().enumerate().map(position).collect(), n)
    }

    fn kernel<'a>(&'a self, rest: Option<&'a dyn Rest<T>>) -> (Norm<'a, T>, Found<'a, T>) {
        let Normed { x, weight, bias, eps, mean, var, tail, picks } = self;
        let groups = mean.shape()[0];
        let (mean, var) = (mean.as_slice(), var.as_slice());
        (x.norm([weight, bias], *eps, groups, rest), Found { mean, var, tail: *tail, picks })
    }

    /// The gradients of [`Tensor::batch_norm`] in x (if wanted), weight and bias, for the cotangent
    /// `g` of the output; where a shortcut was added, of the sum before its ReLU.
    #[inline(never)]
    pub(crate) fn grad(
        &self,
        g: &Tensor<T>,
        rest: Option<&dyn Rest<T>>,
        wants_dx: bool,
    ) -> [Option<Tensor<T>>; 3] {
        let (norm, found) = self.kernel(rest);
        let pools = self.tail.pools();
        let name = if pools { "batch_norm_pool_grad" } else { "batch_norm_grad" };
        // The parameters' slopes take half of the reading.
        let n_read = self.x.len() + g.len();
        let [mut dw, mut db] = [(); 2].map(|()| Tensor::zeros(self.weight.shape()));
        let mut run = |dx: Option<&mut [T]>| {
            let slopes = [dw.make_mut(), db.make_mut()];
            norm::batch_norm_grad(norm, found, g.as_slice(), dx, slopes);
        };
        let dx =
            wants_dx.then(|| Tensor::passed(name, 2 * n_read, self.x.shape(), |dx| run(Some(dx))));
        if !wants_dx {
            let _span = profile::span(name, Work::Bytes(n_read * size_of::<T>()));
            run(None);
        }
        [dx, Some(dw), Some(db)]
    }

    /// The tangent of [`Tensor::batch_norm`] along tangents of x, weight and bias; where a shortcut
    /// was added, of the normalisation alone.
    #[inline(never)]
    pub(crate) fn tangent(
        &self,
        tangents: [Option<&Tensor<T>>; 3],
        rest: Option<&dyn Rest<T>>,
    ) -> Tensor<T> {
        let (norm, found) = self.kernel(rest);
        let pools = self.tail.pools();
        let name = if pools { "batch_norm_pool_tangent" } else { "batch_norm_tangent" };
        let n_read = (1 + 3 * usize::from(tangents[0].is_some())) * self.x.len();
        Tensor::passed(name, n_read, &out_shape(self.x.shape(), pools), |dy| {
            let tangents = tangents.map(|tangent| tangent.map(Tensor::as_slice));
            norm::batch_norm_tangent(norm, found, tangents, dy);
        })
    }
}

/// The shape of a normalised batch of `shape`, or of what is pooled from it.
fn out_shape(shape: &[usize], pools: bool) -> Vec<usize> {
    let mut out = shape.to_vec();
    if pools {
        out[1..3].iter_mut().for_each(|side| *side /= 2);
    }
    out
}

/// Fused operations; their definitions stand in `autodiff`.
impl<T: Real> Tensor<T> {
    /// The cross-entropy of rows of scores `[rows, cols]`, `[rows]`, and what its derivatives need.
    ///
    /// # Panics
    /// If the targets are not those of as many rows and columns.
    #[track_caller]
    #[inline(never)]
    pub(crate) fn cross_entropy(&self, targets: Targets) -> (Tensor<T>, Softmax<T>) {
        targets.scores(self).cols();
        let rows = targets.right.len();
        let mut peaks = vec![[T::ZERO; 2]; rows];
        let loss = Tensor::passed("cross_entropy", self.len(), &[rows], |loss| {
            cross_entropy::cross_entropy(targets.scores(self), &mut peaks, loss);
        });
        (loss, Softmax { x: self.clone(), targets, peaks })
    }

    /// Rows `[.., cols]` divided by their lengths, or by `eps` if that is more, times `length`; and
    /// what the derivative needs.
    #[inline(never)]
    pub(crate) fn l2_normalize(&self, length: f64, eps: f64) -> (Tensor<T>, UnitRows<T>) {
        let (rows, _, _) = split(self.shape(), self.rank() - 1, "l2_normalize");
        let mut factors = vec![[T::ZERO; 2]; rows];
        let [scale, bound] = [length, eps].map(T::from_f64);
        let y = Tensor::passed("l2_normalize", self.len(), self.shape(), |y| {
            unit::l2_normalize(self.as_slice(), scale, bound, &mut factors, y);
        });
        (y, UnitRows { x: self.clone(), length, eps, factors })
    }

    /// Normalises `[.., C]` over all axes but the last, in `groups` equal pieces of axis 0, after
    /// [`check_norm`], and applies `tail`. Returns what the derivatives need too.
    #[inline(never)]
    pub(crate) fn batch_norm(
        &self,
        [weight, bias]: [&Tensor<T>; 2],
        eps: f64,
        groups: usize,
        tail: Tail<&Tensor<T>>,
        rest: Option<&dyn Rest<T>>,
    ) -> (Tensor<T>, Normed<T>) {
        let pools = tail.pools();
        let out = out_shape(self.shape(), pools);
        let mut picks = Buffer::stale(if pools { out.iter().product() } else { 0 });
        let [mut mean, mut var] = [(); 2].map(|()| Tensor::zeros(&[groups, weight.len()]));
        let norm = self.norm([weight, bias], eps, groups, rest);
        let name = if pools { "batch_norm_pool" } else { "batch_norm" };
        // The statistics are a pass of their own; a shortcut is one more.
        let n_read = (2 + usize::from(tail.shortcut().is_some())) * self.len();
        let y = Tensor::passed(name, n_read, &out, |y| {
            let moments = [mean.make_mut(), var.make_mut()];
            norm::batch_norm(norm, tail.map(Tensor::as_slice), y, &mut picks, moments);
        });
        let (x, weight, bias) = (self.clone(), weight.clone(), bias.clone());
        (y, Normed { x, weight, bias, eps, mean, var, tail: tail.map(|_| ()), picks })
    }

    /// The last pass of [`Tensor::batch_norm`] alone, by moments `[C]` from elsewhere, or such
    /// of each group `[groups, C]`, after [`check_norm`].
    #[inline(never)]
    pub(crate) fn normalize(
        &self,
        affine: [&Tensor<T>; 2],
        eps: f64,
        [mean, var]: [&Tensor<T>; 2],
        tail: Tail<&Tensor<T>>,
    ) -> Tensor<T> {
        let pools = tail.pools();
        let out = out_shape(self.shape(), pools);
        let mut picks = Buffer::stale(if pools { out.iter().product() } else { 0 });
        let groups = if mean.rank() == 2 { mean.shape()[0] } else { 1 };
        let norm = self.norm(affine, eps, groups, None);
        let name = if pools { "normalize_pool" } else { "normalize" };
        let n_read = (1 + usize::from(tail.shortcut().is_some())) * self.len();
        Tensor::passed(name, n_read, &out, |y| {
            let moments = [mean, var].map(Tensor::as_slice);
            norm::normalize(norm, tail.map(Tensor::as_slice), moments, y, &mut picks);
        })
    }

    fn norm<'a>(
        &'a self,
        [weight, bias]: [&'a Tensor<T>; 2],
        eps: f64,
        groups: usize,
        rest: Option<&'a dyn Rest<T>>,
    ) -> Norm<'a, T> {
        let shape = match *self.shape() {
            [n, h, w, c] => [n, h, w, c],
            [n, ref inner @ .., c] => [n, 1, inner.iter().product(), c],
            _ => unreachable!("a batch has an axis of channels"),
        };
        let [x, weight, bias] = [self, weight, bias].map(Tensor::as_slice);
        Norm { x, shape, groups, weight, bias, eps: T::from_f64(eps), rest }
    }
}

/// Rows per group and channels of a batch to normalise.
#[track_caller]
pub(crate) fn norm_shape(op: impl fmt::Display, shape: &[usize], groups: usize) -> (usize, usize) {
    let fits = shape.len() >= 2 && groups > 0 && shape[0] % groups == 0 && shape[0] > 0;
    assert!(fits, "{op}: {groups} groups of shape {shape:?}");
    let c = shape[shape.len() - 1];
    (shape.iter().product::<usize>() / (groups * c.max(1)), c)
}

/// Refuses a batch that is not `[.., C]` for `weight` and `bias`.
#[track_caller]
pub(crate) fn check_norm<T: Real>(
    op: impl fmt::Display,
    x: &Tensor<T>,
    [weight, bias]: [&Tensor<T>; 2],
) {
    let fits = x.rank() >= 2 && [weight, bias].iter().all(|v| *v.shape == x.shape[x.rank() - 1..]);
    let (weight, bias) = (weight.shape, bias.shape);
    assert!(fits, "{op}: weight {weight:?}, bias {bias:?}, x {:?}", x.shape);
}
