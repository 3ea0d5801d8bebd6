//! stub
use super::Real;
/// s
pub fn log_softmax<T: Real>(x: &[T], rows: usize, cols: usize, y: &mut [T]) {
    for r in 0..rows {
        let x = &x[r * cols..][..cols];
        let m = x.iter().copied().fold(x[0], |a, b| a.max(b));
        let l = m + x.iter().map(|&v| (v - m).exp()).sum::<T>().ln();
        for (y, &x) in y[r * cols..][..cols].iter_mut().zip(x) {
            *y = x - l
        }
    }
}
/// s
pub fn log_softmax_grad<T: Real>(y: &[T], g: &[T], rows: usize, cols: usize, dx: &mut [T]) {
    for r in 0..rows {
        let s: T = g[r * cols..][..cols].iter().copied().sum();
        for i in r * cols..(r + 1) * cols {
            dx[i] = g[i] - y[i].exp() * s
        }
    }
}
