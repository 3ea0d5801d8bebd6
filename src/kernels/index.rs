//! stub
use super::Real;
/// s
pub fn take<T: Real>(x: &[T], idx: &[u32], _blocks: usize, y: &mut [T]) {
    for (y, &i) in y.iter_mut().zip(idx) {
        *y = x[i as usize]
    }
}
/// s
pub fn put_add<T: Real>(g: &[T], idx: &[u32], _blocks: usize, dx: &mut [T]) {
    dx.fill(T::ZERO);
    for (&g, &i) in g.iter().zip(idx) {
        dx[i as usize] += g
    }
}
