//! Maxima along axes and over windows: the first of equal ones, or the first NaN.

use super::Real;
use super::dispatch::wide;
use super::parallel::{for_each_chunk2, row_grain};
use super::reduce::LANES;

/// The largest value along the middle axis, `[outer, len, inner]` → `[outer, inner]`, and where it
/// was.
///
/// `indices` are flat positions in `x`: the first of equal maxima, or the first NaN.
///
/// # Panics
/// If `len` is 0, a length differs from its shape's, or `x` has more than `u32::MAX` elements.
#[track_caller]
pub fn max_axis<T: Real>(
    x: &[T],
    outer: usize,
    len: usize,
    inner: usize,
    y: &mut [T],
    indices: &mut [u32],
) {
    assert!(
        len > 0 && x.len() == outer * len * inner && y.len() == outer * inner,
        "max_axis: [{outer}, {len}, {inner}] from {} elements to {}",
        x.len(),
        y.len()
    );
    assert_eq!(indices.len(), y.len(), "max_axis: y has {} elements", y.len());
    assert!(u32::try_from(x.len()).is_ok(), "max_axis: {} elements do not fit in u32", x.len());
    if y.is_empty() {
        return;
    }
    let per_piece = row_grain(outer, len * inner);
    let chunk = per_piece * inner;
    for_each_chunk2(y, chunk, indices, chunk, |piece, y, indices| {
        max_rows_piece(x, piece * per_piece * len * inner, len, inner, y, indices);
    });
}

wide! {
    /// Appends the places where `x > threshold`, in order; for thresholds that few elements pass.
    pub fn places_above[T: Real](x: &[T], threshold: T, places: &mut Vec<u32>) {
        // A group without such an element costs comparisons but no branches.
        for (number, group) in x.chunks(LANES).enumerate() {
            if group.iter().fold(false, |any, &x| any | (x > threshold)) {
                let above = (0u32..).zip(group).filter(|(_, x)| **x > threshold);
                places.extend(above.map(|(at, _)| (number * LANES) as u32 + at));
            }
        }
    }

    fn max_rows_piece[T: Real](
        x: &[T], start: usize, len: usize, inner: usize, y: &mut [T], indices: &mut [u32],
    ) {
        let rows = y.chunks_exact_mut(inner).zip(indices.chunks_exact_mut(inner));
        for (i, (y, indices)) in rows.enumerate() {
            let start = start + i * len * inner;
            let x = &x[start..][..len * inner];
            if inner == 1 {
                let (at, top) = first_largest(x);
                (y[0], indices[0]) = (top, (start + at) as u32);
            } else {
                max_rows(x, start as u32, y, indices);
            }
        }
    }
}

/// The largest value of a row that is not empty; NaNs are ignored.
#[inline(always)]
pub(super) fn largest<T: Real>(x: &[T]) -> T {
    let larger = |a: T, b: T| if b > a { b } else { a };
    let mut lanes = [-T::MAX; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for (lane, &x) in lanes.iter_mut().zip(piece) {
            *lane = larger(*lane, x);
        }
    }
    let top = lanes.iter().chain(rest).fold(-T::MAX, |top, &x| larger(top, x));
    // Nothing above the least finite value: that value itself, or −∞.
    if top > -T::MAX { top } else { x.iter().fold(x[0], |top, &x| larger(top, x)) }
}

/// The place and value of the first maximum, or of the first NaN.
#[inline(always)]
fn first_largest<T: Real>(x: &[T]) -> (usize, T) {
    let top = largest(x);
    let is_nan = |x: &T| x.is_nan();
    let n_nans: u32 = x.iter().map(|x| u32::from(is_nan(x))).sum();
    let at = if n_nans > 0 { x.iter().position(is_nan) } else { x.iter().position(|&x| x == top) };
    let at = at.expect("a row has a largest value or a NaN");
    (at, x[at])
}

/// The columnwise maxima of the rows of `x`, and their places from `start` on.
#[inline(always)]
fn max_rows<T: Real>(x: &[T], start: u32, y: &mut [T], indices: &mut [u32]) {
    let inner = y.len();
    let rows = Window { first: 0, rows: x.len() / inner, row_step: inner, columns: 1, step: 0 };
    max_columns(x, start, rows, y, indices);
}

/// The places `first + p row_step + q step` for `p < rows`, `q < columns`, in this order.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) row_step: usize,
    pub(super) columns: usize,
    pub(super) step: usize,
}

impl Window {
    #[inline(always)]
    fn place(&self, p: usize, q: usize) -> usize {
        self.first + p * self.row_step + q * self.step
    }
}

/// `y[i] = max x[place + i]` over the places of a window, and `start` plus the position of that
/// element: the first maximum, or the first NaN.
#[inline(always)]
pub(super) fn max_columns<T: Real>(
    x: &[T],
    start: u32,
    window: Window,
    y: &mut [T],
    indices: &mut [u32],
) {
    y.copy_from_slice(&x[window.first..][..y.len()]);
    indices.fill(window.first as u32);
    for p in 0..window.rows {
        for q in 0..window.columns {
            let place = window.place(p, q);
            take_better(&x[place..][..y.len()], place as u32, y, indices);
        }
    }
    for (column, index) in (start..).zip(indices) {
        *index += column;
    }
}

/// `y[i] = x[i]` and `at[i] = place` where `x[i]` is better.
#[inline(always)]
fn take_better<T: Real>(x: &[T], place: u32, y: &mut [T], at: &mut [u32]) {
    let (x, at) = (&x[..y.len()], &mut at[..y.len()]);
    for i in 0..y.len() {
        let better = is_better(x[i], y[i]);
        y[i] = if better { x[i] } else { y[i] };
        at[i] = if better { place } else { at[i] };
    }
}

/// Whether `x` takes the place of `top`: larger, or a NaN unless `top` is one already.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::eq_op)] // NaN is the point.
fn is_better<T: Real>(x: T, top: T) -> bool {
    !(x <= top) & (top == top)
}
