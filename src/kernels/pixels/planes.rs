//! Pixel operations in place on one image as planes `[C, rows, columns]` of values in [0, 1].
//!
//! Planes, because every loop here then runs over contiguous values of one colour and the compiler
//! turns it into vector code; choices are selects, not branches. Definitions are torchvision's for
//! float images. Which side of the image is a row is the caller's business.

use crate::kernels::Real;

/// The weights of R, G and B in `gray`, torchvision's (ITU-R 601-2 rounded to four places).
const GRAY: [f64; 3] = [0.2989, 0.587, 0.114];

#[inline(always)]
fn clamp_unit<T: Real>(x: T) -> T {
    x.max(T::ZERO).min(T::ONE)
}

#[inline(always)]
fn gray<T: Real>(r: T, g: T, b: T) -> T {
    T::from_f64(GRAY[0]) * r + T::from_f64(GRAY[1]) * g + T::from_f64(GRAY[2]) * b
}

/// The three planes, all of the same length.
#[inline(always)]
fn rgb<T>(planes: &mut [T]) -> [&mut [T]; 3] {
    let pixels = planes.len() / 3;
    let (r, rest) = planes.split_at_mut(pixels);
    let (g, b) = rest.split_at_mut(pixels);
    [r, g, b]
}

/// Turns by `degrees` counterclockwise about the centre; bilinear, black beyond the borders.
///
/// The value at `(x, y)`, seen from the centre, is that of the source at
/// `(x cos - y sin, x sin + y cos)`, `y` pointing down.
#[inline(always)]
pub(crate) fn rotate<T: Real>(
    planes: &mut [T],
    [h, w]: [usize; 2],
    degrees: f64,
    source: &mut Vec<T>,
) {
    source.clear();
    source.extend_from_slice(planes);
    let (sin, cos) = sin_cos(degrees);
    let centre = [(h as f64 - 1.0) / 2.0, (w as f64 - 1.0) / 2.0];
    // The weights of the two neighbours along an axis, and where they are.
    let neighbours = |at: f64, len: usize| {
        let low = at.floor();
        let part = at - low;
        let place = |at: f64| (0.0..len as f64).contains(&at).then_some(at as usize);
        [(place(low), 1.0 - part), (place(low + 1.0), part)]
    };
    for (plane, source) in planes.chunks_exact_mut(h * w).zip(source.chunks_exact(h * w)) {
        for (i, value) in plane.iter_mut().enumerate() {
            let (y, x) = ((i / w) as f64 - centre[0], (i % w) as f64 - centre[1]);
            let rows = neighbours(x * sin + y * cos + centre[0], h);
            let columns = neighbours(x * cos - y * sin + centre[1], w);
            let mut sum = 0.0;
            for (row, row_weight) in rows {
                for (column, weight) in columns {
                    if let (Some(row), Some(column)) = (row, column) {
                        sum += row_weight * weight * source[row * w + column].to_f64();
                    }
                }
            }
            *value = T::from_f64(sum);
        }
    }
}

/// Sine and cosine of an angle in degrees; of quarter turns exactly.
fn sin_cos(degrees: f64) -> (f64, f64) {
    let quarters = degrees / 90.0;
    match (quarters == quarters.round(), quarters.rem_euclid(4.0) as usize) {
        (false, _) => degrees.to_radians().sin_cos(),
        (true, quarter) => [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0)][quarter],
    }
}

/// Inverts what is bright: `1 - x` where `x >= 1/2`.
#[inline(always)]
pub(crate) fn solarize<T: Real>(planes: &mut [T]) {
    let half = T::from_f64(0.5);
    for x in planes {
        *x = if *x >= half { T::ONE - *x } else { *x };
    }
}

/// `clamp(factor x, 0, 1)`.
#[inline(always)]
pub(crate) fn brightness<T: Real>(planes: &mut [T], factor: T) {
    for x in planes {
        *x = clamp_unit(factor * *x);
    }
}

/// `clamp(factor x + (1 - factor) m, 0, 1)` with `m` the mean of `gray` over the image.
#[inline(always)]
pub(crate) fn contrast<T: Real>(planes: &mut [T], c: usize, factor: T) {
    let pixels = planes.len() / c;
    // Gray is linear: the mean of gray is the gray of the planes' means.
    let mean = |channel: usize| sum(&planes[channel * pixels..][..pixels]) / T::from_usize(pixels);
    let mean = if c == 3 { gray(mean(0), mean(1), mean(2)) } else { mean(0) };
    let shift = (T::ONE - factor) * mean;
    for x in planes {
        *x = clamp_unit(factor * *x + shift);
    }
}

/// A sum in a fixed order of eight lanes, so that it vectorises and never depends on threads.
#[inline(always)]
fn sum<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::ZERO; 8];
    let chunks = x.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..8 {
            lanes[lane] += chunk[lane];
        }
    }
    lanes.into_iter().sum::<T>() + rest.iter().copied().sum::<T>()
}

/// `clamp(factor x + (1 - factor) gray, 0, 1)`; an image of one channel stays.
#[inline(always)]
pub(crate) fn saturation<T: Real>(planes: &mut [T], c: usize, factor: T) {
    if c != 3 {
        return;
    }
    let [r, g, b] = rgb(planes);
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let shift = (T::ONE - factor) * gray(*r, *g, *b);
        *r = clamp_unit(factor * *r + shift);
        *g = clamp_unit(factor * *g + shift);
        *b = clamp_unit(factor * *b + shift);
    }
}

/// Gray in all three channels; an image of one channel stays as it is.
#[inline(always)]
pub(crate) fn grayscale<T: Real>(planes: &mut [T], c: usize) {
    if c != 3 {
        return;
    }
    let [r, g, b] = rgb(planes);
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let gray = gray(*r, *g, *b);
        (*r, *g, *b) = (gray, gray, gray);
    }
}

/// Turns the hue by `turn` of the colour circle (1 is once around); gray pixels have no hue.
///
/// RGB -> HSV, `h = (h + turn) mod 1`, HSV -> RGB. Value and saturation do not change, so the way
/// back needs only the largest channel and the distance to the smallest one: each channel is
/// `max - (max - min) clamp(min(k, 4 - k), 0, 1)` with `k = (n + 6 h) mod 6` and n = 5, 3, 1.
#[inline(always)]
pub(crate) fn hue<T: Real>(planes: &mut [T], c: usize, turn: f64) {
    if c != 3 {
        return;
    }
    let turn = T::from_f64(6.0 * (turn - turn.floor()));
    let [one, two, three] = [1.0, 2.0, 3.0].map(T::from_f64);
    let [four, five, six] = [4.0, 5.0, 6.0].map(T::from_f64);
    let wrap = |x: T| if x >= six { x - six } else { x };
    let [r, g, b] = rgb(planes);
    for ((r, g), b) in r.iter_mut().zip(g).zip(b) {
        let (x, y, z) = (*r, *g, *b);
        let top = x.max(y).max(z);
        let range = top - x.min(y).min(z);
        let inverse = one / if range > T::ZERO { range } else { one };
        let (from_red, from_green) = ((y - z) * inverse, two + (z - x) * inverse);
        let sixths = if y == top { from_green } else { four + (x - y) * inverse };
        let sixths = if x == top { from_red } else { sixths };
        // From red it can be down to -1: one turn more, and the sum of the two is below 12.
        let sixths = if sixths < T::ZERO { sixths + six } else { sixths };
        let sixths = wrap(sixths + turn);
        let channel = |n: T| {
            let k = wrap(sixths + n);
            top - range * clamp_unit(k.min(four - k))
        };
        (*r, *g, *b) = (channel(five), channel(three), channel(one));
    }
}

/// Blurs with a separable Gaussian of `kernel` taps (odd), borders mirrored without the edge pixel.
///
/// Weights `exp(-x^2 / (2 sigma^2))` at integer offsets, normalised to sum 1.
#[inline(always)]
pub(crate) fn gaussian_blur<T: Real>(
    planes: &mut [T],
    [h, w]: [usize; 2],
    kernel: usize,
    sigma: f64,
    buffer: &mut Vec<T>,
) {
    let radius = kernel / 2;
    let weight = |k: usize| (-(k as f64 - radius as f64).powi(2) / (2.0 * sigma * sigma)).exp();
    let total: f64 = (0..kernel).map(weight).sum();
    let weights: Vec<T> = (0..kernel).map(|k| T::from_f64(weight(k) / total)).collect();
    let mirror = |at: usize, len: usize| {
        let distance = at.abs_diff(radius);
        if distance < len { distance } else { 2 * (len - 1) - distance }
    };
    buffer.resize(h * w + w + 2 * radius, T::ZERO);
    for plane in planes.chunks_exact_mut(h * w) {
        let (rows, padded) = buffer.split_at_mut(h * w);
        for (row, out) in plane.chunks_exact(w).zip(rows.chunks_exact_mut(w)) {
            for (at, x) in padded.iter_mut().enumerate() {
                *x = row[mirror(at, w)];
            }
            accumulate(out, &weights, |k| &padded[k..k + w]);
        }
        for (y, out) in plane.chunks_exact_mut(w).enumerate() {
            accumulate(out, &weights, |k| &rows[mirror(y + k, h) * w..][..w]);
        }
    }
}

/// `out = sum_k weights[k] source(k)`.
#[inline(always)]
fn accumulate<'a, T: Real>(out: &mut [T], weights: &[T], source: impl Fn(usize) -> &'a [T]) {
    out.fill(T::ZERO);
    for (k, &weight) in weights.iter().enumerate() {
        for (y, &x) in out.iter_mut().zip(source(k)) {
            *y += weight * x;
        }
    }
}

/// Writes `(x - mean_c) / std_c` of planes `[C, W, H]` as `[H, W, C]`.
#[inline(always)]
pub(crate) fn normalize_into<T: Real>(
    planes: &[T],
    h: usize,
    mean: &[f64],
    std: &[f64],
    out: &mut [T],
) {
    let c = mean.len();
    let row_len = planes.len() / h;
    for (channel, plane) in planes.chunks_exact(planes.len() / c).enumerate() {
        let mean = T::from_f64(mean[channel]);
        let scale = T::from_f64(1.0 / std[channel]);
        for (x, column) in plane.chunks_exact(h).enumerate() {
            let rows = out[x * c + channel..].iter_mut().step_by(row_len);
            for (y, &x) in rows.zip(column) {
                *y = (x - mean) * scale;
            }
        }
    }
}
