//! Batch normalisation, 2x2 max-pooling and ReLU as one function of images.
//!
//! What is pooled is never written: `x` is normalised as it is read, and a byte per window says
//! which of its four elements won, or that the ReLU let none through.

use super::blocks::{Affine, Blocks, Line};
use super::{Rest, check_channels, moments, of_the_whole, slopes, tangent_sums};
use crate::kernels::Real;
use crate::kernels::dispatch::wide;

/// The pick of a window whose maximum is not positive: no derivative reaches it.
pub const DEAD: u8 = 4;

/// `y = max over 2x2 windows of max((x − mean) inv_std weight + bias, 0)`: [`batch_norm`], then
/// max-pooling with stride 2, then ReLU.
///
/// `x: [N, H, W, C]` in `groups` equal pieces of images, `y: [N, H / 2, W / 2, C]`, rounded down.
/// `picks`, one for each `y`: which element of the window won, row by row (0 to 3), or [`DEAD`].
/// `mean`, `inv_std` and `var`: as in [`batch_norm`], over all of `x`.
///
/// [`batch_norm`]: super::batch_norm
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_pool<T: Real>(
    x: &[T],
    [n, h, w, c]: [usize; 4],
    groups: usize,
    weight: &[T],
    bias: &[T],
    eps: T,
    rest: Option<&dyn Rest<T>>,
    y: &mut [T],
    picks: &mut [u8],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    check("batch_norm_pool", [n, h, w, c], groups, x.len(), &[y.len(), picks.len()]);
    check_channels("batch_norm_pool", c, &[weight.len(), bias.len()]);
    check_channels("batch_norm_pool", groups * c, &[mean.len(), inv_std.len(), var.len()]);
    if x.is_empty() {
        return;
    }
    let blocks = Blocks::of_units(groups, n / groups * h * w, c, h * w);
    moments(&blocks, x, eps, rest, mean, inv_std, var);
    normalize_pool(x, [n, h, w, c], groups, mean, inv_std, weight, bias, y, picks);
}

/// The last pass of [`batch_norm_pool`] alone, with a mean and an `inv_std` from elsewhere.
///
/// # Panics
/// As [`batch_norm_pool`].
#[track_caller]
pub fn normalize_pool<T: Real>(
    x: &[T],
    [n, h, w, c]: [usize; 4],
    groups: usize,
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    bias: &[T],
    y: &mut [T],
    picks: &mut [u8],
) {
    let pooled = check("normalize_pool", [n, h, w, c], groups, x.len(), &[y.len(), picks.len()]);
    check_channels("normalize_pool", c, &[weight.len(), bias.len()]);
    check_channels("normalize_pool", groups * c, &[mean.len(), inv_std.len()]);
    if y.is_empty() {
        return;
    }
    let blocks = Blocks::of_units(groups, n / groups * h * w, c, h * w);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, Some(bias));
    let pieces = blocks.pieces(y, pooled).into_iter().zip(blocks.pieces(picks, pooled));
    blocks.each(pieces.collect(), |group, span, (y, picks)| {
        let images = x[span].chunks_exact(h * w * c);
        let out = y.chunks_exact_mut(pooled).zip(picks.chunks_exact_mut(pooled));
        let Affine { mean, scale, bias } = &affine[group];
        for (x, (y, picks)) in images.zip(out) {
            pool_image(x, w * c, &mean[..c], &scale[..c], &bias[..c], y, picks);
        }
    });
}

/// The adjoint of [`batch_norm_pool`] at `x`, for the cotangent `g` of `y`; without `dx` only
/// `dweight` and `dbias` are computed.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_pool_grad<T: Real>(
    x: &[T],
    [n, h, w, c]: [usize; 4],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    picks: &[u8],
    g: &[T],
    groups: usize,
    rest: Option<&dyn Rest<T>>,
    dx: Option<&mut [T]>,
    dweight: &mut [T],
    dbias: &mut [T],
) {
    let dx_len = dx.as_ref().map_or(x.len(), |dx| dx.len());
    let lens = [g.len(), picks.len()];
    let pooled = check("batch_norm_pool_grad", [n, h, w, c], groups, x.len(), &lens);
    check_channels("batch_norm_pool_grad", groups * c, &[mean.len(), inv_std.len()]);
    check_channels("batch_norm_pool_grad", c, &[weight.len(), dweight.len(), dbias.len()]);
    assert!(dx_len == x.len(), "batch_norm_pool_grad: x has {} elements, dx {dx_len}", x.len());
    if x.is_empty() {
        dweight.fill(T::ZERO);
        dbias.fill(T::ZERO);
        return;
    }
    let blocks = Blocks::of_units(groups, n / groups * h * w, c, h * w);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, None);
    let image = h * w * c;
    let windows =
        |span: &std::ops::Range<usize>| span.start / image * pooled..span.end / image * pooled;
    let mut sums = blocks.sums(inv_std, |group, span, [sum, product, left]| {
        let (g, picks) = (&g[windows(&span)], &picks[windows(&span)]);
        let mean = &affine[group].mean[..c];
        for (i, x) in x[span].chunks_exact(image).enumerate() {
            let at = i * pooled..(i + 1) * pooled;
            sum_image(x, w * c, mean, &g[at.clone()], &picks[at], sum, product, left);
        }
    });
    slopes(&sums, c, dweight, dbias);
    let Some(dx) = dx else { return };
    let parts = of_the_whole(&mut sums, rest);
    let line = Line::groups(&blocks, parts, inv_std, weight, &sums, None, None);
    blocks.each(blocks.pieces(dx, image), |group, span, dx| {
        let (g, picks) = (&g[windows(&span)], &picks[windows(&span)]);
        let (mean, Line { a, b, d }) = (&affine[group].mean[..c], &line[group]);
        let images = x[span].chunks_exact(image).zip(dx.chunks_exact_mut(image));
        for (i, (x, dx)) in images.enumerate() {
            let at = i * pooled..(i + 1) * pooled;
            let (g, picks) = (&g[at.clone()], &picks[at]);
            spread_image(x, w * c, mean, &a[..c], &b[..c], &d[..c], g, picks, dx);
        }
    });
}

/// The tangent of [`batch_norm_pool`] at `x`, in the directions `dx`, `dweight` and `dbias`; none
/// means 0.
///
/// # Panics
/// If a length differs from its shape's.
#[track_caller]
pub fn batch_norm_pool_tangent<T: Real>(
    x: &[T],
    [n, h, w, c]: [usize; 4],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    picks: &[u8],
    dx: Option<&[T]>,
    dweight: Option<&[T]>,
    dbias: Option<&[T]>,
    groups: usize,
    rest: Option<&dyn Rest<T>>,
    dy: &mut [T],
) {
    let lens = [dy.len(), picks.len()];
    let pooled = check("batch_norm_pool_tangent", [n, h, w, c], groups, x.len(), &lens);
    let dx_len = dx.map_or(x.len(), <[T]>::len);
    check_channels("batch_norm_pool_tangent", groups * c, &[mean.len(), inv_std.len()]);
    let vectors = [Some(weight), dweight, dbias].map(|v| v.map_or(c, <[T]>::len));
    check_channels("batch_norm_pool_tangent", c, &vectors);
    assert!(dx_len == x.len(), "batch_norm_pool_tangent: x has {}, dx {dx_len}", x.len());
    if dy.is_empty() {
        return;
    }
    let blocks = Blocks::of_units(groups, n / groups * h * w, c, h * w);
    let affine = Affine::groups(&blocks, mean, inv_std, weight, None);
    let (sums, parts) = tangent_sums(&blocks, x, &affine, inv_std, dx, rest);
    let line = Line::groups(&blocks, parts, inv_std, weight, &sums, dweight, dbias);
    let image = h * w * c;
    blocks.each(blocks.pieces(dy, pooled), |group, span, dy| {
        let (mean, Line { a, b, d }) = (&affine[group].mean[..c], &line[group]);
        let picks = &picks[span.start / image * pooled..][..dy.len()];
        let t = dx.map(|dx| &dx[span.clone()]);
        let out = dy.chunks_exact_mut(pooled).zip(picks.chunks_exact(pooled));
        for (i, (x, (dy, picks))) in x[span].chunks_exact(image).zip(out).enumerate() {
            match t {
                Some(t) => {
                    let t = &t[i * image..][..image];
                    gather_image(x, t, w * c, mean, &a[..c], &b[..c], &d[..c], picks, dy);
                }
                // The parameters alone move: t = 0.
                None => {
                    let zero = &vec![T::ZERO; c];
                    gather_image(x, x, w * c, mean, zero, &b[..c], &d[..c], picks, dy);
                }
            }
        }
    });
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
    /// One image of [`batch_norm_pool`]; `row` is the length of a row of pixels.
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

    /// One image's part of `Σ t`, `Σ t (x − mean)` and `Σ (x − mean)`, where `t` is the cotangent
    /// of what is pooled: `g` at the picked elements, 0 elsewhere.
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

    /// One image of `dx = a t + b (x − mean) + d`, with `t` as in [`sum_image`].
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

    /// One image of `dy = a t + b (x − mean) + d` at the picked elements, 0 where there is none.
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

/// Elements outside of every window: only their group's sums feel them.
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

/// The elements of a pooled image.
#[track_caller]
fn check(op: &str, [n, h, w, c]: [usize; 4], groups: usize, x: usize, pooled: &[usize]) -> usize {
    let image = (h / 2) * (w / 2) * c;
    let fits = groups > 0 && n % groups == 0 && x == n * h * w * c;
    assert!(
        fits && pooled.iter().all(|&len| len == n * image),
        "{op}: [{n}, {h}, {w}, {c}] in {groups} groups with {x} elements, pooled {pooled:?}"
    );
    image
}
