//! Batch normalisation of `x` seen as `[groups, rows, c]`, its adjoint and its tangent.
//!
//! Statistics are per group and channel. Each kernel is two passes over memory: one that gathers
//! two or three sums per channel from fixed blocks of rows, combined in the order of the blocks,
//! and one that writes.

use rayon::prelude::*;

use super::Real;
use super::alloc::Buffer;
use super::parallel::{SERIAL, for_each_chunk, row_grain};
use super::reduce::{four, split_quads, sum_rows};

/// Standardises each channel within each group, then scales and shifts it.
///
/// `y = (x − mean) inv_std weight + bias` with `inv_std = 1 / √(var + eps)` and the biased `var`.
/// `x, y: [groups, rows, c]`, `weight, bias: [c]`; `mean`, `inv_std` and `var` are outputs
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
    y: &mut [T],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    check("batch_norm", [groups, rows, c], &[x.len(), y.len()]);
    check_channels("batch_norm", c, &[weight.len(), bias.len()]);
    check_channels("batch_norm", groups * c, &[mean.len(), inv_std.len(), var.len()]);
    if y.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    let mut partial = Buffer::<T>::stale(2 * blocks.len() * c);
    for_each_chunk(&mut partial, 2 * c, |i, partial| {
        let (mean, moment) = partial.split_at_mut(c);
        block_moments(&x[blocks.span(i)], mean, moment);
    });
    for group in 0..groups {
        let span = group * c..(group + 1) * c;
        let (mean, var) = (&mut mean[span.clone()], &mut var[span.clone()]);
        blocks.combine_moments(group, &partial, mean, var);
        let n = T::from_usize(rows);
        for (var, inv_std) in var.iter_mut().zip(&mut inv_std[span]) {
            *var = *var / n;
            *inv_std = T::ONE / (*var + eps).sqrt();
        }
    }
    blocks.write(y, |group, span, y| {
        let (mean, inv_std) = (&mean[group.clone()], &inv_std[group]);
        let scale: Vec<T> = inv_std.iter().zip(weight).map(|(&s, &w)| s * w).collect();
        for (y, x) in y.chunks_exact_mut(c).zip(x[span].chunks_exact(c)) {
            let channels = mean.iter().zip(&scale).zip(bias);
            for ((y, &x), ((&mean, &scale), &bias)) in y.iter_mut().zip(x).zip(channels) {
                *y = (x - mean) * scale + bias;
            }
        }
    });
}

/// The adjoint of [`batch_norm`] at `x`, for the cotangent `g` of `y`.
///
/// With `xhat = (x − mean) inv_std`: `dbias = Σ g` and `dweight = Σ g xhat` over groups and rows
/// `[c]`, and `dx = weight inv_std (g − mean(g) − xhat mean(g xhat))` with means over the rows of
/// each group. Without `dx` only the sums are computed.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_grad<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    g: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    dx: Option<&mut [T]>,
    dweight: &mut [T],
    dbias: &mut [T],
) {
    let dx_len = dx.as_ref().map_or(x.len(), |dx| dx.len());
    check("batch_norm_grad", [groups, rows, c], &[x.len(), g.len(), dx_len]);
    check_channels("batch_norm_grad", groups * c, &[mean.len(), inv_std.len()]);
    check_channels("batch_norm_grad", c, &[weight.len(), dweight.len(), dbias.len()]);
    dweight.fill(T::ZERO);
    dbias.fill(T::ZERO);
    if x.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    let sums = blocks.sums(x, mean, inv_std, g);
    for sums in sums.chunks_exact(3 * c) {
        for (i, (&sum, &product)) in sums[..c].iter().zip(&sums[c..]).enumerate() {
            dbias[i] += sum;
            dweight[i] += product;
        }
    }
    let Some(dx) = dx else { return };
    let zeros = vec![T::ZERO; c];
    let lines = Lines::new(&blocks, mean, inv_std, weight, &sums, &zeros, &zeros);
    blocks.write(dx, |group, span, dx| lines.write(group.start, &x[span.clone()], &g[span], dx));
}

/// The tangent of [`batch_norm`] at `x`, in the directions `dx`, `dweight` and `dbias`; none means
/// 0.
///
/// `dy = weight inv_std (dx − mean(dx) − xhat mean(dx xhat)) + dweight xhat + dbias`, with
/// `xhat = (x − mean) inv_std` and means over the rows of each group.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_tangent<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    dx: Option<&[T]>,
    dweight: Option<&[T]>,
    dbias: Option<&[T]>,
    groups: usize,
    rows: usize,
    c: usize,
    dy: &mut [T],
) {
    let dx_len = dx.map_or(x.len(), <[T]>::len);
    check("batch_norm_tangent", [groups, rows, c], &[x.len(), dy.len(), dx_len]);
    check_channels("batch_norm_tangent", groups * c, &[mean.len(), inv_std.len()]);
    check_channels("batch_norm_tangent", c, &[weight.len()]);
    let zeros = vec![T::ZERO; c];
    let (dweight, dbias) = (dweight.unwrap_or(&zeros), dbias.unwrap_or(&zeros));
    check_channels("batch_norm_tangent", c, &[dweight.len(), dbias.len()]);
    if x.is_empty() {
        return;
    }
    let blocks = Blocks::new(groups, rows, c);
    match dx {
        Some(dx) => {
            let sums = blocks.sums(x, mean, inv_std, dx);
            let lines = Lines::new(&blocks, mean, inv_std, weight, &sums, dweight, dbias);
            blocks.write(dy, |group, span, dy| {
                lines.write(group.start, &x[span.clone()], &dx[span], dy);
            });
        }
        // The parameters alone move: a line in x for each channel.
        None => blocks.write(dy, |group, span, dy| {
            let (mean, inv_std) = (&mean[group.clone()], &inv_std[group]);
            let slope: Vec<T> = inv_std.iter().zip(dweight).map(|(&s, &dw)| s * dw).collect();
            for (dy, x) in dy.chunks_exact_mut(c).zip(x[span].chunks_exact(c)) {
                let channels = mean.iter().zip(&slope).zip(dbias);
                for ((dy, &x), ((&mean, &slope), &dbias)) in dy.iter_mut().zip(x).zip(channels) {
                    *dy = (x - mean) * slope + dbias;
                }
            }
        }),
    }
}

/// `out = a t + b (x − mean) + d` for each channel: what adjoint and tangent write from `t` and
/// `x`.
struct Lines<'a, T> {
    c: usize,
    mean: &'a [T],
    a: Vec<T>,
    b: Vec<T>,
    d: Vec<T>,
}

impl<'a, T: Real> Lines<'a, T> {
    /// The coefficients `[groups, c]` of
    /// `weight inv_std (t − mean(t) − xhat mean(t xhat)) + dweight xhat + dbias`.
    fn new(
        blocks: &Blocks,
        mean: &'a [T],
        inv_std: &[T],
        weight: &[T],
        sums: &[T],
        dweight: &[T],
        dbias: &[T],
    ) -> Self {
        let (c, n) = (blocks.c, T::from_usize(blocks.rows));
        let len = blocks.groups * c;
        let mut lines = Lines {
            c,
            mean,
            a: Vec::with_capacity(len),
            b: Vec::with_capacity(len),
            d: Vec::with_capacity(len),
        };
        for (at, &inv_std) in inv_std.iter().enumerate() {
            let (group, i) = (at / c, at % c);
            let sums = &sums[group * 3 * c..];
            let a = weight[i] * inv_std;
            let along_x = a * sums[c + i] / n * inv_std;
            lines.a.push(a);
            lines.b.push(dweight[i] * inv_std - along_x);
            // Σ (x − mean) is what the mean's rounding left, not 0. Taken into account, the sum
            // over a group is 0 to the last digits, as it is in exact arithmetic.
            lines.d.push(dbias[i] - (a * sums[i] - along_x * sums[2 * c + i]) / n);
        }
        lines
    }

    /// Fills whole rows of the group whose channels start at `channels`.
    #[inline(always)]
    fn write(&self, channels: usize, x: &[T], t: &[T], out: &mut [T]) {
        let c = self.c;
        let channels = channels..channels + c;
        let (mean, a) = (&self.mean[channels.clone()], &self.a[channels.clone()]);
        let (b, d) = (&self.b[channels.clone()], &self.d[channels]);
        let rows = out.chunks_exact_mut(c).zip(x.chunks_exact(c)).zip(t.chunks_exact(c));
        for ((out, x), t) in rows {
            for i in 0..c {
                out[i] = a[i] * t[i] + (b[i] * (x[i] - mean[i]) + d[i]);
            }
        }
    }
}

/// `x` cut in blocks of rows that do not cross groups.
struct Blocks {
    groups: usize,
    rows: usize,
    c: usize,
    /// Rows of a block; the last block of a group may have fewer.
    block_rows: usize,
    /// Blocks of a group.
    per_group: usize,
}

impl Blocks {
    fn new(groups: usize, rows: usize, c: usize) -> Self {
        // At least 32 rows, so that the sums of blocks stay few beside the elements.
        let block_rows = row_grain(rows, c).max(32).min(rows);
        Blocks { groups, rows, c, block_rows, per_group: rows.div_ceil(block_rows) }
    }

    fn len(&self) -> usize {
        self.groups * self.per_group
    }

    /// The rows of block `i` of all.
    fn n_rows(&self, i: usize) -> usize {
        let start = (i % self.per_group) * self.block_rows;
        self.block_rows.min(self.rows - start)
    }

    /// The elements of block `i` of all.
    fn span(&self, i: usize) -> std::ops::Range<usize> {
        let (group, block) = (i / self.per_group, i % self.per_group);
        let start = (group * self.rows + block * self.block_rows) * self.c;
        start..start + self.n_rows(i) * self.c
    }

    /// Combines the means and squared deviations `[blocks, 2, c]` of one group, in order.
    fn combine_moments<T: Real>(&self, group: usize, partial: &[T], mean: &mut [T], m2: &mut [T]) {
        let c = self.c;
        mean.fill(T::ZERO);
        m2.fill(T::ZERO);
        let mut n = 0;
        for i in group * self.per_group..(group + 1) * self.per_group {
            let partial = &partial[i * 2 * c..][..2 * c];
            let n_rows = self.n_rows(i);
            let share = T::from_f64(n_rows as f64 / (n + n_rows) as f64);
            let weight = T::from_f64(n as f64 * n_rows as f64 / (n + n_rows) as f64);
            for j in 0..c {
                let delta = partial[j] - mean[j];
                mean[j] += delta * share;
                m2[j] += partial[c + j] + delta * delta * weight;
            }
            n += n_rows;
        }
    }

    /// `Σ t`, `Σ t (x − mean) inv_std` and `Σ (x − mean)` of each group: `[groups, 3, c]`.
    fn sums<T: Real>(&self, x: &[T], mean: &[T], inv_std: &[T], t: &[T]) -> Vec<T> {
        let c = self.c;
        let mut partial = Buffer::<T>::stale(3 * self.len() * c);
        for_each_chunk(&mut partial, 3 * c, |i, partial| {
            let mean = &mean[i / self.per_group * c..][..c];
            let (sum, rest) = partial.split_at_mut(c);
            let (product, left) = rest.split_at_mut(c);
            block_sums(&x[self.span(i)], &t[self.span(i)], mean, [sum, product, left]);
        });
        let mut sums = vec![T::ZERO; self.groups * 3 * c];
        for (group, sums) in sums.chunks_exact_mut(3 * c).enumerate() {
            let blocks = group * self.per_group * 3 * c..(group + 1) * self.per_group * 3 * c;
            for partial in partial[blocks].chunks_exact(3 * c) {
                for (sum, &partial) in sums.iter_mut().zip(partial) {
                    *sum += partial;
                }
            }
            for (product, &inv_std) in sums[c..2 * c].iter_mut().zip(&inv_std[group * c..]) {
                *product *= inv_std;
            }
        }
        sums
    }

    /// Calls `f(channels of the group, elements, out)` for the elements of each block of `out`.
    fn write<T: Real>(
        &self,
        out: &mut [T],
        f: impl Fn(std::ops::Range<usize>, std::ops::Range<usize>, &mut [T]) + Sync,
    ) {
        let block = |group: usize, (i, out): (usize, &mut [T])| {
            let span = self.span(group * self.per_group + i);
            f(group * self.c..(group + 1) * self.c, span, out);
        };
        let group_len = self.rows * self.c;
        let chunk = self.block_rows * self.c;
        if out.len() < SERIAL {
            for (group, out) in out.chunks_mut(group_len).enumerate() {
                out.chunks_mut(chunk).enumerate().for_each(|piece| block(group, piece));
            }
        } else {
            out.par_chunks_mut(group_len).enumerate().for_each(|(group, out)| {
                out.par_chunks_mut(chunk).enumerate().for_each(|piece| block(group, piece));
            });
        }
    }
}

/// The mean of each column of `x` and its squared deviations about that mean.
#[inline(always)]
fn block_moments<T: Real>(x: &[T], mean: &mut [T], m2: &mut [T]) {
    let c = mean.len();
    sum_rows(x, mean);
    let rows = T::from_usize(x.len() / c);
    for mean in mean.iter_mut() {
        *mean = *mean / rows; // Not times 1 / rows, which would round twice.
    }
    m2.fill(T::ZERO);
    let (mean, m2) = (&mean[..c], &mut m2[..c]);
    let square = |x: T| x * x;
    let (quads, rest) = split_quads(x, c);
    for quad in quads.chunks_exact(4 * c) {
        let [p, q, r, s] = four(quad, c);
        for i in 0..c {
            m2[i] += (square(p[i] - mean[i]) + square(q[i] - mean[i]))
                + (square(r[i] - mean[i]) + square(s[i] - mean[i]));
        }
    }
    for row in rest.chunks_exact(c) {
        for i in 0..c {
            m2[i] += square(row[i] - mean[i]);
        }
    }
}

/// `Σ t`, `Σ t (x − mean)` and `Σ (x − mean)` over the rows of a block.
#[inline(always)]
fn block_sums<T: Real>(x: &[T], t: &[T], mean: &[T], sums: [&mut [T]; 3]) {
    let c = mean.len();
    let [sum, product, left] = sums.map(|sum| {
        sum.fill(T::ZERO);
        &mut sum[..c]
    });
    let ((x, x_rest), (t, t_rest)) = (split_quads(x, c), split_quads(t, c));
    for (x, t) in x.chunks_exact(4 * c).zip(t.chunks_exact(4 * c)) {
        let ([xp, xq, xr, xs], [tp, tq, tr, ts]) = (four(x, c), four(t, c));
        for i in 0..c {
            let m = mean[i];
            let (p, q, r, s) = (xp[i] - m, xq[i] - m, xr[i] - m, xs[i] - m);
            sum[i] += (tp[i] + tq[i]) + (tr[i] + ts[i]);
            product[i] += (tp[i] * p + tq[i] * q) + (tr[i] * r + ts[i] * s);
            left[i] += (p + q) + (r + s);
        }
    }
    for (x, t) in x_rest.chunks_exact(c).zip(t_rest.chunks_exact(c)) {
        for i in 0..c {
            let p = x[i] - mean[i];
            sum[i] += t[i];
            product[i] += t[i] * p;
            left[i] += p;
        }
    }
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
