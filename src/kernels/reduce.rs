//! Sums and maxima along axes, in an order fixed by the shape.

use rayon::prelude::*;

use super::Real;
use super::alloc::Buffer;
use super::parallel::{GRAIN, for_each_chunk, for_each_chunk2, row_grain};

/// `Σ x[i]`: pieces of a fixed length summed by lanes, their sums combined pairwise.
pub fn sum<T: Real>(x: &[T]) -> T {
    if x.len() <= GRAIN {
        return sum_lanes(x);
    }
    let pieces: Vec<T> = if x.len() < 2 * GRAIN {
        x.chunks(GRAIN).map(sum_lanes).collect()
    } else {
        x.par_chunks(GRAIN).map(sum_lanes).collect()
    };
    sum_pairwise(&pieces)
}

/// Sums in 32 interleaved lanes, so that the order suits every vector width.
#[inline(always)]
fn sum_lanes<T: Real>(x: &[T]) -> T {
    const LANES: usize = 32;
    let mut lanes = [T::ZERO; LANES];
    let pieces = x.chunks_exact(LANES);
    let rest = pieces.remainder();
    for piece in pieces {
        for (lane, &x) in lanes.iter_mut().zip(piece) {
            *lane += x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = lanes[i] + lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
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
            let x = &x[i * row_grain(outer, rows) * rows..];
            for (y, x) in y.iter_mut().zip(x.chunks_exact(rows)) {
                *y = sum_lanes(x);
            }
        });
        return;
    }
    let block_rows = row_grain(rows, inner);
    let n_blocks = rows.div_ceil(block_rows);
    if n_blocks == 1 {
        let per_piece = row_grain(outer, rows * inner);
        for_each_chunk(y, per_piece * inner, |i, y| {
            let x = &x[i * per_piece * rows * inner..];
            for (y, x) in y.chunks_exact_mut(inner).zip(x.chunks_exact(rows * inner)) {
                sum_rows(x, y);
            }
        });
        return;
    }
    // Too many rows for one piece: the sums of blocks of rows first, then the sum of these.
    let mut partial = Buffer::stale(outer * n_blocks * inner);
    for_each_chunk(&mut partial, inner, |i, y| {
        let (image, block) = (i / n_blocks, i % n_blocks);
        let block = block * block_rows..((block + 1) * block_rows).min(rows);
        sum_rows(&x[(image * rows + block.start) * inner..(image * rows + block.end) * inner], y);
    });
    sum_middle(&partial, outer, n_blocks, inner, y);
}

/// `y = Σ` of the rows of `x`, each as long as `y`; four rows a time, to touch `y` less often.
#[inline(always)]
fn sum_rows<T: Real>(x: &[T], y: &mut [T]) {
    let c = y.len();
    y.fill(T::ZERO);
    let mut quads = x.chunks_exact(4 * c);
    for quad in &mut quads {
        let (ab, cd) = quad.split_at(2 * c);
        let ((a, b), (c, d)) = (ab.split_at(c), cd.split_at(c));
        for ((((y, &a), &b), &c), &d) in y.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            *y += (a + b) + (c + d);
        }
    }
    for row in quads.remainder().chunks_exact(c) {
        for (y, &x) in y.iter_mut().zip(row) {
            *y += x;
        }
    }
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
        let rows = y.chunks_exact_mut(inner).zip(indices.chunks_exact_mut(inner));
        for (i, (y, indices)) in rows.enumerate() {
            let start = (piece * per_piece + i) * len * inner;
            y.copy_from_slice(&x[start..][..inner]);
            for (j, index) in indices.iter_mut().enumerate() {
                *index = (start + j) as u32;
            }
            for k in 1..len {
                let at = start + k * inner;
                keep_larger(&x[at..][..inner], at as u32, y, indices);
            }
        }
    });
}

/// Replaces each maximum that `x`, which starts at position `at`, exceeds or turns into NaN.
#[inline(always)]
pub(super) fn keep_larger<T: Real>(x: &[T], at: u32, y: &mut [T], indices: &mut [u32]) {
    for (k, ((y, index), &x)) in y.iter_mut().zip(indices).zip(x).enumerate() {
        let better = x > *y || (x.is_nan() && !y.is_nan());
        *y = if better { x } else { *y };
        *index = if better { at + k as u32 } else { *index };
    }
}
