//! Sums along axes, in an order fixed by the shape.
//!
//! A plain loop over `n` equal numbers is wrong by up to `n / 2` roundings, all of one sign. So no
//! accumulator takes more than a few numbers: rows are added in runs of `RUN`, runs in pieces of
//! `PIECE` elements, and pieces pairwise. A sum of any length is then right to a dozen roundings,
//! 7e-7 of it in `f32`, if its terms have one sign.
//!
//! Source: Higham 1993, The accuracy of floating point summation.

use std::ops::Range;

use super::Real;
use super::alloc::Buffer;
use super::dispatch::wide;
use super::parallel::{GRAIN, SERIAL, for_each_chunk, row_grain};

/// Interleaved accumulators of a row: a few registers of any width, so that one addition need not
/// wait for the last.
pub(super) const LANES: usize = 32;

/// Numbers that an accumulator takes before it is added to the others.
const RUN: usize = 16;

/// Elements of a row that are summed in runs: 8 runs of each lane.
const PIECE: usize = 8 * RUN * LANES;

/// `Σ x[i]`, in runs and pieces as the file's documentation says.
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

/// The sum of what `f` gives for each [`GRAIN`] of `len` elements, added pairwise.
fn sum_pieces<T: Real>(len: usize, f: impl Fn(Range<usize>) -> T + Sync) -> T {
    if len < SERIAL {
        return f(0..len);
    }
    let piece = |i: usize| f(i * GRAIN..((i + 1) * GRAIN).min(len));
    let mut pieces = vec![T::ZERO; len.div_ceil(GRAIN)];
    for_each_chunk(&mut pieces, 1, |i, sum| sum[0] = piece(i));
    let mut total = Pairwise::default();
    pieces.into_iter().for_each(|piece| total.add(piece));
    total.sum()
}

/// Adds numbers pairwise as they come: the sum of `2^k` of them waits for the next `2^k`.
struct Pairwise<T> {
    count: usize,
    waiting: [T; 32],
}

impl<T: Real> Default for Pairwise<T> {
    #[inline(always)]
    fn default() -> Self {
        Pairwise { count: 0, waiting: [T::ZERO; 32] }
    }
}

impl<T: Real> Pairwise<T> {
    #[inline(always)]
    fn add(&mut self, mut x: T) {
        let mut level = 0;
        while self.count >> level & 1 == 1 {
            x += self.waiting[level];
            level += 1;
        }
        self.waiting[level] = x;
        self.count += 1;
    }

    #[inline(always)]
    fn sum(&self) -> T {
        let levels = (0..self.waiting.len()).filter(|level| self.count >> level & 1 == 1);
        levels.fold(T::ZERO, |sum, level| sum + self.waiting[level])
    }
}

wide! {
    fn sum_piece[T: Real](x: &[T]) -> T {
        sum_lanes(x)
    }

    fn dot_piece[T: Real](a: &[T], b: &[T]) -> T {
        dot_lanes_by(a, b, #[inline(always)] |a, b| a * b)
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
}

// The closures below are always inlined: a call would leave the instructions of the caller's level.

/// `Σ x[i]`.
#[inline(always)]
pub(super) fn sum_lanes<T: Real>(x: &[T]) -> T {
    sum_lanes_by(
        x,
        #[inline(always)]
        |x| x,
    )
}

/// `Σ f(x[i])`, in the order of [`sum_lanes`].
#[inline(always)]
pub(super) fn sum_lanes_by<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    sum_runs(
        x.len(),
        #[inline(always)]
        |run| {
            let mut lanes = [T::ZERO; LANES];
            let pieces = x[run].chunks_exact(LANES);
            let rest = pieces.remainder();
            for piece in pieces {
                for (lane, &x) in lanes.iter_mut().zip(piece) {
                    *lane += f(x);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += f(x);
            }
            lanes
        },
    )
}

/// `Σ f(a[i], b[i])`, in the order of [`sum_lanes`].
#[inline(always)]
pub(super) fn dot_lanes_by<T: Real>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> T {
    sum_runs(
        a.len(),
        #[inline(always)]
        |run| {
            let mut lanes = [T::ZERO; LANES];
            let (a, b) = (a[run.clone()].chunks_exact(LANES), b[run].chunks_exact(LANES));
            let rest = a.remainder().iter().zip(b.remainder());
            for (a, b) in a.zip(b) {
                for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += f(a, b);
                }
            }
            for (lane, (&a, &b)) in lanes.iter_mut().zip(rest) {
                *lane += f(a, b);
            }
            lanes
        },
    )
}

/// The sum of the lanes that `f` gives for each run of a row of `len` elements.
#[inline(always)]
fn sum_runs<T: Real>(len: usize, f: impl Fn(Range<usize>) -> [T; LANES]) -> T {
    let mut total = Pairwise::default();
    for piece in (0..len).step_by(PIECE) {
        let end = (piece + PIECE).min(len);
        let mut sums = [T::ZERO; LANES];
        for run in (piece..end).step_by(RUN * LANES) {
            let lanes = f(run..(run + RUN * LANES).min(end));
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum += lane;
            }
        }
        total.add(fold_lanes(sums));
    }
    total.sum()
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
        let mut at = i * chunk;
        while !y.is_empty() {
            let (image, column) = (at / inner, at % inner);
            let width = (inner - column).min(y.len());
            let (part, rest) = y.split_at_mut(width);
            sum_row_runs(rows, RUN, part, |run, y| {
                y.fill(T::ZERO);
                for row in run {
                    add_row(&x[(image * rows + row) * inner + column..][..width], y);
                }
            });
            at += width;
            y = rest;
        }
    });
}

/// `y = Σ` of the rows of `x`, each as long as `y`.
#[inline(always)]
pub(super) fn sum_rows<T: Real>(x: &[T], y: &mut [T]) {
    let c = y.len();
    let run = if c > QUAD { RUN } else { 4 * RUN };
    sum_row_runs(
        x.len() / c,
        run,
        y,
        #[inline(always)]
        |run, y| {
            y.fill(T::ZERO);
            let (quads, rest) = split_quads(&x[run.start * c..run.end * c], c);
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
        },
    );
}

/// `y` = the sum of what `f` writes for each run of `rows` rows, added pairwise as
/// [`Pairwise`] does.
#[inline(always)]
fn sum_row_runs<T: Real>(rows: usize, run: usize, y: &mut [T], f: impl Fn(Range<usize>, &mut [T])) {
    let n_runs = rows.div_ceil(run).max(1);
    let c = y.len();
    let mut waiting = Buffer::stale(if n_runs > 1 { (n_runs.ilog2() as usize + 1) * c } else { 0 });
    for i in 0..n_runs {
        f(i * run..((i + 1) * run).min(rows), y);
        if n_runs == 1 {
            return;
        }
        let level = i.trailing_ones() as usize;
        let (others, own) = waiting.split_at_mut(level * c);
        others.chunks_exact(c).for_each(|other| add_row(other, y));
        own[..c].copy_from_slice(y);
    }
    // `y` holds the last `2^k` runs; what is left waits at higher levels.
    let above = n_runs.trailing_zeros() as usize + 1;
    for (level, other) in waiting.chunks_exact(c).enumerate().skip(above) {
        if n_runs >> level & 1 == 1 {
            add_row(other, y);
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
