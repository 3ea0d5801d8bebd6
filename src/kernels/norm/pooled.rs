//! Batch normalisation, 2x2 max-pooling and ReLU as one function of images.
//!
//! What is pooled is never written: `x` is normalised as it is read, and a byte per window says
//! which of its four elements won, or that the ReLU let none through.

use super::blocks::{Affine, Line};
use crate::kernels::Real;
use crate::kernels::dispatch::wide;

/// The pick of a window whose maximum is not positive: no derivative reaches it.
pub const DEAD: u8 = 4;

/// The images of a batch, all of one size.
pub(super) struct Images {
    c: usize,
    /// Elements of a row of pixels.
    row: usize,
    /// Elements of an image.
    len: usize,
    /// Elements of a pooled image.
    pooled: usize,
}

impl Images {
    pub(super) fn new([_, h, w, c]: [usize; 4]) -> Self {
        Images { c, row: w * c, len: h * w * c, pooled: (h / 2) * (w / 2) * c }
    }

    /// `y = max over 2x2 windows of max((x − mean) scale + bias, 0)`, and the picks.
    pub(super) fn pool<T: Real>(&self, x: &[T], affine: &Affine<T>, y: &mut [T], picks: &mut [u8]) {
        let [mean, scale, bias] = [&affine.mean, &affine.scale, &affine.bias].map(|v| &v[..self.c]);
        let out = y.chunks_exact_mut(self.pooled).zip(picks.chunks_exact_mut(self.pooled));
        for (x, (y, picks)) in x.chunks_exact(self.len).zip(out) {
            pool_image(x, self.row, mean, scale, bias, y, picks);
        }
    }

    /// Adds to `Σ t`, `Σ t (x − mean)` and `Σ (x − mean)`, where `t` is the cotangent of what is
    /// pooled: `g` at the picked elements, 0 elsewhere.
    pub(super) fn sums<T: Real>(
        &self,
        x: &[T],
        mean: &[T],
        g: &[T],
        picks: &[u8],
        [sum, product, left]: [&mut [T]; 3],
    ) {
        for (i, x) in x.chunks_exact(self.len).enumerate() {
            let at = i * self.pooled..(i + 1) * self.pooled;
            let (g, picks) = (&g[at.clone()], &picks[at]);
            sum_image(x, self.row, &mean[..self.c], g, picks, sum, product, left);
        }
    }

    /// `dx = a t + b (x − mean) + d`, with `t` as in [`Images::sums`].
    pub(super) fn spread<T: Real>(
        &self,
        x: &[T],
        mean: &[T],
        line: &Line<T>,
        g: &[T],
        picks: &[u8],
        dx: &mut [T],
    ) {
        let [mean, a, b, d] = [mean, &line.a, &line.b, &line.d].map(|v| &v[..self.c]);
        let images = x.chunks_exact(self.len).zip(dx.chunks_exact_mut(self.len));
        for (i, (x, dx)) in images.enumerate() {
            let at = i * self.pooled..(i + 1) * self.pooled;
            spread_image(x, self.row, mean, a, b, d, &g[at.clone()], &picks[at], dx);
        }
    }

    /// `dy = a t + b (x − mean) + d` at the picked elements, 0 where there is none; without `t`, 0
    /// is taken for it.
    pub(super) fn gather<T: Real>(
        &self,
        x: &[T],
        t: Option<&[T]>,
        mean: &[T],
        line: &Line<T>,
        picks: &[u8],
        dy: &mut [T],
    ) {
        let zero = vec![T::ZERO; self.c];
        let a = if t.is_some() { &line.a } else { &zero };
        let [mean, a, b, d] = [mean, a, &line.b, &line.d].map(|v| &v[..self.c]);
        let images = x.chunks_exact(self.len).zip(t.unwrap_or(x).chunks_exact(self.len));
        let out = dy.chunks_exact_mut(self.pooled).zip(picks.chunks_exact(self.pooled));
        for ((x, t), (dy, picks)) in images.zip(out) {
            gather_image(x, t, self.row, mean, a, b, d, picks, dy);
        }
    }
}

/// The four elements of a window, in the order of picks.
#[inline(always)]
fn chosen<T: Real>(pick: u8, p: T, q: T, r: T, s: T) -> T {
    let upper = if pick == 0 { p } else { q };
    let lower = if pick == 2 { r } else { s };
    if pick < 2 { upper } else { lower }
}

/// The elements at and after `at` in a row of `c` channels a pixel.
#[inline(always)]
fn pixel<T>(row: &[T], at: usize, c: usize) -> &[T] {
    &row[at * c..][..c]
}

/// The two rows of pixels of each row of windows, then the rows below the last.
#[inline(always)]
fn row_pairs<T>(x: &[T], row: usize) -> (std::slice::ChunksExact<'_, T>, &[T]) {
    let pairs = x.chunks_exact(2 * row);
    let rest = pairs.remainder();
    (pairs, rest)
}

wide! {
    /// One image of [`Images::pool`]; `row` is the length of a row of pixels.
    fn pool_image[T: Real](
        x: &[T], row: usize, mean: &[T], scale: &[T], bias: &[T], y: &mut [T], picks: &mut [u8],
    ) {
        let c = mean.len();
        let out_row = row / c / 2 * c;
        let out = y.chunks_exact_mut(out_row).zip(picks.chunks_exact_mut(out_row));
        for (x, (y, picks)) in row_pairs(x, row).0.zip(out) {
            let (upper, lower) = x.split_at(row);
            let out = y.chunks_exact_mut(c).zip(picks.chunks_exact_mut(c));
            for (j, (y, picks)) in out.enumerate() {
                let (p, q) = (pixel(upper, 2 * j, c), pixel(upper, 2 * j + 1, c));
                let (r, s) = (pixel(lower, 2 * j, c), pixel(lower, 2 * j + 1, c));
                pool_pixel(p, q, r, s, mean, scale, bias, y, picks);
            }
        }
    }

    /// One image of [`Images::sums`].
    fn sum_image[T: Real](
        x: &[T], row: usize, mean: &[T], g: &[T], picks: &[u8],
        sum: &mut [T], product: &mut [T], left: &mut [T],
    ) {
        let c = mean.len();
        let out_row = row / c / 2 * c;
        let (pairs, below) = row_pairs(x, row);
        for (i, x) in pairs.enumerate() {
            let (upper, lower) = x.split_at(row);
            let at = i * out_row..(i + 1) * out_row;
            let windows = g[at.clone()].chunks_exact(c).zip(picks[at].chunks_exact(c));
            for (j, (g, picks)) in windows.enumerate() {
                let (p, q) = (pixel(upper, 2 * j, c), pixel(upper, 2 * j + 1, c));
                let (r, s) = (pixel(lower, 2 * j, c), pixel(lower, 2 * j + 1, c));
                sum_pixel(p, q, r, s, mean, g, picks, sum, product, left);
            }
            sum_rest(&upper[2 * out_row..], mean, left);
            sum_rest(&lower[2 * out_row..], mean, left);
        }
        sum_rest(below, mean, left);
    }

    /// One image of [`Images::spread`].
    fn spread_image[T: Real](
        x: &[T], row: usize, mean: &[T], a: &[T], b: &[T], d: &[T], g: &[T], picks: &[u8],
        dx: &mut [T],
    ) {
        let c = mean.len();
        let out_row = row / c / 2 * c;
        let (pairs, below) = row_pairs(x, row);
        let (dx, dx_below) = dx.split_at_mut(x.len() - below.len());
        for (i, (x, dx)) in pairs.zip(dx.chunks_exact_mut(2 * row)).enumerate() {
            let ((upper, lower), (dx_upper, dx_lower)) = (x.split_at(row), dx.split_at_mut(row));
            let at = i * out_row..(i + 1) * out_row;
            let windows = g[at.clone()].chunks_exact(c).zip(picks[at].chunks_exact(c));
            for (j, (g, picks)) in windows.enumerate() {
                let (p, q) = dx_upper[2 * j * c..][..2 * c].split_at_mut(c);
                let (x_p, x_q) = (pixel(upper, 2 * j, c), pixel(upper, 2 * j + 1, c));
                spread_pixels(x_p, x_q, mean, a, b, d, g, picks, 0, p, q);
                let (r, s) = dx_lower[2 * j * c..][..2 * c].split_at_mut(c);
                let (x_r, x_s) = (pixel(lower, 2 * j, c), pixel(lower, 2 * j + 1, c));
                spread_pixels(x_r, x_s, mean, a, b, d, g, picks, 2, r, s);
            }
            spread_rest(&upper[2 * out_row..], mean, b, d, &mut dx_upper[2 * out_row..]);
            spread_rest(&lower[2 * out_row..], mean, b, d, &mut dx_lower[2 * out_row..]);
        }
        spread_rest(below, mean, b, d, dx_below);
    }

    /// One image of [`Images::gather`].
    fn gather_image[T: Real](
        x: &[T], t: &[T], row: usize, mean: &[T], a: &[T], b: &[T], d: &[T], picks: &[u8],
        dy: &mut [T],
    ) {
        let c = mean.len();
        let out_row = row / c / 2 * c;
        let images = row_pairs(x, row).0.zip(row_pairs(t, row).0);
        for (i, (x, t)) in images.enumerate() {
            let at = i * out_row..(i + 1) * out_row;
            let out = dy[at.clone()].chunks_exact_mut(c).zip(picks[at].chunks_exact(c));
            for (j, (dy, picks)) in out.enumerate() {
                for k in 0..c {
                    let at = [2 * j * c + k, (2 * j + 1) * c + k];
                    let of = |x: &[T]| {
                        chosen(picks[k], x[at[0]], x[at[1]], x[row + at[0]], x[row + at[1]])
                    };
                    let moved = a[k] * of(t) + (b[k] * (of(x) - mean[k]) + d[k]);
                    dy[k] = if picks[k] == DEAD { T::ZERO } else { moved };
                }
            }
        }
    }
}

#[inline(always)]
fn pool_pixel<T: Real>(
    p: &[T],
    q: &[T],
    r: &[T],
    s: &[T],
    mean: &[T],
    scale: &[T],
    bias: &[T],
    y: &mut [T],
    picks: &mut [u8],
) {
    let c = mean.len();
    let (p, q, r, s, y, picks) = (&p[..c], &q[..c], &r[..c], &s[..c], &mut y[..c], &mut picks[..c]);
    let (scale, bias) = (&scale[..c], &bias[..c]);
    for i in 0..c {
        let of = |x: T| (x - mean[i]) * scale[i] + bias[i];
        let (p, q, r, s) = (of(p[i]), of(q[i]), of(r[i]), of(s[i]));
        // A NaN wins, and the ReLU keeps it; no derivative reaches it.
        let (q_wins, s_wins) = (wins(q, p), wins(s, r));
        let (upper, lower) = (if q_wins { q } else { p }, if s_wins { s } else { r });
        let lower_wins = wins(lower, upper);
        let top = if lower_wins { lower } else { upper };
        let pick = match lower_wins {
            true => 2 + u8::from(s_wins),
            false => u8::from(q_wins),
        };
        picks[i] = if top > T::ZERO { pick } else { DEAD };
        y[i] = super::relu(top);
    }
}

/// Whether `x` takes the place of `top`: larger, or a NaN unless `top` is one already.
#[inline(always)]
#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::eq_op)] // NaN is the point.
fn wins<T: Real>(x: T, top: T) -> bool {
    !(x <= top) & (top == top)
}

#[inline(always)]
fn sum_pixel<T: Real>(
    p: &[T],
    q: &[T],
    r: &[T],
    s: &[T],
    mean: &[T],
    g: &[T],
    picks: &[u8],
    sum: &mut [T],
    product: &mut [T],
    left: &mut [T],
) {
    let c = mean.len();
    let (p, q, r, s, g, picks) = (&p[..c], &q[..c], &r[..c], &s[..c], &g[..c], &picks[..c]);
    let (sum, product, left) = (&mut sum[..c], &mut product[..c], &mut left[..c]);
    for i in 0..c {
        let (p, q, r, s) = (p[i] - mean[i], q[i] - mean[i], r[i] - mean[i], s[i] - mean[i]);
        let g = if picks[i] == DEAD { T::ZERO } else { g[i] };
        sum[i] += g;
        product[i] += g * chosen(picks[i], p, q, r, s);
        left[i] += (p + q) + (r + s);
    }
}

/// Two neighbours of [`spread_image`], which are the elements `first` and `first + 1` of a window.
#[inline(always)]
fn spread_pixels<T: Real>(
    x_p: &[T],
    x_q: &[T],
    mean: &[T],
    a: &[T],
    b: &[T],
    d: &[T],
    g: &[T],
    picks: &[u8],
    first: u8,
    p: &mut [T],
    q: &mut [T],
) {
    let c = mean.len();
    let (x_p, x_q, p, q) = (&x_p[..c], &x_q[..c], &mut p[..c], &mut q[..c]);
    let (a, b, d, g, picks) = (&a[..c], &b[..c], &d[..c], &g[..c], &picks[..c]);
    for i in 0..c {
        let g = a[i] * g[i];
        let of = |x: T, pick: u8| {
            let g = if picks[i] == pick { g } else { T::ZERO };
            g + (b[i] * (x - mean[i]) + d[i])
        };
        p[i] = of(x_p[i], first);
        q[i] = of(x_q[i], first + 1);
    }
}

/// Elements outside of every window, which only the sums of their group take in.
#[inline(always)]
fn sum_rest<T: Real>(x: &[T], mean: &[T], left: &mut [T]) {
    for x in x.chunks_exact(mean.len()) {
        for ((left, &x), &mean) in left.iter_mut().zip(x).zip(mean) {
            *left += x - mean;
        }
    }
}

#[inline(always)]
fn spread_rest<T: Real>(x: &[T], mean: &[T], b: &[T], d: &[T], dx: &mut [T]) {
    let c = mean.len();
    for (x, dx) in x.chunks_exact(c).zip(dx.chunks_exact_mut(c)) {
        for i in 0..c {
            dx[i] = b[i] * (x[i] - mean[i]) + d[i];
        }
    }
}
