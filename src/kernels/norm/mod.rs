//! Batch normalisation, its adjoint and its tangent, alone and with what follows it: a ReLU, a
//! shortcut, a pooling.
//!
//! Statistics are per group and channel. Each kernel makes two passes over memory. The first
//! gathers two or three sums per channel from fixed blocks of rows and combines them in the order
//! of the blocks; the second writes. What follows the normalisation costs no pass of its own:
//! where a ReLU let values through is computed again from `x`, by the same expression, instead of
//! read.

mod blocks;
mod loops;
mod pooled;

use super::Real;
use blocks::{Affine, Blocks, Line};
use pooled::Images;

pub use pooled::DEAD;

/// What follows a batch normalisation in the same operation; `S` is what a shortcut is given as: a
/// slice, a tensor or a variable.
#[derive(Clone, Copy, Debug)]
pub enum Tail<S> {
    /// Nothing.
    Nothing,
    /// `max(y, 0)`; NaN stays NaN.
    Relu,
    /// `max(y + shortcut, 0)`, with a shortcut in the shape of `y`: the end of a residual block.
    AddRelu(S),
    /// Max-pooling over 2x2 windows with stride 2 (`[N, H, W, C]` → `[N, H / 2, W / 2, C]`, rounded
    /// down), then a ReLU.
    MaxPoolRelu,
}

impl<S> Tail<S> {
    /// The same tail with its shortcut mapped by `f`.
    pub(crate) fn map<R>(self, f: impl FnOnce(S) -> R) -> Tail<R> {
        match self {
            Tail::Nothing => Tail::Nothing,
            Tail::Relu => Tail::Relu,
            Tail::AddRelu(shortcut) => Tail::AddRelu(f(shortcut)),
            Tail::MaxPoolRelu => Tail::MaxPoolRelu,
        }
    }

    /// The shortcut, if the tail has one.
    pub(crate) fn shortcut(self) -> Option<S> {
        if let Tail::AddRelu(shortcut) = self { Some(shortcut) } else { None }
    }

    /// Whether the output has one element per window instead of one per element.
    pub(crate) fn pools(&self) -> bool {
        matches!(self, Tail::MaxPoolRelu)
    }
}

/// A batch to normalise, and the map that is applied to it.
#[derive(Clone, Copy)]
pub struct Norm<'a, T> {
    /// The batch, `[N, H, W, C]`.
    pub x: &'a [T],
    /// The shape of `x`; only a pooling tells H from W.
    pub shape: [usize; 4],
    /// How many equal pieces of N have statistics of their own.
    pub groups: usize,
    /// `[C]`.
    pub weight: &'a [T],
    /// `[C]`.
    pub bias: &'a [T],
    /// Added to the variance.
    pub eps: T,
    /// The other parts of the batch, if `x` is only one of several.
    pub rest: Option<&'a dyn Rest<T>>,
}

/// What a forward pass leaves for its derivatives.
#[derive(Clone, Copy)]
pub struct Found<'a, T> {
    /// The mean of each group and channel, `[groups, C]`.
    pub mean: &'a [T],
    /// The biased variance of each group and channel, `[groups, C]`.
    pub var: &'a [T],
    /// What followed the normalisation.
    pub tail: Tail<()>,
    /// The picks of a pooling; else empty.
    pub picks: &'a [u8],
}

/// The rest of a batch of which only one of several equal parts is here.
///
/// Statistics are then those of the whole: between its two passes a kernel has its sums added up
/// over the parts. What is not a statistic (outputs, `dweight`, `dbias`) is this part's own.
pub trait Rest<T> {
    /// How many parts there are, this one included; their groups have equally many rows.
    fn parts(&self) -> usize;

    /// Replaces each number by its sum over the parts.
    fn sum(&self, values: &mut [T]);
}

impl<T: Real> Norm<'_, T> {
    /// Refuses lengths that are not their shapes': of tensors like `x`, of tensors like the output,
    /// of moments `[groups, C]`, of vectors `[C]`, and of the picks.
    #[track_caller]
    fn check(&self, op: &str, pools: bool, lens: [&[usize]; 4], picks: usize) {
        let Norm { shape: [n, h, w, c], groups, .. } = *self;
        let len = n * h * w * c;
        let out = if pools { n * (h / 2) * (w / 2) * c } else { len };
        let expected = [len, out, groups * c, c];
        let mut pairs = lens.iter().zip(expected);
        let fits = self.x.len() == len
            && [self.weight.len(), self.bias.len()] == [c; 2]
            && groups > 0
            && n % groups == 0
            && picks == if pools { out } else { 0 }
            && pairs.all(|(lens, expected)| lens.iter().all(|&len| len == expected));
        assert!(
            fits,
            "{op}: {:?} in {groups} groups, lengths {lens:?} for {expected:?}, {picks} picks",
            self.shape
        );
    }

    /// The blocks of the batch, and of each group and channel `1 / √(var + eps)` and the map.
    fn prepare(&self, mean: &[T], var: &[T], pools: bool) -> (Blocks, Vec<T>, Vec<Affine<T>>) {
        let blocks = Blocks::new(self.shape, self.groups, pools);
        let inv_std: Vec<T> = var.iter().map(|&var| T::ONE / (var + self.eps).sqrt()).collect();
        let affine = Affine::groups(&blocks, mean, &inv_std, self.weight, self.bias);
        (blocks, inv_std, affine)
    }

    /// Makes sums of this part those of the whole; how many parts there are.
    fn of_the_whole(&self, sums: &mut [T]) -> usize {
        let Some(rest) = self.rest else { return 1 };
        rest.sum(sums);
        rest.parts()
    }
}

/// From mean and biased variance of this part those of the whole: the mean of the means, and the
/// mean of `var + (own mean − mean)²`.
fn combine<T: Real>(rest: &dyn Rest<T>, mean: &mut [T], var: &mut [T]) {
    let own = mean.to_vec();
    let parts = T::from_usize(rest.parts());
    rest.sum(mean);
    for ((mean, var), own) in mean.iter_mut().zip(&mut *var).zip(own) {
        *mean = *mean / parts;
        *var += (own - *mean) * (own - *mean);
    }
    rest.sum(var);
    var.iter_mut().for_each(|var| *var = *var / parts);
}

/// Standardises each channel within each group, then scales and shifts it, then applies `tail`.
///
/// `y = tail((x − mean) inv_std weight + bias)` with `inv_std = 1 / √(var + eps)` and the biased
/// `var`. The moments `mean` and `var` are outputs `[groups, C]`, as are `picks` of a pooling: for
/// each `y`, which element of its window won, row by row (0 to 3), or [`DEAD`]; else empty.
///
/// The variance is accurate whatever the mean: within a block of rows, which the cache holds, it
/// is taken about the block's own mean, and blocks are combined by the parallel formula.
///
/// # Panics
/// If a length differs from its shape's, or `groups` does not divide N.
///
/// Source: Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1; for the combination Chan, Golub
/// and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
#[track_caller]
pub fn batch_norm<T: Real>(
    norm: Norm<'_, T>,
    tail: Tail<&[T]>,
    y: &mut [T],
    picks: &mut [u8],
    [mean, var]: [&mut [T]; 2],
) {
    norm.check("batch_norm", tail.pools(), [&[], &[], &[mean.len(), var.len()], &[]], picks.len());
    if norm.x.is_empty() {
        return;
    }
    Blocks::new(norm.shape, norm.groups, tail.pools()).moments(norm.x, mean, var);
    if let Some(rest) = norm.rest {
        combine(rest, mean, var);
    }
    normalize(norm, tail, [mean, var], y, picks);
}

/// The last pass of [`batch_norm`] alone, with moments from elsewhere.
///
/// # Panics
/// As [`batch_norm`].
#[track_caller]
pub fn normalize<T: Real>(
    norm: Norm<'_, T>,
    tail: Tail<&[T]>,
    [mean, var]: [&[T]; 2],
    y: &mut [T],
    picks: &mut [u8],
) {
    let shortcut = tail.shortcut().map_or(norm.x.len(), <[T]>::len);
    let lens = [&[shortcut][..], &[y.len()], &[mean.len(), var.len()], &[]];
    norm.check("normalize", tail.pools(), lens, picks.len());
    if y.is_empty() {
        return;
    }
    let (blocks, _, affine) = norm.prepare(mean, var, tail.pools());
    let images = Images::new(norm.shape);
    let picks = blocks.pieces(picks, if tail.pools() { blocks.out } else { 0 });
    let pieces = blocks.pieces(y, blocks.out).into_iter().zip(picks).collect();
    blocks.each(pieces, |group, span, (y, picks)| {
        let Affine { mean, scale, bias } = &affine[group];
        let x = &norm.x[span.clone()];
        match tail {
            Tail::Nothing => loops::affine(x, mean, scale, bias, y, |y| y),
            Tail::Relu => loops::affine(x, mean, scale, bias, y, relu),
            Tail::AddRelu(shortcut) => {
                loops::affine_add_relu(x, mean, scale, bias, &shortcut[span], y);
            }
            Tail::MaxPoolRelu => images.pool(x, &affine[group], y, picks),
        }
    });
}

#[inline(always)]
fn relu<T: Real>(y: T) -> T {
    if y < T::ZERO { T::ZERO } else { y }
}

/// The adjoint of [`batch_norm`] for the cotangent `g` of `y`; where a shortcut was added, for that
/// of the sum before its ReLU, which is the shortcut's cotangent too.
///
/// With `xhat = (x − mean) inv_std`, and `g` as it is before the tail (0 where the ReLU was, at the
/// picked elements of a pooling): `dbias = Σ g` and `dweight = Σ g xhat` over groups and rows
/// `[C]`, and `dx = weight inv_std (g − mean(g) − xhat mean(g xhat))` with means over the rows of
/// each group. Without `dx` only the sums are computed.
///
/// Formula: batchnorm-2.
///
/// # Panics
/// As [`batch_norm`].
#[track_caller]
pub fn batch_norm_grad<T: Real>(
    norm: Norm<'_, T>,
    Found { mean, var, tail, picks }: Found<'_, T>,
    g: &[T],
    dx: Option<&mut [T]>,
    [dweight, dbias]: [&mut [T]; 2],
) {
    let Norm { x, shape, weight, .. } = norm;
    let dx_len = dx.as_ref().map_or(x.len(), |dx| dx.len());
    let vectors = [dweight.len(), dbias.len()];
    let lens = [&[dx_len][..], &[g.len()], &[mean.len(), var.len()], &vectors];
    norm.check("batch_norm_grad", tail.pools(), lens, picks.len());
    dweight.fill(T::ZERO);
    dbias.fill(T::ZERO);
    if x.is_empty() {
        return;
    }
    let (blocks, inv_std, affine) = norm.prepare(mean, var, tail.pools());
    let images = Images::new(shape);
    let mut sums = blocks.sums(&inv_std, |group, span, [sum, product, left]| {
        let Affine { mean, scale, bias } = &affine[group];
        let out = blocks.out_span(&span);
        let (x, g) = (&x[span], &g[out.clone()]);
        match tail {
            Tail::Nothing | Tail::AddRelu(()) => loops::block_sums(x, g, mean, sum, product, left),
            Tail::Relu => loops::block_sums_relu(x, g, mean, scale, bias, sum, product, left),
            Tail::MaxPoolRelu => images.sums(x, mean, g, &picks[out], [sum, product, left]),
        }
    });
    let c = shape[3];
    for sums in sums.chunks_exact(3 * c) {
        for (i, (&sum, &product)) in sums[..c].iter().zip(&sums[c..]).enumerate() {
            dbias[i] += sum;
            dweight[i] += product;
        }
    }
    let Some(dx) = dx else { return };
    let parts = norm.of_the_whole(&mut sums);
    let line = Line::groups(&blocks, parts, &inv_std, weight, &sums, None, None);
    blocks.each(blocks.pieces(dx, blocks.unit * c), |group, span, dx| {
        let (Affine { mean, scale, bias }, Line { a, b, d }) = (&affine[group], &line[group]);
        let out = blocks.out_span(&span);
        let (x, g) = (&x[span], &g[out.clone()]);
        match tail {
            Tail::Nothing | Tail::AddRelu(()) => loops::line(x, g, mean, a, b, d, dx),
            Tail::Relu => {
                loops::line_relu(x, g, mean, scale, bias, a, b, d, dx, where_alive, |_, dx| dx);
            }
            Tail::MaxPoolRelu => images.spread(x, mean, &line[group], g, &picks[out], dx),
        }
    });
}

#[inline(always)]
fn where_alive<T: Real>(lives: bool, t: T) -> T {
    if lives { t } else { T::ZERO }
}

/// The tangent of [`batch_norm`] in the directions `dx`, `dweight` and `dbias`, of which none means
/// 0; where a shortcut was added, that of the normalisation alone.
///
/// `dy = weight inv_std (dx − mean(dx) − xhat mean(dx xhat)) + dweight xhat + dbias`, with
/// `xhat = (x − mean) inv_std` and means over the rows of each group; 0 where the ReLU was, and the
/// picked elements of a pooling.
///
/// # Panics
/// As [`batch_norm`].
#[track_caller]
pub fn batch_norm_tangent<T: Real>(
    norm: Norm<'_, T>,
    Found { mean, var, tail, picks }: Found<'_, T>,
    [dx, dweight, dbias]: [Option<&[T]>; 3],
    dy: &mut [T],
) {
    let Norm { x, shape, weight, .. } = norm;
    let dx_len = dx.map_or(x.len(), <[T]>::len);
    let vectors = [dweight, dbias].map(|v| v.map_or(shape[3], <[T]>::len));
    let lens = [&[dx_len][..], &[dy.len()], &[mean.len(), var.len()], &vectors];
    norm.check("batch_norm_tangent", tail.pools(), lens, picks.len());
    if dy.is_empty() {
        return;
    }
    let (blocks, inv_std, affine) = norm.prepare(mean, var, tail.pools());
    // Sums of zeros are the same in all parts.
    let (mut sums, mut parts) = (vec![T::ZERO; 3 * inv_std.len()], 1);
    if let Some(dx) = dx {
        sums = blocks.sums(&inv_std, |group, span, [sum, product, left]| {
            let mean = &affine[group].mean;
            loops::block_sums(&x[span.clone()], &dx[span], mean, sum, product, left);
        });
        parts = norm.of_the_whole(&mut sums);
    }
    let line = Line::groups(&blocks, parts, &inv_std, weight, &sums, dweight, dbias);
    let images = Images::new(shape);
    blocks.each(blocks.pieces(dy, blocks.out), |group, span, dy| {
        let (Affine { mean, scale, bias }, Line { a, b, d }) = (&affine[group], &line[group]);
        let out = blocks.out_span(&span);
        let (x, t) = (&x[span.clone()], dx.map(|dx| &dx[span]));
        let (zero, keep) = (|_: bool, _: T| T::ZERO, |_: bool, t: T| t);
        match (tail, t) {
            (Tail::Nothing | Tail::AddRelu(()), Some(t)) => loops::line(x, t, mean, a, b, d, dy),
            (Tail::Relu, Some(t)) => {
                loops::line_relu(x, t, mean, scale, bias, a, b, d, dy, keep, where_alive);
            }
            // The parameters alone move: a line in x for each channel.
            (Tail::Nothing | Tail::AddRelu(()), None) => {
                loops::line_relu(x, x, mean, scale, bias, a, b, d, dy, zero, keep);
            }
            (Tail::Relu, None) => {
                loops::line_relu(x, x, mean, scale, bias, a, b, d, dy, zero, where_alive);
            }
            (Tail::MaxPoolRelu, t) => images.gather(x, t, mean, &line[group], &picks[out], dy),
        }
    });
}
