//! Random shapes and tensors for property tests: the feature `proptest`.
//!
//! Every strategy is an owned value that can be cloned, so it may be returned from `prop_flat_map`,
//! boxed, and joined with others. A failing case shrinks to a small shape first, with the same
//! numbers as far as it needs them, and then to round numbers: 0, 1, 2, a half. What is printed is
//! something to calculate with.
//!
//! ```
//! use dimask::autodiff::check::check_grads;
//! use dimask::strategies::{shapes, tensors, values};
//! use proptest::prelude::*;
//!
//! // Drawn together, or the tensor from a shape that something else needs too.
//! let pairs = shapes(1..=2, 1..=3)
//!     .prop_flat_map(|shape| (values::<f64>(&shape, -2.0, 2.0), values(&shape, 0.5, 2.0)));
//! let drawn = tensors(0..=3, 1..=4, -1.0, 1.0);
//! proptest!(ProptestConfig::with_cases(16), |((a, b) in pairs, x in drawn)| {
//!     check_grads(|v| &v[0] / &v[1], &[a, b], 2).unwrap();
//!     check_grads(|v| v[0].tanh(), &[x], 2).unwrap();
//! });
//! ```

mod number;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::kernels::Real;
use crate::tensor::Tensor;
use number::{Filled, Number};

/// Shapes with `rank` axes of the given lengths.
///
/// ```
/// use dimask::strategies::{shapes, values};
/// use dimask::{Var, pull};
/// use proptest::prelude::*;
///
/// // A sum's adjoint is a broadcast: the gradient of `<g, sum_to(x)>` is `g`, repeated.
/// let tensors = shapes(2..=2, 1..=5).prop_flat_map(|shape| values::<f64>(&shape, -1.0, 1.0));
/// proptest!(|(x in tensors)| {
///     let x = Var::leaf(x);
///     let y = x.sum_to(&[1, x.shape()[1]]);
///     let g = y.value().clone();
///     prop_assert_eq!(&pull(vec![(y, g.clone())], &[&x])[0], &g.broadcast_to(x.shape()));
/// });
/// ```
pub fn shapes(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<usize>> + Clone + use<> {
    vec(lengths, rank)
}

/// A pair of shapes that broadcast to each other, and the shape they broadcast to.
///
/// Either may have axes of length 1 where the other does not, and the second fewer leading axes.
///
/// ```
/// use dimask::Tensor;
/// use dimask::strategies::broadcastable;
/// use proptest::prelude::*;
///
/// proptest!(|((a, b, common) in broadcastable(0..=3, 1..=4))| {
///     let sum = &Tensor::<f32>::zeros(&a) + &Tensor::zeros(&b);
///     prop_assert_eq!(sum.shape(), &common[..]);
/// });
/// ```
pub fn broadcastable(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<usize>, Vec<usize>, Vec<usize>)> + Clone + use<> {
    // For each axis, whether both operands keep it or which of them has length 1 there; for the
    // second operand, how many leading axes it drops.
    let highest = *rank.end();
    (shapes(rank, lengths), vec(0..3usize, highest), 0..=highest).prop_map(
        |(shape, one, dropped)| {
            let side = |operand: usize| -> Vec<usize> {
                let axis = |(&len, &one): (&usize, &usize)| if one == operand { 1 } else { len };
                shape.iter().zip(&one).map(axis).collect()
            };
            let (a, b) = (side(1), side(2)[dropped.min(shape.len())..].to_vec());
            let common = crate::tensor::broadcast(&a, &b).expect("an axis differs only from 1");
            (a, b, common.to_vec())
        },
    )
}

/// Tensors of one shape with elements in `[low, high]`.
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::strategies::values;
/// use proptest::prelude::*;
///
/// proptest!(|(x in values::<f32>(&[2, 3], -1.0, 1.0))| {
///     prop_assert!(x.as_slice().iter().all(|x| x.abs() <= 1.0));
/// });
/// ```
#[track_caller]
pub fn values<T: Real>(
    shape: &[usize],
    low: f64,
    high: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    filled(Just(shape.to_vec()), Number::new(low, high, &[], 0.0))
}

/// Tensors of one shape with elements in `[-high, -gap]` or `[gap, high]`: away from kinks at 0.
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::autodiff::check::check_grads;
/// use dimask::strategies::values_off_zero;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(x in values_off_zero(&[4], 0.1, 2.0))| {
///     check_grads(|x| x[0].abs().sqrt(), &[x], 2).unwrap();
/// });
/// ```
#[track_caller]
pub fn values_off_zero<T: Real>(
    shape: &[usize],
    gap: f64,
    high: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    values_off(shape, -high, high, &[0.0], gap)
}

/// Tensors of one shape with elements in `[low, high]`, each at least `gap` away from all `kinks`.
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::autodiff::check::check_grads;
/// use dimask::strategies::values_off;
/// use proptest::prelude::*;
///
/// let inputs = values_off(&[2, 3], -2.0, 2.0, &[-1.0, 1.0], 0.05);
/// proptest!(ProptestConfig::with_cases(16), |(x in inputs)| {
///     check_grads(|x| x[0].clamp(Some(-1.0), Some(1.0)), &[x], 1).unwrap();
/// });
/// ```
#[track_caller]
pub fn values_off<T: Real>(
    shape: &[usize],
    low: f64,
    high: f64,
    kinks: &[f64],
    gap: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    filled(Just(shape.to_vec()), Number::new(low, high, kinks, gap))
}

/// Tensors of drawn shapes with elements in `[low, high]`.
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::strategies::tensors;
/// use proptest::prelude::*;
///
/// proptest!(|(x in tensors::<f64>(0..=3, 1..=4, -1.0, 1.0))| {
///     prop_assert_eq!(x.reshape(&[x.len()]).to_vec(), x.to_vec());
/// });
/// ```
#[track_caller]
pub fn tensors<T: Real>(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
    low: f64,
    high: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    filled(shapes(rank, lengths), Number::new(low, high, &[], 0.0))
}

/// Pairs of tensors of [`broadcastable`] shapes with elements in `[low, high]`.
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::strategies::broadcasting_pairs;
/// use proptest::prelude::*;
///
/// proptest!(|((a, b) in broadcasting_pairs::<f64>(0..=3, 1..=4, -1.0, 1.0))| {
///     prop_assert_eq!(&a * &b, &b * &a);
/// });
/// ```
#[track_caller]
pub fn broadcasting_pairs<T: Real>(
    rank: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
    low: f64,
    high: f64,
) -> impl Strategy<Value = (Tensor<T>, Tensor<T>)> + Clone + use<T> {
    pairs(
        broadcastable(rank, lengths).prop_map(|(a, b, _)| (a, b)),
        Number::new(low, high, &[], 0.0),
    )
}

/// Pairs `[.., m, k]` and `[.., k, n]` that [`Var::matmul`](crate::Var) multiplies, elements in
/// `[low, high]`; the `batch` leading axes are [`broadcastable`].
///
/// # Panics
/// If there is no such number.
///
/// ```
/// use dimask::autodiff::check::check_grads;
/// use dimask::strategies::multiplying_pairs;
/// use proptest::prelude::*;
///
/// let pairs = multiplying_pairs(0..=1, 1..=3, -1.0, 1.0);
/// proptest!(ProptestConfig::with_cases(16), |((a, b) in pairs)| {
///     check_grads(|v| v[0].matmul(&v[1]), &[a, b], 2).unwrap();
/// });
/// ```
#[track_caller]
pub fn multiplying_pairs<T: Real>(
    batch: RangeInclusive<usize>,
    lengths: RangeInclusive<usize>,
    low: f64,
    high: f64,
) -> impl Strategy<Value = (Tensor<T>, Tensor<T>)> + Clone + use<T> {
    let len = lengths.clone();
    let keys = (broadcastable(batch, lengths), [len.clone(), len.clone(), len]);
    let shapes = keys
        .prop_map(|((a, b, _), [m, k, n])| ([a, vec![m, k]].concat(), [b, vec![k, n]].concat()));
    pairs(shapes, Number::new(low, high, &[], 0.0))
}

/// Tensors of one shape whose elements are multiples of `gap`, no two alike: without ties, for
/// maxima, sorting and ranks.
///
/// The elements are consecutive multiples around 0, in a random order; it shrinks to the ascending
/// one.
///
/// ```
/// use dimask::autodiff::{Keep, check::check_grads};
/// use dimask::strategies::distinct;
/// use proptest::prelude::*;
///
/// proptest!(ProptestConfig::with_cases(16), |(x in distinct(&[3, 4], 0.25))| {
///     check_grads(|x| x[0].max_axis(1, Keep::Drop), &[x], 1).unwrap();
/// });
/// ```
pub fn distinct<T: Real>(
    shape: &[usize],
    gap: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    let build = move |shape: Vec<usize>, keys: &[f64]| {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]).then(a.cmp(&b)));
        let mut values = vec![T::ZERO; keys.len()];
        let middle = (keys.len() / 2) as f64;
        for (rank, i) in order.into_iter().enumerate() {
            values[i] = T::from_f64((rank as f64 - middle) * gap);
        }
        Tensor::from_vec(values, &shape)
    };
    Filled {
        keys: Just(shape.to_vec()),
        number: Number::new(0.0, 1.0, &[], 0.0),
        count: |shape: &Vec<usize>| shape.iter().product(),
        build: Arc::new(build),
    }
}

/// Orthogonal matrices `[n, n]`, with `n` in the given range: `Qᵀ Q` is the identity.
///
/// Products of a rotation in each plane, by at most a right angle, and of reflections, so any
/// orthogonal matrix may come near; not uniformly. They shrink to the identity.
///
/// ```
/// use dimask::strategies::orthogonal;
/// use proptest::prelude::*;
///
/// proptest!(|(q in orthogonal::<f64>(1..=4))| {
///     let length = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
///     let rows = q.as_slice().chunks(q.shape()[1]);
///     prop_assert!(rows.into_iter().all(|row| (length(row) - 1.0).abs() < 1e-14));
/// });
/// ```
pub fn orthogonal<T: Real>(
    n: RangeInclusive<usize>,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    Filled {
        keys: n,
        number: Number::new(-1.0, 1.0, &[], 0.0),
        count: |&n: &usize| angles(n),
        build: Arc::new(|n: usize, numbers: &[f64]| {
            let q = rotated(n, numbers);
            Tensor::from_fn(&[n, n], |i| T::from_f64(q[i]))
        }),
    }
}

/// Symmetric positive-definite matrices `[n, n]` with eigenvalues in `[low, high]`.
///
/// They are `Q diag(λ) Qᵀ` with `Q` as in [`orthogonal`], symmetric to the bit, and shrink to
/// diagonal matrices.
///
/// # Panics
/// If `low` is not positive, or above `high`.
///
/// ```
/// use dimask::strategies::positive_definite;
/// use proptest::prelude::*;
///
/// proptest!(|(a in positive_definite::<f64>(1..=4, 0.5, 2.0))| {
///     prop_assert_eq!(&a, &a.permute(&[1, 0]));
///     let n = a.shape()[0];
///     prop_assert!((0..n).all(|i| a.as_slice()[i * n + i] >= 0.5 - 1e-14));
/// });
/// ```
#[track_caller]
pub fn positive_definite<T: Real>(
    n: RangeInclusive<usize>,
    low: f64,
    high: f64,
) -> impl Strategy<Value = Tensor<T>> + Clone + use<T> {
    assert!(low > 0.0, "positive_definite: eigenvalues from {low} on");
    let eigenvalues = Number::new(low, high, &[], 0.0);
    n.prop_flat_map(move |n| {
        let eigenvalues = Filled {
            keys: Just(vec![n]),
            number: eigenvalues.clone(),
            count: |shape: &Vec<usize>| shape.iter().product(),
            build: Arc::new(|_, numbers: &[f64]| numbers.to_vec()),
        };
        (orthogonal::<f64>(n..=n), eigenvalues).prop_map(move |(q, eigenvalues)| {
            let q = q.as_slice();
            Tensor::from_fn(&[n, n], |at| {
                let (i, j) = (at / n, at % n);
                // Both triangles by the same sum.
                let (i, j) = (i.min(j), i.max(j));
                let term = |k: usize| q[i * n + k] * eigenvalues[k] * q[j * n + k];
                T::from_f64((0..n).map(term).sum())
            })
        })
    })
}

/// How many numbers [`rotated`] takes: one for each plane and one for each axis.
fn angles(n: usize) -> usize {
    n * n.saturating_sub(1) / 2 + n
}

/// The identity, rotated in each plane and reflected along some axes.
fn rotated(n: usize, numbers: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = (0..n * n).map(|at| if at % (n + 1) == 0 { 1.0 } else { 0.0 }).collect();
    let (signs, tangents) = numbers.split_at(n);
    let mut tangents = tangents.iter();
    for (i, j) in (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))) {
        // From the tangent of half the angle: round numbers give round sines, 1/2 gives 4/5.
        let t = tangents.next().copied().unwrap_or(0.0);
        let [cos, sin] = [(1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t)];
        for k in 0..n {
            let [a, b] = [q[i * n + k], q[j * n + k]];
            (q[i * n + k], q[j * n + k]) = (cos * a - sin * b, sin * a + cos * b);
        }
    }
    for (row, sign) in q.chunks_mut(n.max(1)).zip(signs) {
        row.iter_mut().for_each(|x| *x = if *sign < 0.0 { -*x } else { *x });
    }
    q
}

fn filled<T: Real, S: Strategy<Value = Vec<usize>> + Clone>(
    shapes: S,
    number: Number,
) -> Filled<S, Tensor<T>> {
    let build = |shape: Vec<usize>, x: &[f64]| {
        Tensor::from_vec(x.iter().map(|x| T::from_f64(*x)).collect(), &shape)
    };
    let count = |shape: &Vec<usize>| shape.iter().product();
    Filled { keys: shapes, number, count, build: Arc::new(build) }
}

fn pairs<T: Real, S: Strategy<Value = (Vec<usize>, Vec<usize>)> + Clone>(
    shapes: S,
    number: Number,
) -> Filled<S, (Tensor<T>, Tensor<T>)> {
    let build = |(a, b): (Vec<usize>, Vec<usize>), x: &[f64]| {
        let (first, second) = x.split_at(a.iter().product());
        let tensor = |x: &[f64], shape: &[usize]| {
            Tensor::from_vec(x.iter().map(|x| T::from_f64(*x)).collect(), shape)
        };
        (tensor(first, &a), tensor(second, &b))
    };
    let count = |(a, b): &(Vec<usize>, Vec<usize>)| {
        a.iter().product::<usize>() + b.iter().product::<usize>()
    };
    Filled { keys: shapes, number, count, build: Arc::new(build) }
}
