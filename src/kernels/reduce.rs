//! Sums and maxima along axes, in an order fixed by the shape.

use std::ops::Range;

use rayon::prelude::*;

use super::Real;
use super::alloc::Buffer;
use super::dispatch::wide;
use super::parallel::{GRAIN, SERIAL, for_each_chunk, for_each_chunk2, row_grain};

/// Interleaved accumulators of a row: a few registers of any width, so that one addition need not
/// wait for the last.
const LANES: usize = 32;

/// `Σ x[i]`: pieces of a fixed length summed by lanes, their sums combined pairwise.
pub fn sum<T: Real>(x: &[T]) -> T {
    sum_pieces(x.len(), |piece| sum_piece(&x[piece]))
}

/// `Σ a[i] b[i]`, in the order of [`sum`].
///
/// # Panics
/// If the lengths differ.
#[track_caller]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    assert_eq!(a.len(), b.len(), "dot: a has {} elements, b {}", a.len(), b.len());
    sum_pieces(a.len(), |piece| dot_piece(&a[piece.clone()], &b[piece]))
}

/// The sum of what `f` gives for each piece of `len` elements, combined pairwise.
fn sum_pieces<T: Real>(len: usize, f: impl Fn(Range<usize>) -> T + Sync) -> T {
    if len <= GRAIN {
        return f(0..len);
    }
    let piece = |i: usize| f(i * GRAIN..((i + 1) * GRAIN).min(len));
    let n = len.div_ceil(GRAIN);
    let pieces: Vec<T> = if len < SERIAL {
        (0..n).map(piece).collect()
    } else {
        (0..n).into_par_iter().map(piece).collect()
    };
    sum_pairwise(&pieces)
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

    fn sum_piece[T: Real](x: &[T]) -> T {
        sum_lanes(x)
    }

    fn dot_piece[T: Real](a: &[T], b: &[T]) -> T {
        dot_lanes_by(a, b, |a, b| a * b)
    }

    /// The sum of each row of `x`, as many as `y` has elements.
    fn sum_each_row[T: Real](x: &[T], y: &mut [T]) {
        let rows = x.len() / y.len();
        for (y, x) in y.iter_mut().zip(x.chunks_exact(rows)) {
            // A short row does not fill the lanes.
            *y = if rows < LANES { sum_in_order(x) } else { sum_lanes(x) };
        }
    }

    /// `y += x`.
    fn add_row[T: Real](x: &[T], y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }

    /// `y = Σ` of the rows of `x`, each as long as `y`.
    fn sum_block[T: Real](x: &[T], y: &mut [T]) {
        sum_rows(x, y);
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

/// Sums in 32 interleaved lanes, so that the order suits every vector width.
#[inline(always)]
pub(super) fn sum_lanes<T: Real>(x: &[T]) -> T {
    sum_lanes_by(x, |x| x)
}

/// `Σ f(x[i])`, in the order of [`sum_lanes`].
#[inline(always)]
pub(super) fn sum_lanes_by<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for (lane, &x) in lanes.iter_mut().zip(piece) {
            *lane += f(x);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f(x);
    }
    fold_lanes(lanes)
}

/// `Σ f(a[i], b[i])`, in the order of [`sum_lanes`].
#[inline(always)]
pub(super) fn dot_lanes_by<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (a_pieces, b_pieces) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_pieces.remainder().iter().zip(b_pieces.remainder());
    for (a, b) in a_pieces.zip(b_pieces) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
        *lane += f(a, b);
    }
    fold_lanes(lanes)
}

#[inline(always)]
fn fold_lanes<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn sum_in_order<T: Real>(x: &[T]) -> T {
    x.iter().fold(T::ZERO, |sum, &x| sum + x)
}

fn sum_pairwise<T: Real>(x: &[T]) -> T {
    match x {
        [] => T::ZERO,
        [x] => *x,
        _ => {
            let (left, right) = x.split_at(x.len() / 2);
            sum_pairwise(left) + sum_pairwise(right)
        }
    }
}

/// Sums `x` of `shape` over the axes that are not `kept`; `y` has the kept axes in order.
///
/// The adjoint of [`broadcast_to`](super::layout::broadcast_to).
///
/// # Panics
/// If `kept` has another rank than `shape`, or a length differs from its shape's.
#[track_caller]
pub fn sum_to<T: Real>(x: &[T], shape: &[usize], kept: &[bool], y: &mut [T]) {
    assert_eq!(shape.len(), kept.len(), "sum_to: shape {shape:?}, kept {kept:?}");
    let y_len: usize =
        shape.iter().zip(kept).filter(|(_, kept)| **kept).map(|(len, _)| len).product::<usize>();
    assert!(
        x.len() == shape.iter().product::<usize>() && y.len() == y_len,
        "sum_to: x {shape:?} has {} elements, y (kept {kept:?}) has {}",
        x.len(),
        y.len()
    );
    if x.is_empty() {
        y.fill(T::ZERO);
        return;
    }
    // Neighbours of one kind are one axis.
    let mut axes: Vec<(usize, bool)> = Vec::with_capacity(6);
    for (&len, &kept) in shape.iter().zip(kept).filter(|(len, _)| **len != 1) {
        match axes.last_mut() {
            Some((outer, kind)) if *kind == kept => *outer *= len,
            _ => axes.push((len, kept)),
        }
    }
    sum_axes(x, &mut axes, y);
}

/// Sums over one axis a time, the last first, so that each pass leaves less to the next.
fn sum_axes<T: Real>(x: &[T], axes: &mut Vec<(usize, bool)>, y: &mut [T]) {
    let Some(last) = axes.iter().rposition(|&(_, kept)| !kept) else {
        y.copy_from_slice(x);
        return;
    };
    let rows = axes[last].0;
    let inner: usize = axes[last + 1..].iter().map(|axis| axis.0).product::<usize>();
    let outer: usize = axes[..last].iter().map(|axis| axis.0).product::<usize>();
    if axes[..last].iter().all(|&(_, kept)| kept) {
        sum_middle(x, outer, rows, inner, y);
        return;
    }
    let mut partial = Buffer::stale(outer * inner);
    sum_middle(x, outer, rows, inner, &mut partial);
    axes.truncate(last);
    // After a summed axis goes, its neighbours are both kept: one axis again.
    match axes.last_mut() {
        Some((len, true)) => *len *= inner,
        _ => axes.push((inner, true)),
    }
    sum_axes(&partial, axes, y);
}

/// `[outer, rows, inner]` → `[outer, inner]`.
fn sum_middle<T: Real>(x: &[T], outer: usize, rows: usize, inner: usize, y: &mut [T]) {
    if inner == 1 {
        if outer == 1 {
            y[0] = sum(x);
            return;
        }
        for_each_chunk(y, row_grain(outer, rows), |i, y| {
            let start = i * row_grain(outer, rows) * rows;
            sum_each_row(&x[start..start + y.len() * rows], y);
        });
        return;
    }
    if inner >= GRAIN {
        return sum_columns(x, rows, inner, y);
    }
    // At least 32 rows, so that the sums of blocks are few beside the elements.
    let block_rows = row_grain(rows, inner).max(32).min(rows);
    let n_blocks = rows.div_ceil(block_rows);
    if n_blocks == 1 {
        let per_piece = row_grain(outer, rows * inner);
        for_each_chunk(y, per_piece * inner, |i, y| {
            let x = &x[i * per_piece * rows * inner..];
            for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(rows * inner)) {
                sum_block(x, y);
            }
        });
        return;
    }
    // Too many rows for one piece: the sums of blocks of rows first, then the sum of these.
    let mut partial = Buffer::stale(outer * n_blocks * inner);
    for_each_chunk(&mut partial, inner, |i, y| {
        let (image, block) = (i / n_blocks, i % n_blocks);
        let block = block * block_rows..((block + 1) * block_rows).min(rows);
        sum_block(&x[(image * rows + block.start) * inner..(image * rows + block.end) * inner], y);
    });
    sum_middle(&partial, outer, n_blocks, inner, y);
}

/// [`sum_middle`] for rows so long that a piece of work is a part of each.
fn sum_columns<T: Real>(x: &[T], rows: usize, inner: usize, y: &mut [T]) {
    let chunk = GRAIN / 4;
    for_each_chunk(y, chunk, |i, mut y| {
        y.fill(T::ZERO);
        let mut at = i * chunk;
        while !y.is_empty() {
            let (image, column) = (at / inner, at % inner);
            let width = (inner - column).min(y.len());
            let (part, rest) = y.split_at_mut(width);
            for row in 0..rows {
                add_row(&x[(image * rows + row) * inner + column..][..part.len()], part);
            }
            at += part.len();
            y = rest;
        }
    });
}

/// `y = Σ` of the rows of `x`, each as long as `y`.
#[inline(always)]
pub(super) fn sum_rows<T: Real>(x: &[T], y: &mut [T]) {
    y.fill(T::ZERO);
    let c = y.len();
    let (quads, rest) = split_quads(x, c);
    for quad in quads.chunks_exact(4 * c) {
        let [p, q, r, s] = four(quad, c);
        for i in 0..c {
            y[i] += (p[i] + q[i]) + (r[i] + s[i]);
        }
    }
    for row in rest.chunks_exact(c) {
        for (y, &x) in y.iter_mut().zip(row) {
            *y += x;
        }
    }
}

/// Elements of the longest rows that are worth reading four at a time, to touch the sums less
/// often: longer ones would be four streams in one page of memory, of which the processor fetches
/// only one ahead.
const QUAD: usize = 128;

/// The rows of `c` elements to read four at a time, and the others.
#[inline(always)]
pub(super) fn split_quads<T>(rows: &[T], c: usize) -> (&[T], &[T]) {
    rows.split_at(if c > QUAD { 0 } else { rows.len() / (4 * c) * (4 * c) })
}

/// Four rows of `c` elements.
#[inline(always)]
pub(super) fn four<T>(rows: &[T], c: usize) -> [&[T]; 4] {
    let (rows, _) = rows.split_at(4 * c);
    [&rows[..c], &rows[c..][..c], &rows[2 * c..][..c], &rows[3 * c..][..c]]
}

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
