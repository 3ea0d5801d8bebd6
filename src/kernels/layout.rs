//! stub
use super::Real;
use super::elementwise::each;
fn st(s: &[usize]) -> Vec<usize> {
    let mut r = vec![1; s.len()];
    for a in (1..s.len()).rev() {
        r[a - 1] = r[a] * s[a];
    }
    r
}
/// s
pub fn permute<T: Real>(x: &[T], shape: &[usize], axes: &[usize], y: &mut [T]) {
    let ys: Vec<_> = axes.iter().map(|&a| shape[a]).collect();
    let xs = st(shape);
    each(&ys, |i, idx| y[i] = x[idx.iter().zip(axes).map(|(i, &a)| i * xs[a]).sum::<usize>()]);
}
/// s
pub fn broadcast_to<T: Real>(x: &[T], xs: &[usize], ys: &[usize], y: &mut [T]) {
    let s = st(xs);
    each(ys, |i, idx| {
        y[i] = x[(0..xs.len()).map(|a| if xs[a] == 1 { 0 } else { idx[a] * s[a] }).sum::<usize>()]
    });
}
/// s
pub fn slice<T: Real>(
    x: &[T],
    shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    ys: &[usize],
    y: &mut [T],
) {
    let s = st(shape);
    each(ys, |i, idx| {
        y[i] = x[(0..ys.len()).map(|a| (starts[a] + idx[a] * steps[a]) * s[a]).sum::<usize>()]
    });
}
/// s
pub fn embed<T: Real>(
    g: &[T],
    gs: &[usize],
    starts: &[usize],
    steps: &[usize],
    xs: &[usize],
    dx: &mut [T],
) {
    dx.fill(T::ZERO);
    let s = st(xs);
    each(gs, |i, idx| {
        dx[(0..gs.len()).map(|a| (starts[a] + idx[a] * steps[a]) * s[a]).sum::<usize>()] = g[i]
    });
}
