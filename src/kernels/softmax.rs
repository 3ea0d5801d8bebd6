//! The logarithm of the softmax over rows, its adjoint and its tangent.

use super::Real;
use super::dispatch::wide;
use super::parallel::{for_each_chunk, row_grain};
use super::reduce::{largest, sum_lanes};

/// `y[r, j] = x[r, j] − ln Σₖ exp(x[r, k])`, shapes `[rows, cols]`.
///
/// The largest element of each row is taken out first, so that nothing overflows.
///
/// # Panics
/// If a length is not `rows * cols`.
#[track_caller]
pub fn log_softmax<T: Real>(x: &[T], rows: usize, cols: usize, y: &mut [T]) {
    check("log_softmax", rows, cols, [x.len(), y.len()]);
    by_rows(rows, cols, y, |at, y| {
        log_softmax_row(&x[at..][..cols], y);
    });
}

/// `dx[r, j] = g[r, j] − exp(y[r, j]) Σₖ g[r, k]`: the adjoint of [`log_softmax`] at its output
/// `y`.
///
/// # Panics
/// If a length is not `rows * cols`.
#[track_caller]
pub fn log_softmax_grad<T: Real>(y: &[T], g: &[T], rows: usize, cols: usize, dx: &mut [T]) {
    check("log_softmax_grad", rows, cols, [y.len(), dx.len()]);
    assert_eq!(g.len(), y.len(), "log_softmax_grad: g has {} elements, y {}", g.len(), y.len());
    by_rows(rows, cols, dx, |at, dx| {
        grad_row(&y[at..][..cols], &g[at..][..cols], dx);
    });
}

/// `dy[r, j] = dx[r, j] − Σₖ exp(y[r, k]) dx[r, k]`: the tangent of [`log_softmax`] at its output
/// `y`.
///
/// # Panics
/// If a length is not `rows * cols`.
#[track_caller]
pub fn log_softmax_tangent<T: Real>(y: &[T], dx: &[T], rows: usize, cols: usize, dy: &mut [T]) {
    check("log_softmax_tangent", rows, cols, [y.len(), dy.len()]);
    assert_eq!(dx.len(), y.len(), "log_softmax_tangent: dx has {}, y {}", dx.len(), y.len());
    by_rows(rows, cols, dy, |at, dy| {
        tangent_row(&y[at..][..cols], &dx[at..][..cols], dy);
    });
}

wide! {
    fn log_softmax_row[T: Real](x: &[T], y: &mut [T]) {
        let top = largest(x);
        // A row of nothing but −∞ has no finite top to take out.
        let top = if top.is_finite() { top } else { T::ZERO };
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - top).exp();
        }
        let rest = sum_lanes(y).ln();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - top) - rest;
        }
    }

    fn grad_row[T: Real](y: &[T], g: &[T], dx: &mut [T]) {
        let total = sum_lanes(g);
        for ((dx, &y), &g) in dx.iter_mut().zip(y).zip(g) {
            *dx = g - y.exp() * total;
        }
    }

    fn tangent_row[T: Real](y: &[T], dx: &[T], dy: &mut [T]) {
        for ((dy, &y), &dx) in dy.iter_mut().zip(y).zip(dx) {
            *dy = y.exp() * dx;
        }
        let shift = sum_lanes(dy);
        for (dy, &dx) in dy.iter_mut().zip(dx) {
            *dy = dx - shift;
        }
    }
}

fn by_rows<T: Real>(rows: usize, cols: usize, y: &mut [T], f: impl Fn(usize, &mut [T]) + Sync) {
    if y.is_empty() {
        return;
    }
    let grain = row_grain(rows, cols) * cols;
    for_each_chunk(y, grain, |i, y| {
        for (j, y) in y.chunks_mut(cols).enumerate() {
            f(i * grain + j * cols, y);
        }
    });
}

#[track_caller]
fn check(op: &str, rows: usize, cols: usize, lens: [usize; 2]) {
    assert!(
        lens.iter().all(|&len| len == rows * cols),
        "{op}: [{rows}, {cols}] with {lens:?} elements"
    );
}
