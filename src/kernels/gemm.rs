//! Matrix products over row-major slices: plain, with one operand transposed, and batched.

use super::Real;

/// Which operand of a product is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trans {
    /// `A` is `[m, k]`, `B` is `[k, n]`.
    Nn,
    /// `A` is `[m, k]`, `B` is stored as `[n, k]`.
    Nt,
    /// `A` is stored as `[k, m]`, `B` is `[k, n]`.
    Tn,
}

/// The matrix product `C = op(A) op(B)`, with `C` overwritten.
///
/// Shapes: `op(A): [m, k]`, `op(B): [k, n]` → `C: [m, n]`, row-major; see [`Trans`].
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn gemm<T: Real>(trans: Trans, m: usize, n: usize, k: usize, a: &[T], b: &[T], c: &mut [T]) {
    gemm_batched(trans, 1, m, n, k, a, b, c);
}

/// `batch` independent products of [`gemm`] over contiguous blocks of the operands.
///
/// # Panics
/// If a slice has another length than `batch` times its shape.
#[track_caller]
pub fn gemm_batched<T: Real>(
    trans: Trans,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    assert_eq!(a.len(), batch * m * k, "gemm: A has not batch·m·k = {batch}·{m}·{k} elements");
    assert_eq!(b.len(), batch * k * n, "gemm: B has not batch·k·n = {batch}·{k}·{n} elements");
    assert_eq!(c.len(), batch * m * n, "gemm: C has not batch·m·n = {batch}·{m}·{n} elements");
    for i in 0..batch {
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
        naive(trans, m, n, k, a, b, &mut c[i * m * n..][..m * n]);
    }
}

/// The definition of [`gemm`].
pub(crate) fn naive<T: Real>(
    trans: Trans,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = T::ZERO;
            for p in 0..k {
                sum += match trans {
                    Trans::Nn => a[i * k + p] * b[p * n + j],
                    Trans::Nt => a[i * k + p] * b[j * k + p],
                    Trans::Tn => a[p * m + i] * b[p * n + j],
                };
            }
            c[i * n + j] = sum;
        }
    }
}
