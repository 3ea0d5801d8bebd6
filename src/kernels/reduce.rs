//! stub
use super::Real;
use super::elementwise::each;
/// s
pub fn sum<T: Real>(x: &[T]) -> T {
    x.iter().copied().sum()
}
/// s
pub fn sum_to<T: Real>(x: &[T], shape: &[usize], kept: &[bool], y: &mut [T]) {
    y.fill(T::ZERO);
    each(shape, |i, idx| {
        let mut o = 0;
        for a in 0..shape.len() {
            if kept[a] {
                o = o * shape[a] + idx[a];
            }
        }
        y[o] += x[i];
    });
}
/// s
pub fn max_axis<T: Real>(
    x: &[T],
    outer: usize,
    len: usize,
    inner: usize,
    y: &mut [T],
    indices: &mut [u32],
) {
    for o in 0..outer {
        for i in 0..inner {
            let mut best = o * len * inner + i;
            for l in 1..len {
                let at = (o * len + l) * inner + i;
                if x[at] > x[best] {
                    best = at
                }
            }
            y[o * inner + i] = x[best];
            indices[o * inner + i] = best as u32;
        }
    }
}
