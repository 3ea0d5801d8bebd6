//! Elements moved, repeated or left out by a regular pattern: permute, broadcast, slice, embed.
//!
//! All patterns are a shape with one stride for each operand. Axes along which two neighbours step
//! as one are merged first, so that the inner loop is as long as the pattern allows.

use super::Real;
use super::parallel::{for_each_chunk, grain, row_grain};
use super::transpose::transpose;

/// One axis of a pattern over `N` operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis<const N: usize> {
    pub(super) len: usize,
    pub(super) strides: [usize; N],
}

/// Drops axes of length 1 and merges neighbours that every operand walks as one.
///
/// At least one axis remains.
pub(super) fn coalesce<const N: usize>(axes: impl Iterator<Item = Axis<N>>) -> Vec<Axis<N>> {
    let mut merged: Vec<Axis<N>> = Vec::with_capacity(6);
    for axis in axes.filter(|axis| axis.len != 1) {
        match merged.last_mut() {
            Some(outer) if (0..N).all(|i| outer.strides[i] == axis.len * axis.strides[i]) => {
                outer.len *= axis.len;
                outer.strides = axis.strides;
            }
            _ => merged.push(axis),
        }
    }
    if merged.is_empty() {
        merged.push(Axis { len: 1, strides: [1; N] });
    }
    merged
}

/// The merged axes of a pattern over two operands.
pub(super) fn coalesce2(shape: &[usize], a: &[usize], b: &[usize]) -> Vec<Axis<2>> {
    coalesce((0..shape.len()).map(|i| Axis { len: shape[i], strides: [a[i], b[i]] }))
}

/// A walk over a pattern in row-major order, starting anywhere.
pub(super) struct Walk<'a, const N: usize> {
    axes: &'a [Axis<N>],
    position: [usize; 6],
    offsets: [usize; N],
}

impl<'a, const N: usize> Walk<'a, N> {
    /// Starts at flat position `start` of the pattern.
    pub(super) fn new(axes: &'a [Axis<N>], start: usize) -> Self {
        let mut walk = Walk { axes, position: [0; 6], offsets: [0; N] };
        let mut rest = start;
        for (i, axis) in axes.iter().enumerate().rev() {
            walk.position[i] = rest % axis.len;
            rest /= axis.len;
            for (offset, stride) in walk.offsets.iter_mut().zip(axis.strides) {
                *offset += walk.position[i] * stride;
            }
        }
        walk
    }

    /// How far into each operand the walk is.
    pub(super) fn offsets(&self) -> [usize; N] {
        self.offsets
    }

    /// Calls `f(offsets, steps, piece)` for each run along the last axis that `y` covers.
    #[inline(always)]
    pub(super) fn rows<T>(
        mut self,
        mut y: &mut [T],
        mut f: impl FnMut([usize; N], [usize; N], &mut [T]),
    ) {
        let last = self.axes.len() - 1;
        let Axis { len, strides } = self.axes[last];
        // The first run may start within a row; the others start at its beginning.
        let mut skipped = self.position[last];
        loop {
            let n = (len - skipped).min(y.len());
            let (row, rest) = y.split_at_mut(n);
            f(self.offsets, strides, row);
            y = rest;
            if y.is_empty() {
                return;
            }
            for (offset, stride) in self.offsets.iter_mut().zip(strides) {
                *offset -= skipped * stride;
            }
            skipped = 0;
            self.next_row(last);
        }
    }

    #[inline(always)]
    fn next_row(&mut self, last: usize) {
        for i in (0..last).rev() {
            let axis = &self.axes[i];
            self.position[i] += 1;
            if self.position[i] < axis.len {
                for (offset, stride) in self.offsets.iter_mut().zip(axis.strides) {
                    *offset += stride;
                }
                return;
            }
            self.position[i] = 0;
            for (offset, stride) in self.offsets.iter_mut().zip(axis.strides) {
                *offset -= (axis.len - 1) * stride;
            }
        }
    }
}

/// The row-major strides of a shape.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Fills `y` with the pattern `shape`, `x_strides` of `x`; the pattern must lie within `x`.
pub(super) fn gather<T: Real>(x: &[T], shape: &[usize], x_strides: &[usize], y: &mut [T]) {
    let axes = coalesce((0..shape.len()).map(|i| Axis { len: shape[i], strides: [x_strides[i]] }));
    let chunk = grain(y.len());
    for_each_chunk(y, chunk, |i, y| {
        Walk::new(&axes, i * chunk).rows(y, |[at], [step], y| match step {
            0 => y.fill(x[at]),
            1 => y.copy_from_slice(&x[at..][..y.len()]),
            _ => {
                for (y, &x) in y.iter_mut().zip(x[at..].iter().step_by(step)) {
                    *y = x;
                }
            }
        });
    });
}

/// Reorders axes: axis `i` of `y` is axis `axes[i]` of `x`.
///
/// `x` has `shape`, `y` has `shape[axes[0]], shape[axes[1]], ..`. The inverse permutation undoes
/// it and is its adjoint.
///
/// # Panics
/// If `axes` is no permutation or a length differs from the shape's.
#[track_caller]
pub fn permute<T: Real>(x: &[T], shape: &[usize], axes: &[usize], y: &mut [T]) {
    let len: usize = shape.iter().product::<usize>();
    assert!(
        x.len() == len && y.len() == len,
        "permute: x has {} elements, y {}, shape {shape:?}",
        x.len(),
        y.len()
    );
    let is_permutation = (0..shape.len()).all(|axis| axes.contains(&axis));
    assert!(
        axes.len() == shape.len() && is_permutation,
        "permute: {axes:?} does not permute the axes of {shape:?}"
    );
    if len == 0 {
        return;
    }
    let x_strides = strides(shape);
    let y_shape: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    let moved: Vec<usize> = axes.iter().map(|&axis| x_strides[axis]).collect();
    transpose(x, &y_shape, &moved, y);
}

/// Repeats `x` along its axes of length 1: `x_shape` (same rank as `y_shape`) → `y_shape`.
///
/// # Panics
/// If an axis of `x` is neither 1 nor `y`'s, or a length differs from its shape's.
#[track_caller]
pub fn broadcast_to<T: Real>(x: &[T], x_shape: &[usize], y_shape: &[usize], y: &mut [T]) {
    assert!(
        x_shape.len() == y_shape.len()
            && x_shape.iter().zip(y_shape).all(|(&from, &to)| from == to || from == 1),
        "broadcast_to: {x_shape:?} does not repeat to {y_shape:?}"
    );
    assert!(
        x.len() == x_shape.iter().product::<usize>()
            && y.len() == y_shape.iter().product::<usize>(),
        "broadcast_to: x {x_shape:?} has {} elements, y {y_shape:?} has {}",
        x.len(),
        y.len()
    );
    if y.is_empty() {
        return;
    }
    let mut x_strides = strides(x_shape);
    for (stride, &len) in x_strides.iter_mut().zip(x_shape) {
        if len == 1 {
            *stride = 0;
        }
    }
    gather(x, y_shape, &x_strides, y);
}

/// Keeps every `steps[i]`-th index from `starts[i]` on along axis `i`: `shape` → `y_shape`.
///
/// # Panics
/// If the slice leaves `shape`, a step is 0, or a length differs from its shape's.
#[track_caller]
pub fn slice<T: Real>(
    x: &[T],
    shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    y_shape: &[usize],
    y: &mut [T],
) {
    check_slice("slice", x.len(), shape, starts, steps, y_shape, y.len());
    if y.is_empty() {
        return;
    }
    let x_strides = strides(shape);
    let start: usize = starts.iter().zip(&x_strides).map(|(start, stride)| start * stride).sum();
    let stepped: Vec<usize> = steps.iter().zip(&x_strides).map(|(step, s)| step * s).collect();
    gather(&x[start..], y_shape, &stepped, y);
}

/// Writes `g` where [`slice()`] reads and 0 elsewhere: the adjoint of [`slice()`], `y_shape` →
/// `x_shape`.
///
/// # Panics
/// If the slice leaves `x_shape`, a step is 0, or a length differs from its shape's.
#[track_caller]
pub fn embed<T: Real>(
    g: &[T],
    y_shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    x_shape: &[usize],
    dx: &mut [T],
) {
    check_slice("embed", dx.len(), x_shape, starts, steps, y_shape, g.len());
    if dx.is_empty() {
        return;
    }
    // Trailing axes kept whole are one run, and so is the innermost axis that is not.
    let whole = |i: usize| y_shape[i] == x_shape[i];
    let last = (0..x_shape.len()).rev().find(|&i| !whole(i)).unwrap_or(0);
    let run: usize = x_shape.get(last + 1..).unwrap_or(&[]).iter().product::<usize>();
    let outer = &x_shape[..last.min(x_shape.len())];
    let Some(&row_len) = x_shape.get(last) else {
        dx.copy_from_slice(g);
        return;
    };
    let (start, step, kept) = (starts[last], steps[last], y_shape[last]);
    let row = row_len * run;
    let chunk = row_grain(dx.len() / row, row);
    for_each_chunk(dx, chunk * row, |i, dx| {
        for (j, dx) in dx.chunks_mut(row).enumerate() {
            // The row of g that lands in this row, if one does.
            let (mut rest, mut g_row, mut scale) = (i * chunk + j, Some(0), 1);
            for axis in (0..outer.len()).rev() {
                let position = rest % outer[axis];
                rest /= outer[axis];
                let from = position.wrapping_sub(starts[axis]);
                let hit = position >= starts[axis]
                    && from % steps[axis] == 0
                    && from / steps[axis] < y_shape[axis];
                g_row = g_row.filter(|_| hit).map(|row| row + from / steps[axis] * scale);
                scale *= y_shape[axis];
            }
            let Some(g_row) = g_row else {
                dx.fill(T::ZERO);
                continue;
            };
            let g = &g[g_row * kept * run..][..kept * run];
            if step == 1 {
                dx[..start * run].fill(T::ZERO);
                dx[start * run..][..g.len()].copy_from_slice(g);
                dx[(start + kept) * run..].fill(T::ZERO);
            } else {
                dx.fill(T::ZERO);
                for (i, g) in g.chunks_exact(run).enumerate() {
                    dx[(start + i * step) * run..][..run].copy_from_slice(g);
                }
            }
        }
    });
}

#[track_caller]
fn check_slice(
    op: &str,
    x_len: usize,
    x_shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    y_shape: &[usize],
    y_len: usize,
) {
    let rank = x_shape.len();
    let inside = starts.len() == rank
        && steps.len() == rank
        && y_shape.len() == rank
        && (0..rank).all(|i| {
            steps[i] > 0
                && (y_shape[i] == 0 || starts[i] + (y_shape[i] - 1) * steps[i] < x_shape[i])
        });
    assert!(
        inside,
        "{op}: {y_shape:?} elements from {starts:?} by {steps:?} leave the shape {x_shape:?}"
    );
    assert!(
        x_len == x_shape.iter().product::<usize>() && y_len == y_shape.iter().product::<usize>(),
        "{op}: whole {x_shape:?} has {x_len} elements, slice {y_shape:?} has {y_len}"
    );
}
