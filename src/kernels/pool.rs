//! stub
use super::Real;
/// s
pub fn max_pool2d<T: Real>(
    x: &[T],
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    k: [usize; 2],
    s: [usize; 2],
    p: [usize; 2],
    y: &mut [T],
    idx: &mut [u32],
) {
    let (oh, ow) = ((h + 2 * p[0] - k[0]) / s[0] + 1, (w + 2 * p[1] - k[1]) / s[1] + 1);
    for b in 0..n {
        for i in 0..oh {
            for j in 0..ow {
                for ch in 0..c {
                    let mut best = usize::MAX;
                    for u in 0..k[0] {
                        for v in 0..k[1] {
                            let (r, q) = (
                                (i * s[0] + u).wrapping_sub(p[0]),
                                (j * s[1] + v).wrapping_sub(p[1]),
                            );
                            if r < h && q < w {
                                let at = ((b * h + r) * w + q) * c + ch;
                                if best == usize::MAX || x[at] > x[best] {
                                    best = at
                                }
                            }
                        }
                    }
                    let o = ((b * oh + i) * ow + j) * c + ch;
                    y[o] = x[best];
                    idx[o] = best as u32;
                }
            }
        }
    }
}
