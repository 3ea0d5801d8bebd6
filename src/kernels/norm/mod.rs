//! Batch normalisation of `x` seen as `[groups, rows, c]`, its adjoint and its tangent, alone and
//! with what follows it: a ReLU, a shortcut, a pooling.
//!
//! Statistics are per group and channel. Each kernel is two passes over memory: one that gathers
//! two or three sums per channel from fixed blocks of rows, combined in the order of the blocks,
//! and one that writes. What follows the normalisation costs no pass of its own: where a ReLU let
//! through is computed again from `x`, by the same expression, instead of read.

mod blocks;
mod loops;
mod pooled;

use std::fmt::Debug;

use super::Real;
use blocks::{Affine, Blocks, Line};

pub use pooled::{
    DEAD, batch_norm_pool, batch_norm_pool_grad, batch_norm_pool_tangent, normalize_pool,
};

/// What follows the normalisation in the same pass.
#[derive(Clone, Copy, Debug)]
pub enum Tail<'a, T> {
    /// Nothing.
    Nothing,
    /// `max(y, 0)`; NaN stays NaN.
    Relu,
    /// `max(y + shortcut, 0)`, the shortcut in the shape of `x`.
    AddRelu(&'a [T]),
}

/// The rest of a batch of which only one of several equal parts is here.
///
/// Statistics are then those of the whole: between its two passes a kernel has its sums added up
/// over the parts. What is not a statistic (outputs, `dweight`, `dbias`) is this part's own.
pub trait Rest<T>: Debug + Send + Sync {
    /// How many parts there are, this one included; their groups have equally many rows.
    fn parts(&self) -> usize;

    /// Replaces each number by its sum over the parts.
    fn sum(&self, values: &mut [T]);
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
/// `var`. `x, y: [groups, rows, c]`, `weight, bias: [c]`; `mean`, `inv_std` and `var` are outputs
/// `[groups, c]`.
///
/// The variance is accurate whatever the mean: within a block of rows, which the cache holds, it
/// is taken about the block's own mean, and blocks are combined by the parallel formula.
///
/// # Panics
/// If a length differs from its shape's.
///
/// Source: Ioffe and Szegedy 2015, arXiv 1502.03167, algorithm 1; for the combination Chan, Golub
/// and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
#[track_caller]
pub fn batch_norm<T: Real>(
    x: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    weight: &[T],
    bias: &[T],
    eps: T,
    tail: Tail<'_, T>,
    rest: Option<&dyn Rest<T>>,
    y: &mut [T],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    check("batch_norm", [groups, rows, c], &[x.len(), y.len()]);
    check_channels("batch_norm", c, &[weight.len(), bias.len()]);
    check_channels("batch_norm", groups * c, &[mean.len(), inv_std.len(), var.len()]);
    if let Tail::AddRelu(shortcut) = tail {
        check("batch_norm", [groups, rows, c], &[shortcut.len()]);
    }
    if y.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    moments(&blocks, x, eps, rest, mean, inv_std, var);
    normalize(x, groups, rows, c, mean, inv_std, weight, bias, tail, y);
}

/// The last pass of [`batch_norm`] alone, with a mean and an `inv_std` from elsewhere.
///
/// # Panics
/// As [`batch_norm`].
#[track_caller]
pub fn normalize<T: Real>(
    x: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    bias: &[T],
    tail: Tail<'_, T>,
    y: &mut [T],
) {
    check("normalize", [groups, rows, c], &[x.len(), y.len()]);
    check_channels("normalize", c, &[weight.len(), bias.len()]);
    check_channels("normalize", groups * c, &[mean.len(), inv_std.len()]);
    if let Tail::AddRelu(shortcut) = tail {
        check("normalize", [groups, rows, c], &[shortcut.len()]);
    }
    if y.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, Some(bias));
    blocks.each(blocks.pieces(y, c), |group, span, y| {
        let Affine { mean, scale, bias } = &affine[group];
        let piece = &x[span.clone()];
        match tail {
            Tail::Nothing => loops::affine(piece, mean, scale, bias, y, |y| y),
            Tail::Relu => loops::affine(piece, mean, scale, bias, y, relu),
            Tail::AddRelu(shortcut) => {
                loops::affine_add_relu(piece, mean, scale, bias, &shortcut[span], y);
            }
        }
    });
}

#[inline(always)]
fn relu<T: Real>(y: T) -> T {
    if y < T::ZERO { T::ZERO } else { y }
}

/// Mean, `1 / √(var + eps)` and variance of each group and channel.
fn moments<T: Real>(
    blocks: &Blocks,
    x: &[T],
    eps: T,
    rest: Option<&dyn Rest<T>>,
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    blocks.moments(x, mean, var);
    if let Some(rest) = rest {
        combine(rest, mean, var);
    }
    for (inv_std, &var) in inv_std.iter_mut().zip(&*var) {
        *inv_std = T::ONE / (var + eps).sqrt();
    }
}

/// The adjoint of [`batch_norm`] at `x`, for the cotangent `g` of `y`: with nothing behind it, or
/// given the `bias`, with a ReLU.
///
/// With `xhat = (x − mean) inv_std`, and `g` 0 where the ReLU was: `dbias = Σ g` and
/// `dweight = Σ g xhat` over groups and rows `[c]`, and
/// `dx = weight inv_std (g − mean(g) − xhat mean(g xhat))` with means over the rows of each group.
/// Without `dx` only the sums are computed.
///
/// Formula: batchnorm-2.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_grad<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    relu_bias: Option<&[T]>,
    g: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    rest: Option<&dyn Rest<T>>,
    dx: Option<&mut [T]>,
    dweight: &mut [T],
    dbias: &mut [T],
) {
    let dx_len = dx.as_ref().map_or(x.len(), |dx| dx.len());
    check("batch_norm_grad", [groups, rows, c], &[x.len(), g.len(), dx_len]);
    check_channels("batch_norm_grad", groups * c, &[mean.len(), inv_std.len()]);
    check_channels("batch_norm_grad", c, &[weight.len(), dweight.len(), dbias.len()]);
    check_channels("batch_norm_grad", c, &[relu_bias.map_or(c, <[T]>::len)]);
    if x.is_empty() {
        dweight.fill(T::ZERO);
        dbias.fill(T::ZERO);
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, relu_bias);
    let mut sums = blocks.sums(inv_std, |group, span, [sum, product, left]| {
        let Affine { mean, scale, bias } = &affine[group];
        let (x, g) = (&x[span.clone()], &g[span]);
        match relu_bias {
            None => loops::block_sums(x, g, mean, sum, product, left),
            Some(_) => loops::block_sums_relu(x, g, mean, scale, bias, sum, product, left),
        }
    });
    slopes(&sums, c, dweight, dbias);
    let Some(dx) = dx else { return };
    let parts = of_the_whole(&mut sums, rest);
    let line = Line::groups(&blocks, parts, inv_std, weight, &sums, None, None);
    blocks.each(blocks.pieces(dx, c), |group, span, dx| {
        let (Affine { mean, scale, bias }, Line { a, b, d }) = (&affine[group], &line[group]);
        let (x, g) = (&x[span.clone()], &g[span]);
        match relu_bias {
            None => loops::line(x, g, mean, a, b, d, dx),
            Some(_) => {
                loops::line_relu(x, g, mean, scale, bias, a, b, d, dx, where_alive, |_, dx| dx);
            }
        }
    });
}

/// Makes sums of a part those of the whole; how many parts there are.
fn of_the_whole<T>(sums: &mut [T], rest: Option<&dyn Rest<T>>) -> usize {
    let Some(rest) = rest else { return 1 };
    rest.sum(sums);
    rest.parts()
}

#[inline(always)]
fn where_alive<T: Real>(lives: bool, t: T) -> T {
    if lives { t } else { T::ZERO }
}

/// `dweight` and `dbias` from the sums of all groups `[groups, 3, c]`.
fn slopes<T: Real>(sums: &[T], c: usize, dweight: &mut [T], dbias: &mut [T]) {
    dweight.fill(T::ZERO);
    dbias.fill(T::ZERO);
    for sums in sums.chunks_exact(3 * c) {
        for (i, (&sum, &product)) in sums[..c].iter().zip(&sums[c..]).enumerate() {
            dbias[i] += sum;
            dweight[i] += product;
        }
    }
}

/// The tangent of [`batch_norm`] at `x`, in the directions `dx`, `dweight` and `dbias`, of which
/// none means 0: with nothing behind it, or given the `bias`, with a ReLU.
///
/// `dy = weight inv_std (dx − mean(dx) − xhat mean(dx xhat)) + dweight xhat + dbias`, with
/// `xhat = (x − mean) inv_std` and means over the rows of each group; 0 where the ReLU was.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_tangent<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    relu_bias: Option<&[T]>,
    dx: Option<&[T]>,
    dweight: Option<&[T]>,
    dbias: Option<&[T]>,
    groups: usize,
    rows: usize,
    c: usize,
    rest: Option<&dyn Rest<T>>,
    dy: &mut [T],
) {
    let dx_len = dx.map_or(x.len(), <[T]>::len);
    check("batch_norm_tangent", [groups, rows, c], &[x.len(), dy.len(), dx_len]);
    check_channels("batch_norm_tangent", groups * c, &[mean.len(), inv_std.len()]);
    let vectors = [Some(weight), relu_bias, dweight, dbias];
    check_channels("batch_norm_tangent", c, &vectors.map(|v| v.map_or(c, <[T]>::len)));
    if x.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, relu_bias);
    let (sums, parts) = tangent_sums(&blocks, x, &affine, inv_std, dx, rest);
    let line = Line::groups(&blocks, parts, inv_std, weight, &sums, dweight, dbias);
    blocks.each(blocks.pieces(dy, c), |group, span, dy| {
        let (Affine { mean, scale, bias }, Line { a, b, d }) = (&affine[group], &line[group]);
        let x = &x[span.clone()];
        let (zero, keep) = (|_: bool, _: T| T::ZERO, |_: bool, t: T| t);
        match (dx.map(|dx| &dx[span]), relu_bias) {
            (Some(t), None) => loops::line(x, t, mean, a, b, d, dy),
            (Some(t), Some(_)) => {
                loops::line_relu(x, t, mean, scale, bias, a, b, d, dy, keep, where_alive);
            }
            // The parameters alone move: a line in x for each channel.
            (None, None) => loops::line_relu(x, x, mean, scale, bias, a, b, d, dy, zero, keep),
            (None, Some(_)) => {
                loops::line_relu(x, x, mean, scale, bias, a, b, d, dy, zero, where_alive);
            }
        }
    });
}

/// The sums that a tangent needs of `dx`, zeros if `x` does not move, and the parts they are over.
fn tangent_sums<T: Real>(
    blocks: &Blocks,
    x: &[T],
    affine: &[Affine<T>],
    inv_std: &[T],
    dx: Option<&[T]>,
    rest: Option<&dyn Rest<T>>,
) -> (Vec<T>, usize) {
    let Some(dx) = dx else { return (vec![T::ZERO; 3 * inv_std.len()], 1) };
    let mut sums = blocks.sums(inv_std, |group, span, [sum, product, left]| {
        let mean = &affine[group].mean;
        loops::block_sums(&x[span.clone()], &dx[span], mean, sum, product, left);
    });
    let parts = of_the_whole(&mut sums, rest);
    (sums, parts)
}

#[track_caller]
fn check(op: &str, shape: [usize; 3], lens: &[usize]) {
    let len: usize = shape.iter().product();
    assert!(lens.iter().all(|&l| l == len), "{op}: [groups, rows, c] {shape:?}, lengths {lens:?}");
}

#[track_caller]
fn check_channels(op: &str, len: usize, lens: &[usize]) {
    assert!(lens.iter().all(|&l| l == len), "{op}: {len} channels, lengths {lens:?}");
}
