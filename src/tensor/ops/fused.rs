//! Fused operations: one pass where the definition in `autodiff` takes several.

use std::fmt;
use std::sync::Arc;

use crate::kernels::alloc::Buffer;
use crate::kernels::cross_entropy::{self, Scores};
use crate::kernels::profile::{self, Work};
use crate::kernels::{Real, norm, unit};
use crate::tensor::index::split;
use crate::tensor::{Indices, Tensor, images};

use norm::Rest;
pub(crate) use norm::Tail;

/// Which element of each 2x2 window of `[N, H, W, C]` is its maximum, a byte a window.
#[derive(Clone)]
pub(crate) struct Picks {
    bytes: Arc<Buffer<u8>>,
    /// Of what is pooled.
    shape: [usize; 4],
}

impl Picks {
    /// The same as positions; where the ReLU let nothing through, which a gate has to know, the
    /// first of the window.
    pub(crate) fn indices(&self) -> Indices {
        let [n, h, w, c] = self.shape;
        let (oh, ow) = (h / 2, w / 2);
        let position = |(i, &pick): (usize, &u8)| {
            let (pixel, channel) = (i / c, i % c);
            let (row, column) = (pixel / ow, pixel % ow);
            let pick = if pick == norm::DEAD { 0 } else { usize::from(pick) };
            let (row, column) = (row / oh * h + 2 * (row % oh) + pick / 2, 2 * column + pick % 2);
            ((row * w + column) * c + channel) as u32
        };
        Indices::new(self.bytes.iter().enumerate().map(position).collect(), n)
    }
}

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

/// What batch normalisation found in its batch, each `[groups, C]`.
#[derive(Clone, Debug)]
pub struct BatchNormStats<T: Real> {
    /// Mean over the group.
    pub mean: Tensor<T>,
    /// Biased variance over the group.
    pub var: Tensor<T>,
    /// `1 / sqrt(var + eps)`.
    pub inv_std: Tensor<T>,
    /// The rest of the batch, if not all of it is here.
    pub rest: Option<Arc<dyn Rest<T>>>,
}

impl<T: Real> BatchNormStats<T> {
    /// Room for the statistics.
    fn room(groups: usize, c: usize, rest: Option<Arc<dyn Rest<T>>>) -> BatchNormStats<T> {
        let empty = || Tensor::zeros(&[groups, c]);
        BatchNormStats { mean: empty(), var: empty(), inv_std: empty(), rest }
    }
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
    /// [`check_norm`]; a shortcut in the tail is as large as `self`.
    #[inline(never)]
    pub(crate) fn batch_norm(
        &self,
        weight: &Tensor<T>,
        bias: &Tensor<T>,
        eps: T,
        groups: usize,
        tail: Tail<'_, T>,
        rest: Option<Arc<dyn Rest<T>>>,
    ) -> (Tensor<T>, BatchNormStats<T>) {
        let (rows, c) = norm_shape("batch_norm", self.shape(), groups);
        let mut stats = BatchNormStats::room(groups, c, rest);
        let rest = stats.rest.as_deref();
        let (mean, var) = (stats.mean.make_mut(), stats.var.make_mut());
        let inv_std = stats.inv_std.make_mut();
        let (x, weight, bias) = (self.as_slice(), weight.as_slice(), bias.as_slice());
        // The statistics are a pass of their own; a shortcut is one more.
        let n_read = (2 + usize::from(matches!(tail, Tail::AddRelu(_)))) * self.len();
        let y = Tensor::passed("batch_norm", n_read, self.shape(), |y| {
            norm::batch_norm(
                x, groups, rows, c, weight, bias, eps, tail, rest, y, mean, inv_std, var,
            );
        });
        (y, stats)
    }

    /// [`Tensor::batch_norm`] of images, 2x2 max-pooling, ReLU.
    #[inline(never)]
    pub(crate) fn batch_norm_pool(
        &self,
        weight: &Tensor<T>,
        bias: &Tensor<T>,
        eps: T,
        groups: usize,
        rest: Option<Arc<dyn Rest<T>>>,
    ) -> (Tensor<T>, BatchNormStats<T>, Picks) {
        let shape @ [n, h, w, c] = images(self.shape(), "batch_norm");
        let mut stats = BatchNormStats::room(groups, c, rest);
        let rest = stats.rest.as_deref();
        let (mean, var) = (stats.mean.make_mut(), stats.var.make_mut());
        let inv_std = stats.inv_std.make_mut();
        let (x, weight, bias) = (self.as_slice(), weight.as_slice(), bias.as_slice());
        let mut bytes = Buffer::stale(n * (h / 2) * (w / 2) * c);
        let y = Tensor::passed("batch_norm_pool", 2 * self.len(), &[n, h / 2, w / 2, c], |y| {
            let (picks, mean) = (&mut bytes, mean);
            norm::batch_norm_pool(
                x, shape, groups, weight, bias, eps, rest, y, picks, mean, inv_std, var,
            );
        });
        (y, stats, Picks { bytes: Arc::new(bytes), shape })
    }

    /// The last pass of [`Tensor::batch_norm`] alone, by moments `[C]` from elsewhere, or such
    /// of each group, after [`check_moments`].
    #[inline(never)]
    pub(crate) fn normalize(
        &self,
        [mean, inv_std]: [&Tensor<T>; 2],
        [weight, bias]: [&Tensor<T>; 2],
        tail: Tail<'_, T>,
    ) -> Tensor<T> {
        let c = weight.len();
        let groups = mean.len() / c.max(1);
        let rows = self.len() / mean.len().max(1);
        let n_read = (1 + usize::from(matches!(tail, Tail::AddRelu(_)))) * self.len();
        let [x, mean, inv_std, weight, bias] =
            [self, mean, inv_std, weight, bias].map(Tensor::as_slice);
        Tensor::passed("normalize", n_read, self.shape(), |y| {
            norm::normalize(x, groups, rows, c, mean, inv_std, weight, bias, tail, y);
        })
    }

    /// [`Tensor::normalize`] of images by moments `[C]`, 2x2 max-pooling, ReLU.
    #[inline(never)]
    pub(crate) fn normalize_pool(
        &self,
        [mean, inv_std]: [&Tensor<T>; 2],
        [weight, bias]: [&Tensor<T>; 2],
    ) -> Tensor<T> {
        let shape @ [n, h, w, c] = images(self.shape(), "normalize");
        let [x, mean, inv_std, weight, bias] =
            [self, mean, inv_std, weight, bias].map(Tensor::as_slice);
        let mut picks = Buffer::stale(n * (h / 2) * (w / 2) * c);
        Tensor::passed("normalize_pool", self.len(), &[n, h / 2, w / 2, c], |y| {
            norm::normalize_pool(x, shape, 1, mean, inv_std, weight, bias, y, &mut picks);
        })
    }

    /// The gradients of [`Tensor::batch_norm`] in x (if wanted), weight and bias; with its bias, of
    /// a ReLU of it.
    #[inline(never)]
    pub(crate) fn batch_norm_grad(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        relu_bias: Option<&Tensor<T>>,
        g: &Tensor<T>,
        wants_dx: bool,
    ) -> [Option<Tensor<T>>; 3] {
        let groups = stats.mean.shape()[0];
        let (rows, c) = norm_shape("batch_norm", self.shape(), groups);
        let (x, w, g) = (self.as_slice(), weight.as_slice(), g.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let rest = stats.rest.as_deref();
        let bias = relu_bias.map(Tensor::as_slice);
        self.with_slopes("batch_norm_grad", [c, 4 * self.len()], wants_dx, |dx, dw, db| {
            norm::batch_norm_grad(x, mean, inv_std, w, bias, g, groups, rows, c, rest, dx, dw, db);
        })
    }

    /// The gradients of [`Tensor::batch_norm_pool`] in x (if wanted), weight and bias.
    #[inline(never)]
    pub(crate) fn batch_norm_pool_grad(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        picks: &Picks,
        g: &Tensor<T>,
        wants_dx: bool,
    ) -> [Option<Tensor<T>>; 3] {
        let groups = stats.mean.shape()[0];
        let (x, w, g) = (self.as_slice(), weight.as_slice(), g.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let rest = stats.rest.as_deref();
        let (shape, picks) = (picks.shape, &picks.bytes);
        let n_read = 2 * (self.len() + g.len());
        self.with_slopes("batch_norm_pool_grad", [shape[3], n_read], wants_dx, |dx, dw, db| {
            norm::batch_norm_pool_grad(
                x, shape, mean, inv_std, w, picks, g, groups, rest, dx, dw, db,
            );
        })
    }

    /// What `fill` writes: a tensor like `self` (if wanted) and two vectors `[c]`. It reads half of
    /// `n_read` elements for those, and all for both.
    fn with_slopes(
        &self,
        name: &'static str,
        [c, n_read]: [usize; 2],
        wants_dx: bool,
        mut fill: impl FnMut(Option<&mut [T]>, &mut [T], &mut [T]),
    ) -> [Option<Tensor<T>>; 3] {
        let (mut dw, mut db) = (Tensor::zeros(&[c]), Tensor::zeros(&[c]));
        let mut run = |dx: Option<&mut [T]>| fill(dx, dw.make_mut(), db.make_mut());
        let dx = wants_dx.then(|| Tensor::passed(name, n_read, self.shape(), |dx| run(Some(dx))));
        if !wants_dx {
            let _span = profile::span(name, Work::Bytes(n_read / 2 * size_of::<T>()));
            run(None);
        }
        [dx, Some(dw), Some(db)]
    }

    /// The tangent of [`Tensor::batch_norm`] along tangents of x, weight and bias; with its bias,
    /// of a ReLU of it.
    #[inline(never)]
    pub(crate) fn batch_norm_tangent(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        relu_bias: Option<&Tensor<T>>,
        tangents: [Option<&Tensor<T>>; 3],
    ) -> Tensor<T> {
        let groups = stats.mean.shape()[0];
        let (rows, c) = norm_shape("batch_norm", self.shape(), groups);
        let (x, w) = (self.as_slice(), weight.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let rest = stats.rest.as_deref();
        let bias = relu_bias.map(Tensor::as_slice);
        let [dx, dw, db] = tangents.map(|tangent| tangent.map(Tensor::as_slice));
        let n_read = (1 + 3 * usize::from(dx.is_some())) * self.len();
        Tensor::passed("batch_norm_tangent", n_read, self.shape(), |dy| {
            norm::batch_norm_tangent(
                x, mean, inv_std, w, bias, dx, dw, db, groups, rows, c, rest, dy,
            );
        })
    }

    /// The tangent of [`Tensor::batch_norm_pool`] along tangents of x, weight and bias.
    #[inline(never)]
    pub(crate) fn batch_norm_pool_tangent(
        &self,
        stats: &BatchNormStats<T>,
        weight: &Tensor<T>,
        picks: &Picks,
        tangents: [Option<&Tensor<T>>; 3],
    ) -> Tensor<T> {
        let groups = stats.mean.shape()[0];
        let (x, w) = (self.as_slice(), weight.as_slice());
        let (mean, inv_std) = (stats.mean.as_slice(), stats.inv_std.as_slice());
        let rest = stats.rest.as_deref();
        let (shape @ [n, h, width, c], picks) = (picks.shape, &picks.bytes);
        let [dx, dw, db] = tangents.map(|tangent| tangent.map(Tensor::as_slice));
        let n_read = (1 + 3 * usize::from(dx.is_some())) * self.len();
        let out = [n, h / 2, width / 2, c];
        Tensor::passed("batch_norm_pool_tangent", n_read, &out, |dy| {
            norm::batch_norm_pool_tangent(
                x, shape, mean, inv_std, w, picks, dx, dw, db, groups, rest, dy,
            );
        })
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

/// Refuses a batch that does not split into `groups`, or that is not `[.., C]` for `weight` and
/// `bias`.
#[track_caller]
pub(crate) fn check_norm<T: Real>(
    op: impl fmt::Display,
    x: &Tensor<T>,
    [weight, bias]: [&Tensor<T>; 2],
    groups: usize,
) {
    let (_, c) = norm_shape(&op, &x.shape, groups);
    let fits = *weight.shape == [c] && *bias.shape == [c];
    let (weight, bias) = (weight.shape, bias.shape);
    assert!(fits, "{op}: weight {weight:?}, bias {bias:?}, x {:?}", x.shape);
}

/// Refuses a batch that is not `[.., C]` for `weight` and `bias`, or moments that are not `[C]`.
#[track_caller]
pub(crate) fn check_moments<T: Real>(
    op: impl fmt::Display,
    x: &Tensor<T>,
    affine: [&Tensor<T>; 2],
    [mean, var]: [&Tensor<T>; 2],
) {
    // An empty batch has rows enough to be normalised by moments from elsewhere.
    let fits = x.rank() >= 2 && affine.iter().all(|v| *v.shape == x.shape[x.rank() - 1..]);
    let [weight, bias] = affine.map(|v| v.shape);
    assert!(fits, "{op}: weight {weight:?}, bias {bias:?}, x {:?}", x.shape);
    let (mean, var) = (mean.shape, var.shape);
    assert!(mean == weight && var == weight, "{op}: mean {mean:?}, var {var:?}, x {:?}", x.shape);
}
