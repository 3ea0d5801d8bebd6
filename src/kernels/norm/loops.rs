//! The loops of batch normalisation, compiled for each level: plain code over slices.
//!
//! Numbers of channels come repeated (see [`Affine`](super::blocks::Affine)), and `x` is read in
//! rows as long as they are; the last row may be shorter.

use crate::kernels::Real;
use crate::kernels::dispatch::wide;
use crate::kernels::reduce::{four, split_quads, sum_rows};

/// `t` where `by > 0`, else 0.
#[inline(always)]
fn gate<T: Real>(by: T, t: T) -> T {
    if by > T::ZERO { t } else { T::ZERO }
}

wide! {
    /// The mean of each column of `x` and its squared deviations about that mean.
    pub(super) fn block_moments[T: Real](x: &[T], mean: &mut [T], m2: &mut [T]) {
        let c = mean.len();
        sum_rows(x, mean);
        let rows = T::from_usize(x.len() / c);
        for mean in mean.iter_mut() {
            *mean = *mean / rows; // Not times 1 / rows, which would round twice.
        }
        m2.fill(T::ZERO);
        let (mean, m2) = (&mean[..c], &mut m2[..c]);
        let (quads, rest) = split_quads(x, c);
        for quad in quads.chunks_exact(4 * c) {
            let [p, q, r, s] = four(quad, c);
            for i in 0..c {
                let (p, q, r, s) = (p[i] - mean[i], q[i] - mean[i], r[i] - mean[i], s[i] - mean[i]);
                m2[i] += (p * p + q * q) + (r * r + s * s);
            }
        }
        for row in rest.chunks_exact(c) {
            for i in 0..c {
                m2[i] += (row[i] - mean[i]) * (row[i] - mean[i]);
            }
        }
    }

    /// `y = f((x − mean) scale + bias)`.
    pub(super) fn affine[T: Real, F: Fn(T) -> T + Copy](
        x: &[T], mean: &[T], scale: &[T], bias: &[T], y: &mut [T], f: F,
    ) {
        let long = mean.len();
        for (x, y) in x.chunks(long).zip(y.chunks_mut(long)) {
            let n = x.len();
            let (y, mean, scale, bias) = (&mut y[..n], &mean[..n], &scale[..n], &bias[..n]);
            for i in 0..n {
                y[i] = f((x[i] - mean[i]) * scale[i] + bias[i]);
            }
        }
    }

    /// `y = max((x − mean) scale + bias + shortcut, 0)`.
    pub(super) fn affine_add_relu[T: Real](
        x: &[T], mean: &[T], scale: &[T], bias: &[T], shortcut: &[T], y: &mut [T],
    ) {
        let long = mean.len();
        let rows = x.chunks(long).zip(shortcut.chunks(long)).zip(y.chunks_mut(long));
        for ((x, shortcut), y) in rows {
            let n = x.len();
            let (y, mean, scale, bias) = (&mut y[..n], &mean[..n], &scale[..n], &bias[..n]);
            let shortcut = &shortcut[..n];
            for i in 0..n {
                let sum = (x[i] - mean[i]) * scale[i] + bias[i] + shortcut[i];
                y[i] = if sum < T::ZERO { T::ZERO } else { sum };
            }
        }
    }

    /// Adds `Σ t`, `Σ t (x − mean)` and `Σ (x − mean)` over the rows of a block to the sums of its
    /// channels.
    pub(super) fn block_sums[T: Real](
        x: &[T], t: &[T], mean: &[T], sum: &mut [T], product: &mut [T], left: &mut [T],
    ) {
        let c = sum.len();
        let (mean, product, left) = (&mean[..c], &mut product[..c], &mut left[..c]);
        let ((x, x_rest), (t, t_rest)) = (split_quads(x, c), split_quads(t, c));
        for (x, t) in x.chunks_exact(4 * c).zip(t.chunks_exact(4 * c)) {
            let ([xp, xq, xr, xs], [tp, tq, tr, ts]) = (four(x, c), four(t, c));
            for i in 0..c {
                let m = mean[i];
                let (p, q, r, s) = (xp[i] - m, xq[i] - m, xr[i] - m, xs[i] - m);
                sum[i] += (tp[i] + tq[i]) + (tr[i] + ts[i]);
                product[i] += (tp[i] * p + tq[i] * q) + (tr[i] * r + ts[i] * s);
                left[i] += (p + q) + (r + s);
            }
        }
        for (x, t) in x_rest.chunks_exact(c).zip(t_rest.chunks_exact(c)) {
            for i in 0..c {
                let p = x[i] - mean[i];
                sum[i] += t[i];
                product[i] += t[i] * p;
                left[i] += p;
            }
        }
    }

    /// [`block_sums`] where `t` counts only above a ReLU's kink.
    pub(super) fn block_sums_relu[T: Real](
        x: &[T], t: &[T], mean: &[T], scale: &[T], bias: &[T],
        sum: &mut [T], product: &mut [T], left: &mut [T],
    ) {
        let c = sum.len();
        let (mean, scale, bias) = (&mean[..c], &scale[..c], &bias[..c]);
        let (product, left) = (&mut product[..c], &mut left[..c]);
        let ((x, x_rest), (t, t_rest)) = (split_quads(x, c), split_quads(t, c));
        for (x, t) in x.chunks_exact(4 * c).zip(t.chunks_exact(4 * c)) {
            let ([xp, xq, xr, xs], [tp, tq, tr, ts]) = (four(x, c), four(t, c));
            for i in 0..c {
                let (m, w, b) = (mean[i], scale[i], bias[i]);
                let (p, q, r, s) = (xp[i] - m, xq[i] - m, xr[i] - m, xs[i] - m);
                let (tp, tq) = (gate(p * w + b, tp[i]), gate(q * w + b, tq[i]));
                let (tr, ts) = (gate(r * w + b, tr[i]), gate(s * w + b, ts[i]));
                sum[i] += (tp + tq) + (tr + ts);
                product[i] += (tp * p + tq * q) + (tr * r + ts * s);
                left[i] += (p + q) + (r + s);
            }
        }
        for (x, t) in x_rest.chunks_exact(c).zip(t_rest.chunks_exact(c)) {
            for i in 0..c {
                let p = x[i] - mean[i];
                let t = gate(p * scale[i] + bias[i], t[i]);
                sum[i] += t;
                product[i] += t * p;
                left[i] += p;
            }
        }
    }

    /// `out = a t + b (x − mean) + d`.
    pub(super) fn line[T: Real](
        x: &[T], t: &[T], mean: &[T], a: &[T], b: &[T], d: &[T], out: &mut [T],
    ) {
        let long = mean.len();
        for ((x, t), out) in x.chunks(long).zip(t.chunks(long)).zip(out.chunks_mut(long)) {
            let n = x.len();
            let (t, out, mean) = (&t[..n], &mut out[..n], &mean[..n]);
            let (a, b, d) = (&a[..n], &b[..n], &d[..n]);
            for i in 0..n {
                out[i] = a[i] * t[i] + (b[i] * (x[i] - mean[i]) + d[i]);
            }
        }
    }

    /// [`line`] for a function with a ReLU behind it: `before` changes `t`, `after` the result, by
    /// the sign of what the ReLU is applied to.
    pub(super) fn line_relu[
        T: Real, F: Fn(bool, T) -> T + Copy, G: Fn(bool, T) -> T + Copy
    ](
        x: &[T], t: &[T], mean: &[T], scale: &[T], bias: &[T], a: &[T], b: &[T], d: &[T],
        out: &mut [T], before: F, after: G,
    ) {
        let long = mean.len();
        for ((x, t), out) in x.chunks(long).zip(t.chunks(long)).zip(out.chunks_mut(long)) {
            let n = x.len();
            let (t, out, mean) = (&t[..n], &mut out[..n], &mean[..n]);
            let (scale, bias) = (&scale[..n], &bias[..n]);
            let (a, b, d) = (&a[..n], &b[..n], &d[..n]);
            for i in 0..n {
                let p = x[i] - mean[i];
                let lives = p * scale[i] + bias[i] > T::ZERO;
                out[i] = after(lives, a[i] * before(lives, t[i]) + (b[i] * p + d[i]));
            }
        }
    }
}
