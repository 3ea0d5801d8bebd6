//! The definitions: what each kernel computes, as plain loops with the same name and arguments.
//!
//! Nothing here is fast; tests compare every kernel with its twin, benches measure what it gains.

use super::Real;
use super::cross_entropy::Scores;
use super::layout::strides;

/// `y[i] = f(x[i])`.
pub fn map<T: Real>(x: &[T], y: &mut [T], f: impl Fn(T) -> T) {
    for i in 0..y.len() {
        y[i] = f(x[i]);
    }
}

/// `y[i] = f(a[i], b[i])`.
pub fn zip<T: Real>(a: &[T], b: &[T], y: &mut [T], f: impl Fn(T, T) -> T) {
    for i in 0..y.len() {
        y[i] = f(a[i], b[i]);
    }
}

/// `y += alpha x`.
pub fn axpy<T: Real>(alpha: T, x: &[T], y: &mut [T]) {
    for i in 0..y.len() {
        y[i] += alpha * x[i];
    }
}

/// The position along each axis of flat element `flat` of `shape`.
fn position(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut position = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        position[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    position
}

/// How far `position` is from the start under `strides`.
fn offset(position: &[usize], strides: &[usize]) -> usize {
    position.iter().zip(strides).map(|(position, stride)| position * stride).sum()
}

/// `y[i, j, ..] = f(a[i, j, ..], b[i, j, ..])` with a stride for each axis of each operand.
pub fn zip_broadcast<T: Real>(
    shape: &[usize],
    a: &[T],
    a_strides: &[usize],
    b: &[T],
    b_strides: &[usize],
    y: &mut [T],
    f: impl Fn(T, T) -> T,
) {
    for i in 0..y.len() {
        let at = position(i, shape);
        y[i] = f(a[offset(&at, a_strides)], b[offset(&at, b_strides)]);
    }
}

/// Axis `i` of `y` is axis `axes[i]` of `x`.
pub fn permute<T: Real>(x: &[T], shape: &[usize], axes: &[usize], y: &mut [T]) {
    let y_shape: Vec<usize> = axes.iter().map(|&axis| shape[axis]).collect();
    for i in 0..y.len() {
        let mut at = vec![0; shape.len()];
        for (position, &axis) in position(i, &y_shape).iter().zip(axes) {
            at[axis] = *position;
        }
        y[i] = x[offset(&at, &strides(shape))];
    }
}

/// Repeats `x` along its axes of length 1.
pub fn broadcast_to<T: Real>(x: &[T], x_shape: &[usize], y_shape: &[usize], y: &mut [T]) {
    for i in 0..y.len() {
        let at = position(i, y_shape);
        let at: Vec<usize> = at.iter().zip(x_shape).map(|(&i, &len)| i % len).collect();
        y[i] = x[offset(&at, &strides(x_shape))];
    }
}

/// Where element `i` of a slice lies in the whole.
fn sliced(
    i: usize,
    starts: &[usize],
    steps: &[usize],
    y_shape: &[usize],
    x_shape: &[usize],
) -> usize {
    let at = position(i, y_shape);
    let at: Vec<usize> = (0..at.len()).map(|k| starts[k] + at[k] * steps[k]).collect();
    offset(&at, &strides(x_shape))
}

/// Every `steps[i]`-th index from `starts[i]` on.
pub fn slice<T: Real>(
    x: &[T],
    shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    y_shape: &[usize],
    y: &mut [T],
) {
    for i in 0..y.len() {
        y[i] = x[sliced(i, starts, steps, y_shape, shape)];
    }
}

/// The adjoint of [`slice()`].
pub fn embed<T: Real>(
    g: &[T],
    y_shape: &[usize],
    starts: &[usize],
    steps: &[usize],
    x_shape: &[usize],
    dx: &mut [T],
) {
    dx.fill(T::ZERO);
    for i in 0..g.len() {
        dx[sliced(i, starts, steps, y_shape, x_shape)] = g[i];
    }
}

/// `y[i] = x[indices[i]]`; the blocks matter to the adjoint alone.
pub fn take<T: Real>(x: &[T], indices: &[u32], _blocks: usize, y: &mut [T]) {
    for i in 0..y.len() {
        y[i] = x[indices[i] as usize];
    }
}

/// `dx[indices[i]] += g[i]` from zeros.
pub fn put_add<T: Real>(g: &[T], indices: &[u32], _blocks: usize, dx: &mut [T]) {
    dx.fill(T::ZERO);
    for i in 0..g.len() {
        dx[indices[i] as usize] += g[i];
    }
}

/// `Σ x[i]`.
pub fn sum<T: Real>(x: &[T]) -> T {
    x.iter().copied().sum()
}

/// Sums over the axes that are not kept.
pub fn sum_to<T: Real>(x: &[T], shape: &[usize], kept: &[bool], y: &mut [T]) {
    // A summed axis has length 1 in y.
    let y_shape: Vec<usize> =
        shape.iter().zip(kept).map(|(&len, &kept)| if kept { len } else { 1 }).collect();
    y.fill(T::ZERO);
    for i in 0..x.len() {
        let at = position(i, shape);
        let at: Vec<usize> = at.iter().zip(&y_shape).map(|(&i, &len)| i % len).collect();
        y[offset(&at, &strides(&y_shape))] += x[i];
    }
}

/// The first largest value, or the first NaN, along the middle axis of `[outer, len, inner]`.
pub fn max_axis<T: Real>(
    x: &[T],
    outer: usize,
    len: usize,
    inner: usize,
    y: &mut [T],
    indices: &mut [u32],
) {
    for i in 0..outer {
        for j in 0..inner {
            let places = (0..len).map(|k| (i * len + k) * inner + j);
            (y[i * inner + j], indices[i * inner + j]) = largest(x, places);
        }
    }
}

fn largest<T: Real>(x: &[T], places: impl Iterator<Item = usize>) -> (T, u32) {
    let mut best: Option<usize> = None;
    for at in places {
        if best.is_none_or(|best| x[at] > x[best] || (x[at].is_nan() && !x[best].is_nan())) {
            best = Some(at);
        }
    }
    let best = best.expect("a window has elements");
    (x[best], best as u32)
}

/// The largest value of each window of `[N, H, W, C]`.
pub fn max_pool2d<T: Real>(
    x: &[T],
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    y: &mut [T],
    indices: &mut [u32],
) {
    // Added before it is subtracted: an image smaller than a window has no result.
    let oh = (h + 2 * padding[0] + stride[0] - kernel[0]) / stride[0];
    let ow = (w + 2 * padding[1] + stride[1] - kernel[1]) / stride[1];
    for i in 0..n * oh * ow * c {
        let at = position(i, &[n, oh, ow, c]);
        let mut window = Vec::new();
        for p in 0..kernel[0] {
            for q in 0..kernel[1] {
                let (row, column) = (at[1] * stride[0] + p, at[2] * stride[1] + q);
                let rows = padding[0]..h + padding[0];
                let columns = padding[1]..w + padding[1];
                if rows.contains(&row) && columns.contains(&column) {
                    let (row, column) = (row - padding[0], column - padding[1]);
                    window.push(((at[0] * h + row) * w + column) * c + at[3]);
                }
            }
        }
        (y[i], indices[i]) = largest(x, window.into_iter());
    }
}

/// Standardises each channel of each group of `[groups, rows, c]`, then scales and shifts it.
pub fn batch_norm<T: Real>(
    x: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    weight: &[T],
    bias: &[T],
    eps: T,
    y: &mut [T],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    let n = T::from_usize(rows);
    for s in 0..groups * c {
        let (group, i) = (s / c, s % c);
        let at = |row: usize| (group * rows + row) * c + i;
        mean[s] = (0..rows).map(|row| x[at(row)]).sum::<T>() / n;
        let deviation = |row: usize| x[at(row)] - mean[s];
        var[s] = (0..rows).map(|row| deviation(row) * deviation(row)).sum::<T>() / n;
        inv_std[s] = T::ONE / (var[s] + eps).sqrt();
        for row in 0..rows {
            y[at(row)] = deviation(row) * inv_std[s] * weight[i] + bias[i];
        }
    }
}

/// The adjoint of [`batch_norm`].
pub fn batch_norm_grad<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    g: &[T],
    groups: usize,
    rows: usize,
    c: usize,
    dx: Option<&mut [T]>,
    dweight: &mut [T],
    dbias: &mut [T],
) {
    dweight.fill(T::ZERO);
    dbias.fill(T::ZERO);
    for k in 0..groups * rows * c {
        let (group, i) = (k / (rows * c), k % c);
        dweight[i] += g[k] * (x[k] - mean[group * c + i]) * inv_std[group * c + i];
        dbias[i] += g[k];
    }
    let Some(dx) = dx else { return };
    // The map from dx to dy is its own adjoint: a projection scaled by weight · inv_std.
    batch_norm_tangent(x, mean, inv_std, weight, Some(g), None, None, groups, rows, c, dx);
}

/// The tangent of [`batch_norm`].
pub fn batch_norm_tangent<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    weight: &[T],
    dx: Option<&[T]>,
    dweight: Option<&[T]>,
    dbias: Option<&[T]>,
    groups: usize,
    rows: usize,
    c: usize,
    dy: &mut [T],
) {
    let n = T::from_usize(rows);
    for s in 0..groups * c {
        let (group, i) = (s / c, s % c);
        let at = |row: usize| (group * rows + row) * c + i;
        let xhat = |row: usize| (x[at(row)] - mean[s]) * inv_std[s];
        let t = |row: usize| dx.map_or(T::ZERO, |dx| dx[at(row)]);
        let mean_t = (0..rows).map(t).sum::<T>() / n;
        let mean_product = (0..rows).map(|row| t(row) * xhat(row)).sum::<T>() / n;
        for row in 0..rows {
            let moved = weight[i] * inv_std[s] * (t(row) - mean_t - xhat(row) * mean_product);
            let scaled = dweight.map_or(T::ZERO, |dweight| dweight[i] * xhat(row));
            dy[at(row)] = moved + scaled + dbias.map_or(T::ZERO, |dbias| dbias[i]);
        }
    }
}

/// `y[r] = length · x[r] / max(‖x[r]‖₂, eps)`, of rows of `cols` elements.
pub fn l2_normalize<T: Real>(x: &[T], cols: usize, length: T, eps: T, y: &mut [T]) {
    for (x, y) in x.chunks(cols.max(1)).zip(y.chunks_mut(cols.max(1))) {
        let norm = x.iter().map(|&x| x * x).sum::<T>().sqrt();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = length * x / norm.max(eps);
        }
    }
}

/// The adjoint of [`l2_normalize`].
pub fn l2_normalize_grad<T: Real>(x: &[T], cols: usize, length: T, eps: T, g: &[T], dx: &mut [T]) {
    for start in (0..x.len()).step_by(cols.max(1)) {
        let row = start..start + cols;
        let norm = x[row.clone()].iter().map(|&x| x * x).sum::<T>().sqrt();
        let along: T = row.clone().map(|i| x[i] * g[i]).sum();
        for at in row {
            dx[at] = if norm < eps {
                length * g[at] / eps
            } else {
                length * (g[at] - x[at] * along / (norm * norm)) / norm
            };
        }
    }
}

/// The softmax of row `r` of scores; 0 in a column that does not take part.
fn softmax<T: Real>(scores: Scores<'_, T>, r: usize) -> Vec<T> {
    let cols = scores.cols();
    let out = |j: usize| scores.without.is_some_and(|without| without[r] as usize == j);
    let exp = |j: usize| if out(j) { T::ZERO } else { scores.x[r * cols + j].exp() };
    let total: T = (0..cols).map(exp).sum();
    (0..cols).map(|j| exp(j) / total).collect()
}

/// `loss[r] = −ln softmax(x[r])[target[r]]`.
pub fn cross_entropy<T: Real>(scores: Scores<'_, T>, loss: &mut [T]) {
    for r in 0..scores.target.len() {
        loss[r] = -softmax(scores, r)[scores.target[r] as usize].ln();
    }
}

/// The adjoint of [`cross_entropy`].
pub fn cross_entropy_grad<T: Real>(scores: Scores<'_, T>, g: &[T], dx: &mut [T]) {
    for r in 0..scores.target.len() {
        let p = softmax(scores, r);
        for (j, &p) in p.iter().enumerate() {
            let is_target = if j == scores.target[r] as usize { T::ONE } else { T::ZERO };
            dx[r * scores.cols() + j] = g[r] * (p - is_target);
        }
    }
}

/// The tangent of [`cross_entropy`].
pub fn cross_entropy_tangent<T: Real>(scores: Scores<'_, T>, dx: &[T], dloss: &mut [T]) {
    let cols = scores.cols();
    for r in 0..scores.target.len() {
        let dx = &dx[r * cols..][..cols];
        let mean: T = softmax(scores, r).into_iter().zip(dx).map(|(p, &dx)| p * dx).sum();
        dloss[r] = mean - dx[scores.target[r] as usize];
    }
}

/// [`batch_norm`], [`max_pool2d`] over 2x2 windows, ReLU; without the picks' byte form, positions.
pub fn batch_norm_pool<T: Real>(
    x: &[T],
    [n, h, w, c]: [usize; 4],
    groups: usize,
    weight: &[T],
    bias: &[T],
    eps: T,
    y: &mut [T],
    indices: &mut [u32],
    mean: &mut [T],
    inv_std: &mut [T],
    var: &mut [T],
) {
    let mut normal = vec![T::ZERO; x.len()];
    let rows = n / groups * h * w;
    batch_norm(x, groups, rows, c, weight, bias, eps, &mut normal, mean, inv_std, var);
    max_pool2d(&normal, n, h, w, c, [2, 2], [2, 2], [0, 0], y, indices);
    y.iter_mut().filter(|y| **y < T::ZERO).for_each(|y| *y = T::ZERO);
}
