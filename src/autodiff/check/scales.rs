//! The sizes that everything is relative to: of entries, of rounding, of derivatives; and the
//! choice of entries and directions.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::difference::Value;

/// A corner of an array of more axes than this is one among too many.
const CORNER_AXES: usize = 4;

/// The size of each entry: its own, or for zeros that of the tensor's largest entry, or 1.
///
/// The second result bounds the steps of each entry: the largest entry of its tensor, and 1.
pub(super) fn sizes(x: &[f64], shapes: &[Vec<usize>]) -> (Vec<f64>, Vec<f64>) {
    let (mut sizes, mut bounds) = (Vec::with_capacity(x.len()), Vec::with_capacity(x.len()));
    let mut rest = x;
    for shape in shapes {
        let (own, others) = rest.split_at(shape.iter().product());
        rest = others;
        let largest = own.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
        let of_zeros = if largest > 0.0 { largest } else { 1.0 };
        sizes.extend(own.iter().map(|&x| if x == 0.0 { of_zeros } else { x.abs() }));
        bounds.extend(own.iter().map(|_| largest.max(1.0)));
    }
    (sizes, bounds)
}

/// The rounding error of each output: half a unit in its last place, or what fourth differences
/// over very small steps show, if that is more. Intermediate results may be far larger than `f`.
///
/// An output that moves, but not over such steps, changes in stairs, as `1 - y²` near 0: its error
/// is the height of a stair, which larger steps show. The survey's are the largest; where they
/// change the output to one side only, it is flat here, as a ReLU below 0.
pub(super) fn rounding(
    value: &Value<'_>,
    x: &[f64],
    here: &[f64],
    direction: &[f64],
    stairs: &[f64],
) -> Vec<f64> {
    let mut errors: Vec<f64> = here.iter().map(|y| f64::EPSILON / 2.0 * y.abs()).collect();
    let mut open: Vec<usize> = (0..here.len()).filter(|&k| stairs[k] > 0.0).collect();
    for exponent in [-32, -24, -18, -12] {
        if open.is_empty() {
            break;
        }
        let step = 2f64.powi(exponent);
        let at = |k: i32| {
            let moved = x.iter().zip(direction).map(|(x, d)| x + f64::from(k) * step * d);
            value(&moved.collect::<Vec<_>>())
        };
        let around = [-3, -2, -1, 1, 2, 3].map(at);
        let is_still = |k: usize| around.iter().all(|y| y[k] == here[k]);
        for &k in open.iter().filter(|k| !is_still(**k)) {
            let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|i| around[i][k]);
            let row = [a, b, c, here[k], d, e, f];
            // The fourth difference of independent errors has 70 times their variance.
            let fourth = |w: &[f64]| w[0] - 4.0 * w[1] + 6.0 * w[2] - 4.0 * w[3] + w[4];
            let squares: f64 = row.windows(5).map(|w| fourth(w).powi(2)).sum();
            let measured = 2.0 * f64::sqrt(squares / 3.0 / 70.0);
            let changes = row.iter().map(|y| (y - here[k]).abs()).filter(|change| *change > 0.0);
            // Still at smaller steps: the least change is one stair, or two.
            let stair = if exponent > -32 { changes.fold(f64::INFINITY, f64::min) } else { 0.0 };
            let error = errors[k].max(measured).max(stair);
            errors[k] = if error.is_finite() { error } else { errors[k] };
        }
        open.retain(|&k| is_still(k));
    }
    open.iter().for_each(|&k| errors[k] = errors[k].max(stairs[k]));
    errors
}

/// Random signs and sizes between 1/2 and 1.
pub(super) fn signs(rng: &mut ChaCha8Rng, len: usize) -> Vec<f64> {
    let one = |_| (1.0 - 0.5 * rng.random::<f64>()) * if rng.random::<bool>() { 1.0 } else { -1.0 };
    (0..len).map(one).collect()
}

/// Weights of the outputs with which each contributes alike to a sum, given how steep it is; an
/// output that is mostly rounding counts less, because it would drown the others.
pub(super) fn weights(rng: &mut ChaCha8Rng, steepest: &[f64], noise: &[f64]) -> Vec<f64> {
    if steepest.len() == 1 {
        return vec![1.0];
    }
    let largest = steepest.iter().fold(0.0, |max: f64, s| max.max(*s));
    let size = |(&steepest, &noise): (&f64, &f64)| steepest.max((1e10 * noise).min(largest));
    let sizes = steepest.iter().zip(noise).map(size);
    let one = |(size, sign): (f64, f64)| if size > 0.0 { sign / size } else { sign };
    let weights: Vec<f64> = sizes.zip(signs(rng, steepest.len())).map(one).collect();
    // A quotient by a number near the smallest there are.
    weights.into_iter().map(|w| if w.is_finite() { w } else { 1.0 }).collect()
}

/// The entries of one input to compare, as positions: all if there are at most `count`.
pub(super) fn entries(
    rng: &mut ChaCha8Rng,
    shape: &[usize],
    x: &[f64],
    gradient: Option<&[f64]>,
    count: usize,
) -> Vec<usize> {
    if x.len() <= count {
        return (0..x.len()).collect();
    }
    let mut chosen = Vec::new();
    if shape.len() <= CORNER_AXES {
        for corner in 0..1usize << shape.len() {
            let position = |at: usize, (axis, len): (usize, &usize)| {
                at * len + if corner >> axis & 1 == 1 { len - 1 } else { 0 }
            };
            chosen.push(shape.iter().enumerate().fold(0, position));
        }
    }
    for sizes in [Some(x), gradient].into_iter().flatten() {
        let by_size = |a: &usize, b: &usize| sizes[*a].abs().total_cmp(&sizes[*b].abs());
        let some = || (0..x.len()).filter(|&i| sizes[i] != 0.0);
        chosen.extend(some().min_by(by_size).into_iter().chain(some().max_by(by_size)));
    }
    chosen.extend((0..4 * count).map(|_| rng.random_range(0..x.len())));
    let mut distinct: Vec<usize> = Vec::new();
    for position in chosen {
        if distinct.len() < count && !distinct.contains(&position) {
            distinct.push(position);
        }
    }
    distinct
}

/// A random direction over all entries, as lengths relative to their sizes.
///
/// The first kind moves each by its size. Two more let small contributions count: they move entries
/// with a large share of the derivative less, down to the median's or a tenth's. The last moves a
/// random stretch of entries only.
pub(super) fn direction(
    rng: &mut ChaCha8Rng,
    number: usize,
    sizes: &[f64],
    gradient: Option<&[f64]>,
) -> Vec<f64> {
    let mut d: Vec<f64> = signs(rng, sizes.len()).iter().zip(sizes).map(|(r, s)| r * s).collect();
    let share = match number % 4 {
        1 => 0.5,
        2 => 0.1,
        3 => {
            let len = (d.len() / 8).max(1);
            let start = rng.random_range(0..=d.len() - len);
            let outside = |i: usize| i < start || i >= start + len;
            d.iter_mut().enumerate().filter(|(i, _)| outside(*i)).for_each(|(_, d)| *d = 0.0);
            return d;
        }
        _ => return d,
    };
    let Some(gradient) = gradient else { return d };
    let part = |(g, s): (&f64, &f64)| (g * s).abs();
    let parts: Vec<f64> = gradient.iter().zip(sizes).map(part).collect();
    let mut sorted: Vec<f64> = parts.iter().copied().filter(|p| *p > 0.0).collect();
    sorted.sort_by(f64::total_cmp);
    if let Some(&most) = sorted.get((sorted.len() as f64 * share) as usize) {
        let shorten = |(d, part): (&mut f64, &f64)| *d *= f64::min(1.0, most / part);
        d.iter_mut().zip(&parts).filter(|(_, part)| **part > 0.0).for_each(shorten);
    }
    d
}
