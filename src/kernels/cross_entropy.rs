//! The cross-entropy of rows of scores, its adjoint and its tangent.

use super::Real;
use super::dispatch::wide;
use super::maxima::largest;
use super::parallel::{for_each_chunk, for_each_chunk2, row_grain};
use super::reduce::{dot_lanes_by, sum_lanes, sum_lanes_by};

/// Rows of scores, one for each target.
#[derive(Clone, Copy)]
pub struct Scores<'a, T> {
    /// `[rows, cols]`.
    pub x: &'a [T],
    /// The column that each row should choose.
    pub target: &'a [u32],
    /// A column of each row that does not take part, if any; not its target.
    pub without: Option<&'a [u32]>,
}

impl<'a, T: Real> Scores<'a, T> {
    /// The number of columns.
    ///
    /// # Panics
    /// If the lengths are not those of whole rows, a column that is named does not exist, or a
    /// target does not take part.
    #[track_caller]
    pub fn cols(&self) -> usize {
        let op = if self.without.is_some() { "cross_entropy_without" } else { "cross_entropy" };
        let rows = self.target.len();
        let cols = self.x.len().checked_div(rows).unwrap_or(0);
        assert!(rows * cols == self.x.len(), "{op}: {} scores for {rows} targets", self.x.len());
        for (row, &target) in self.target.iter().enumerate() {
            let fits = (target as usize) < cols;
            assert!(fits, "{op}: target {target} of row {row} is not below {cols} columns");
        }
        let Some(without) = self.without else { return cols };
        let n = without.len();
        assert!(n == rows, "{op}: {n} columns left out of {rows} rows");
        for (row, (&out, &target)) in without.iter().zip(self.target).enumerate() {
            let fits = (out as usize) < cols;
            assert!(fits, "{op}: column {out}, left out of row {row}, is not below {cols} columns");
            assert!(out != target, "{op}: column {out}, left out of row {row}, is its target");
        }
        cols
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &'a [T] {
        let cols = self.x.len() / self.target.len();
        &self.x[row * cols..][..cols]
    }

    /// A row in which the exponential of what does not take part is 0; maybe in `spare`.
    #[inline(always)]
    fn taking_part<'b>(&self, row: usize, spare: &'b mut Vec<T>) -> &'b [T]
    where
        'a: 'b,
    {
        let Some(without) = self.without else { return self.row(row) };
        spare.clear();
        spare.extend_from_slice(self.row(row));
        spare[without[row] as usize] = T::from_f64(f64::NEG_INFINITY);
        spare
    }
}

/// `loss[r] = ln Σₖ exp(x[r, k]) − x[r, target[r]]`, the sum over the columns that take part.
///
/// The largest of them, `m[r]`, is taken out first, so that nothing overflows, and its own 1 out of
/// the sum: `loss[r] = (m[r] − x[r, target[r]]) + ln(1 + s[r])` with
/// `s[r] = Σₖ exp(x[r, k] − m[r]) − 1`, of which no digit is lost where it is small. `peaks[r]`
/// gets `m[r]` and `s[r]`.
///
/// # Panics
/// As [`Scores::cols`]; if there are not as many results as rows.
#[track_caller]
pub fn cross_entropy<T: Real>(scores: Scores<'_, T>, peaks: &mut [[T; 2]], loss: &mut [T]) {
    let (rows, cols) = (scores.target.len(), scores.cols());
    let lens = [peaks.len(), loss.len()];
    assert!(lens == [rows; 2], "cross_entropy: {lens:?} results of {rows} rows");
    let grain = row_grain(rows, cols);
    for_each_chunk2(peaks, grain, loss, grain, |i, peaks, loss| {
        find_peaks(&scores, i * grain, peaks);
        for ((row, loss), &[top, rest]) in (i * grain..).zip(loss).zip(&*peaks) {
            *loss = (top - scores.row(row)[scores.target[row] as usize]) + rest.ln_1p();
        }
    });
}

/// `dx[r, j] = g[r] (p[r, j] − [j = target[r]])` with the softmax `p` of the columns that take
/// part, 0 for one that does not: the adjoint of [`cross_entropy`], which found `peaks`.
///
/// The target's entry is minus the sum of the others, which keeps every digit where `p` is near 1.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn cross_entropy_grad<T: Real>(scores: Scores<'_, T>, peaks: &[[T; 2]], g: &[T], dx: &mut [T]) {
    let (rows, cols) = (scores.target.len(), scores.cols());
    let lens = [peaks.len(), g.len()];
    assert!(lens == [rows; 2], "cross_entropy_grad: {lens:?} values for {rows} rows");
    assert_eq!(dx.len(), scores.x.len(), "cross_entropy_grad: the length of dx");
    if dx.is_empty() {
        return;
    }
    let grain = row_grain(rows, cols);
    for_each_chunk(dx, grain * cols, |i, dx| {
        for (row, dx) in (i * grain..).zip(dx.chunks_exact_mut(cols)) {
            let [top, rest] = peaks[row];
            let out = scores.without.map(|without| without[row] as usize);
            slopes(
                scores.row(row),
                top,
                g[row] / (T::ONE + rest),
                scores.target[row] as usize,
                out,
                dx,
            );
        }
    });
}

/// `dloss[r] = Σⱼ p[r, j] (dx[r, j] − dx[r, target[r]])`, `p` as in [`cross_entropy_grad`]: the
/// tangent of [`cross_entropy`], which found `peaks`.
///
/// # Panics
/// As [`cross_entropy`].
#[track_caller]
pub fn cross_entropy_tangent<T: Real>(
    scores: Scores<'_, T>,
    peaks: &[[T; 2]],
    dx: &[T],
    dloss: &mut [T],
) {
    let (rows, cols) = (scores.target.len(), scores.cols());
    let lens = [peaks.len(), dloss.len()];
    assert!(lens == [rows; 2], "cross_entropy_tangent: {lens:?} values for {rows} rows");
    assert_eq!(dx.len(), scores.x.len(), "cross_entropy_tangent: the length of dx");
    let grain = row_grain(rows, cols);
    for_each_chunk(dloss, grain, |i, dloss| {
        let mut spare = Vec::new();
        for (row, dloss) in (i * grain..).zip(dloss) {
            let dx = &dx[row * cols..][..cols];
            let [top, rest] = peaks[row];
            let own = dx[scores.target[row] as usize];
            *dloss = exp_dot(scores.taking_part(row, &mut spare), top, dx, own) / (T::ONE + rest);
        }
    });
}

wide! {
    fn find_peaks[T: Real](scores: &Scores<'_, T>, first: usize, peaks: &mut [[T; 2]]) {
        let mut spare = Vec::new();
        for (row, peak) in (first..).zip(peaks) {
            let x = scores.taking_part(row, &mut spare);
            let top = largest(x);
            *peak = if top.is_finite() {
                // Each score as large adds 1, but for the one that is taken out.
                let equals: u32 = x.iter().map(|&x| u32::from(x == top)).sum();
                let others = sum_lanes_by(
                    x,
                    #[inline(always)]
                    |x| if x == top { T::ZERO } else { (x - top).exp() },
                );
                [top, others + T::from_usize(equals as usize - 1)]
            } else {
                [T::ZERO, sum_lanes_by(x, T::exp) - T::ONE]
            };
        }
    }

    fn slopes[T: Real](
        x: &[T], top: T, factor: T, target: usize, without: Option<usize>, dx: &mut [T],
    ) {
        for (dx, &x) in dx.iter_mut().zip(x) {
            *dx = factor * (x - top).exp();
        }
        for column in without.into_iter().chain([target]) {
            dx[column] = T::ZERO;
        }
        dx[target] = -sum_lanes(dx);
    }

    fn exp_dot[T: Real](x: &[T], top: T, dx: &[T], own: T) -> T {
        dot_lanes_by(x, dx, #[inline(always)] |x, dx| (x - top).exp() * (dx - own))
    }
}
