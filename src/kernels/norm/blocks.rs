//! How a batch is cut for its statistics, and the sums and coefficients that passes share.

use std::ops::Range;

use super::loops;
use crate::kernels::Real;
use crate::kernels::alloc::Buffer;
use crate::kernels::parallel::{SERIAL, for_each_chunk, row_grain};
use crate::kernels::reduce::sum_rows;

/// Rows of fewer elements are read several at a time, against as many copies of the channels'
/// numbers: a loop over a few vectors costs more to enter than to run.
const LONG_ROW: usize = 256;

/// `x` cut in blocks of rows that do not cross groups.
pub(super) struct Blocks {
    groups: usize,
    rows: usize,
    c: usize,
    /// Rows that stay in one block: those of an image, or 1.
    pub(super) unit: usize,
    /// Elements of the output for each unit.
    pub(super) out: usize,
    /// Rows of a block; the last block of a group may have fewer.
    block_rows: usize,
    /// Blocks of a group.
    per_group: usize,
}

impl Blocks {
    /// The blocks of a batch that is not empty; a pooling does not let images be cut.
    pub(super) fn new([n, h, w, c]: [usize; 4], groups: usize, pools: bool) -> Self {
        let (unit, out) = if pools { (h * w, (h / 2) * (w / 2) * c) } else { (1, c) };
        let rows = n / groups * h * w;
        // At least 32 rows, so that the sums of blocks stay few beside the elements.
        let least = 32usize.next_multiple_of(unit);
        let block_rows = (row_grain(rows / unit, unit * c) * unit).max(least).min(rows);
        Blocks { groups, rows, c, unit, out, block_rows, per_group: rows.div_ceil(block_rows) }
    }

    #[inline]
    fn len(&self) -> usize {
        self.groups * self.per_group
    }

    /// The group of block `i` of all.
    #[inline]
    fn group(&self, i: usize) -> usize {
        i / self.per_group
    }

    /// The rows of block `i` of all.
    #[inline]
    fn n_rows(&self, i: usize) -> usize {
        let start = (i % self.per_group) * self.block_rows;
        self.block_rows.min(self.rows - start)
    }

    /// The elements of block `i` of all.
    #[inline]
    fn span(&self, i: usize) -> Range<usize> {
        let (group, block) = (i / self.per_group, i % self.per_group);
        let start = (group * self.rows + block * self.block_rows) * self.c;
        start..start + self.n_rows(i) * self.c
    }

    /// The elements of the output that belong to these elements of `x`.
    #[inline]
    pub(super) fn out_span(&self, span: &Range<usize>) -> Range<usize> {
        let unit = self.unit * self.c;
        span.start / unit * self.out..span.end / unit * self.out
    }

    /// How often a row's channels are repeated, so that it is long enough for a loop.
    #[inline]
    fn repeats(&self) -> usize {
        (LONG_ROW / self.c).max(1)
    }

    /// The mean and biased variance of each group and channel, `[groups, c]`.
    pub(super) fn moments<T: Real>(&self, x: &[T], mean: &mut [T], var: &mut [T]) {
        let c = self.c;
        let mut partial = Buffer::<T>::stale(2 * self.len() * c);
        for_each_chunk(&mut partial, 2 * c, |i, partial| {
            let (mean, m2) = partial.split_at_mut(c);
            loops::block_moments(&x[self.span(i)], mean, m2);
        });
        let n = T::from_usize(self.rows);
        let groups = mean.chunks_exact_mut(c).zip(var.chunks_exact_mut(c));
        for (group, (mean, var)) in groups.enumerate() {
            self.combine_moments(group, &partial, mean, var);
            var.iter_mut().for_each(|var| *var = *var / n);
        }
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

    /// `Σ t`, `Σ t (x − mean) inv_std` and `Σ (x − mean)` of each group, `[groups, 3, c]`, from
    /// what `f(group, elements, sums)` adds to the sums of each block; there `inv_std` is missing.
    pub(super) fn sums<T: Real>(
        &self,
        inv_std: &[T],
        f: impl Fn(usize, Range<usize>, [&mut [T]; 3]) + Sync,
    ) -> Vec<T> {
        let c = self.c;
        let mut partial = Buffer::<T>::stale(3 * self.len() * c);
        for_each_chunk(&mut partial, 3 * c, |i, partial| {
            partial.fill(T::ZERO);
            let (sum, rest) = partial.split_at_mut(c);
            let (product, left) = rest.split_at_mut(c);
            f(self.group(i), self.span(i), [sum, product, left]);
        });
        let mut sums = vec![T::ZERO; self.groups * 3 * c];
        for (group, sums) in sums.chunks_exact_mut(3 * c).enumerate() {
            let blocks = group * self.per_group * 3 * c..(group + 1) * self.per_group * 3 * c;
            sum_rows(&partial[blocks], sums);
            for (product, &inv_std) in sums[c..2 * c].iter_mut().zip(&inv_std[group * c..]) {
                *product *= inv_std;
            }
        }
        sums
    }

    /// The pieces of an output in which each unit of rows has `unit_len` elements, one a block.
    pub(super) fn pieces<'a, E>(&self, mut out: &'a mut [E], unit_len: usize) -> Vec<&'a mut [E]> {
        let cut = |i: usize| {
            let (piece, rest) =
                std::mem::take(&mut out).split_at_mut(self.n_rows(i) / self.unit * unit_len);
            out = rest;
            piece
        };
        (0..self.len()).map(cut).collect()
    }

    /// Calls `f(group, elements, piece)` for each block and its piece of an output.
    pub(super) fn each<P: Send>(&self, pieces: Vec<P>, f: impl Fn(usize, Range<usize>, P) + Sync) {
        let block = |i: usize, piece: P| f(self.group(i), self.span(i), piece);
        if self.groups * self.rows * self.c < SERIAL {
            pieces.into_iter().enumerate().for_each(|(i, piece)| block(i, piece));
        } else {
            let mut pieces: Vec<Option<P>> = pieces.into_iter().map(Some).collect();
            for_each_chunk(&mut pieces, 1, |i, piece| {
                block(i, piece[0].take().expect("a piece is taken once"));
            });
        }
    }
}

/// What the output is in each channel of a group: `y = (x − mean) scale + bias`.
///
/// A few copies one after the other, so that a prefix fits any number of short rows.
pub(super) struct Affine<T> {
    pub(super) mean: Vec<T>,
    pub(super) scale: Vec<T>,
    pub(super) bias: Vec<T>,
}

impl<T: Real> Affine<T> {
    /// One for each group.
    pub(super) fn groups(
        blocks: &Blocks,
        mean: &[T],
        inv_std: &[T],
        weight: &[T],
        bias: &[T],
    ) -> Vec<Self> {
        let (c, n) = (blocks.c, blocks.repeats());
        let group = |(mean, inv_std): (&[T], &[T])| {
            let scale: Vec<T> = inv_std.iter().zip(weight).map(|(&s, &w)| s * w).collect();
            Affine { mean: mean.repeat(n), scale: scale.repeat(n), bias: bias.repeat(n) }
        };
        mean.chunks_exact(c).zip(inv_std.chunks_exact(c)).map(group).collect()
    }
}

/// `out = a t + b (x − mean) + d` in each channel of a group: what adjoint and tangent write from
/// `t` and `x`. Repeated as [`Affine`] is.
pub(super) struct Line<T> {
    pub(super) a: Vec<T>,
    pub(super) b: Vec<T>,
    pub(super) d: Vec<T>,
}

impl<T: Real> Line<T> {
    /// The coefficients of each group of
    /// `weight inv_std (t − mean(t) − xhat mean(t xhat)) + dweight xhat + dbias`, with means over
    /// as many `parts` as the blocks are one of.
    pub(super) fn groups(
        blocks: &Blocks,
        parts: usize,
        inv_std: &[T],
        weight: &[T],
        sums: &[T],
        dweight: Option<&[T]>,
        dbias: Option<&[T]>,
    ) -> Vec<Self> {
        let (c, n) = (blocks.c, T::from_usize(blocks.rows * parts));
        let or_zero = |slope: Option<&[T]>, i: usize| slope.map_or(T::ZERO, |slope| slope[i]);
        let group = |(inv_std, sums): (&[T], &[T])| {
            let [mut a, mut b, mut d] = [(); 3].map(|()| vec![T::ZERO; c]);
            for i in 0..c {
                a[i] = weight[i] * inv_std[i];
                let along_x = a[i] * sums[c + i] / n * inv_std[i];
                b[i] = or_zero(dweight, i) * inv_std[i] - along_x;
                // Σ (x − mean) is what the mean's rounding left, not 0. Taken into account, the sum
                // over a group is 0 to the last digits, as it is in exact arithmetic.
                let rest = (a[i] * sums[i] - along_x * sums[2 * c + i]) / n;
                d[i] = or_zero(dbias, i) - rest;
            }
            let times = blocks.repeats();
            Line { a: a.repeat(times), b: b.repeat(times), d: d.repeat(times) }
        };
        inv_std.chunks_exact(c).zip(sums.chunks_exact(3 * c)).map(group).collect()
    }
}
