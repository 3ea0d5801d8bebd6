//! Rows of a given length, and their derivative.

use super::Real;
use super::dispatch::wide;
use super::parallel::{for_each_chunk, for_each_chunk2, row_grain};
use super::reduce::dot_lanes_by;

/// What a row was multiplied by, and what its product with itself weighs in the derivative: 0
/// where the divisor is constant.
pub type Factors<T> = [T; 2];

/// `y[r] = length · x[r] / max(‖x[r]‖₂, eps)` for the rows of `x`, as many as `factors`.
///
/// The clamp acts on the squared norm, before the root.
///
/// # Panics
/// If `x` does not consist of that many rows, or `y` has another length.
#[track_caller]
pub fn l2_normalize<T: Real>(x: &[T], length: T, eps: T, factors: &mut [Factors<T>], y: &mut [T]) {
    let (rows, cols) = check("l2_normalize", x, factors, y);
    if y.is_empty() {
        return;
    }
    let grain = row_grain(rows, cols);
    for_each_chunk2(factors, grain, y, grain * cols, |i, factors, y| {
        unit_rows(&x[i * grain * cols..][..y.len()], length, eps, factors, y);
    });
}

/// `dx[r] = f (g[r] − w x[r] ⟨x[r], g[r]⟩)` with the factors `f, w` that [`l2_normalize`] found:
/// its adjoint, and its tangent too, because the derivative is symmetric.
///
/// # Panics
/// As [`l2_normalize`]; if `g` has another length.
#[track_caller]
pub fn l2_normalize_grad<T: Real>(x: &[T], factors: &[Factors<T>], g: &[T], dx: &mut [T]) {
    let (rows, cols) = check("l2_normalize_grad", x, factors, dx);
    assert_eq!(g.len(), x.len(), "l2_normalize_grad: the length of g");
    if dx.is_empty() {
        return;
    }
    let grain = row_grain(rows, cols);
    for_each_chunk(dx, grain * cols, |i, dx| {
        let at = i * grain * cols..i * grain * cols + dx.len();
        unit_rows_grad(&x[at.clone()], cols, &factors[i * grain..], &g[at], dx);
    });
}

wide! {
    fn unit_rows[T: Real](x: &[T], length: T, eps: T, factors: &mut [Factors<T>], y: &mut [T]) {
        let cols = x.len() / factors.len();
        let rows = x.chunks_exact(cols).zip(y.chunks_exact_mut(cols));
        for (factors, (x, y)) in factors.iter_mut().zip(rows) {
            let squares = dot_lanes_by(x, x, #[inline(always)] |a, b| a * b);
            let clamped = squares < eps * eps;
            let norm = if clamped { eps * eps } else { squares }.sqrt();
            let factor = length / norm;
            *factors = [factor, if clamped { T::ZERO } else { T::ONE / squares }];
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x * factor;
            }
        }
    }

    fn unit_rows_grad[T: Real](
        x: &[T], cols: usize, factors: &[Factors<T>], g: &[T], dx: &mut [T],
    ) {
        let rows = x.chunks_exact(cols).zip(g.chunks_exact(cols)).zip(dx.chunks_exact_mut(cols));
        for (&[factor, weight], ((x, g), dx)) in factors.iter().zip(rows) {
            let along = weight * dot_lanes_by(x, g, #[inline(always)] |a, b| a * b);
            for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g) {
                *dx = factor * (g - x * along);
            }
        }
    }
}

#[track_caller]
fn check<T>(op: &str, x: &[T], factors: &[Factors<T>], y: &[T]) -> (usize, usize) {
    let rows = factors.len();
    let cols = x.len().checked_div(rows).unwrap_or(0);
    assert!(
        rows * cols == x.len() && y.len() == x.len(),
        "{op}: {} elements in {rows} rows to {}",
        x.len(),
        y.len()
    );
    (rows, cols)
}
