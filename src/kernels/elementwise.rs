//! stub
use super::Real;
/// s
pub fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T + Sync + Copy) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = f(x)
    }
}
/// s
pub fn zip<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T + Sync + Copy) {
    for i in 0..y.len() {
        y[i] = f(a[i], b[i])
    }
}
pub(crate) fn each(shape: &[usize], mut f: impl FnMut(usize, &[usize])) {
    let n: usize = shape.iter().product();
    let mut idx = vec![0; shape.len()];
    for i in 0..n {
        let mut r = i;
        for a in (0..shape.len()).rev() {
            idx[a] = r % shape[a];
            r /= shape[a];
        }
        f(i, &idx);
    }
}
/// s
pub fn zip_broadcast<T: Real>(
    shape: &[usize],
    a: &[T],
    sa: &[usize],
    b: &[T],
    sb: &[usize],
    y: &mut [T],
    f: impl Fn(T, T) -> T + Sync + Copy,
) {
    each(shape, |i, idx| {
        let o = |s: &[usize]| idx.iter().zip(s).map(|(i, s)| i * s).sum::<usize>();
        y[i] = f(a[o(sa)], b[o(sb)])
    });
}
/// s
pub fn axpy<T: Real>(alpha: T, x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += alpha * x
    }
}
