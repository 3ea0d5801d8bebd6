//! Numbers about features and scores: accuracy, spread, rank, redundancy.
//!
//! Everything is computed in f64 from fixed-order sums.

use super::rows::{BLOCK, Rows, for_each_block};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Whether each label is among the `k` classes with the largest scores.
///
/// Among equal scores the lower class comes first. Shapes: `scores [N, classes]`, `labels [N]`.
///
/// # Panics
/// If the shapes do not fit or a label is not below `classes`.
#[track_caller]
pub fn topk_correct<T: Real>(scores: &Tensor<T>, labels: &[u32], k: usize) -> Vec<bool> {
    topk("topk_correct", scores, labels, k)
}

/// [`topk_correct`] for the function `op`, which a complaint names.
#[track_caller]
pub(super) fn topk<T: Real>(op: &str, scores: &Tensor<T>, labels: &[u32], k: usize) -> Vec<bool> {
    let [n, classes] = features(scores, op);
    check_labels(op, labels, n, classes);
    let among = |(row, &label): (&[T], &u32)| {
        let label = label as usize;
        // A NaN score of the label compares with nothing; it must not count as the largest.
        let before = |class: usize| match row[class].partial_cmp(&row[label]) {
            Some(order) => order.is_gt() || (order.is_eq() && class < label),
            None => true,
        };
        (0..classes).filter(|&class| class != label && before(class)).count() < k
    };
    scores.as_slice().chunks(classes).zip(labels).map(among).collect()
}

/// The share of rows whose label is among the `k` largest scores; see [`topk_correct`].
///
/// # Panics
/// If the shapes do not fit or a label is not below `classes`.
#[track_caller]
pub fn topk_accuracy<T: Real>(scores: &Tensor<T>, labels: &[u32], k: usize) -> f64 {
    super::share(&topk("topk_accuracy", scores, labels, k))
}

/// How often rows of each class are taken for each: `[label][prediction]`.
///
/// The prediction is the class with the largest score, the lower one where scores are equal.
///
/// # Panics
/// If the shapes do not fit or a label is not below the number of classes.
#[track_caller]
pub fn confusion<T: Real>(scores: &Tensor<T>, labels: &[u32]) -> Vec<Vec<usize>> {
    let [n, classes] = features(scores, "confusion");
    check_labels("confusion", labels, n, classes);
    let mut counts = vec![vec![0; classes]; classes];
    for (row, &label) in scores.as_slice().chunks(classes).zip(labels) {
        counts[label as usize][super::argmax(row)] += 1;
    }
    counts
}

/// The mean over dimensions of the standard deviation over rows (biased) of `x [N, D]`.
///
/// Zero says that the features have collapsed to a point.
///
/// # Panics
/// If `x` is not a matrix.
#[track_caller]
pub fn feature_std<T: Real>(x: &Tensor<T>) -> f64 {
    features(x, "feature_std");
    let moments = Moments::of(x);
    moments.std.iter().sum::<f64>() / moments.std.len() as f64
}

/// How many dimensions the features `x [N, D]` use: the exponential of the entropy of their
/// normalised singular values.
///
/// With `σ` the singular values of the centred features and `p = σ / Σσ`, the rank is
/// `exp(-Σ p ln p)`: `D` for a round cloud, 1 for a line, 0 for a point. The `σ` are the square
/// roots of the eigenvalues of the covariance, or of the products of rows if those are fewer, by
/// Jacobi's method in O(min(N, D)³).
///
/// Formula: rank-1.
///
/// # Panics
/// If `x` is not a matrix.
///
/// Source: Garrido et al. 2023 (RankMe), arXiv 2210.02885; theirs does not centre.
#[track_caller]
pub fn effective_rank<T: Real>(x: &Tensor<T>) -> f64 {
    let [n, d] = features(x, "effective_rank");
    let moments = Moments::of(x).shift_only();
    let products = if n < d {
        let mut y = vec![0.0; n * d];
        y.chunks_mut(d).zip(x.as_slice().chunks(d)).for_each(|(y, x)| moments.standardize(x, y));
        let y = Tensor::from_vec(y, &[n, d]);
        y.matmul_nt(&y)
    } else {
        gram(x, &moments)
    };
    let eigenvalues = eigenvalues(products.to_vec(), n.min(d));
    let singular: Vec<f64> = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    let total: f64 = singular.iter().sum();
    if total == 0.0 {
        return 0.0;
    }
    let shares = singular.iter().map(|value| value / total).filter(|&p| p > 0.0);
    (-shares.map(|p| p * p.ln()).sum::<f64>()).exp()
}

/// The mean absolute correlation between two different dimensions of `x [N, D]`.
///
/// A constant dimension has the correlation 0 with the others; with `D < 2` the mean is 0.
///
/// # Panics
/// If `x` is not a matrix.
#[track_caller]
pub fn mean_abs_correlation<T: Real>(x: &Tensor<T>) -> f64 {
    let [n, d] = features(x, "mean_abs_correlation");
    let correlation = gram(x, &Moments::of(x));
    let entries = correlation.as_slice().iter().enumerate();
    let sum: f64 = entries.filter(|(i, _)| i / d != i % d).map(|(_, c)| c.abs()).sum();
    sum / (n * (d * d - d).max(1)) as f64
}

/// The correlation of every dimension of `a [N, D]` with every one of `b [N, D]`, over the rows:
/// `[D, D]`, entry `(i, j)` between dimension `i` of `a` and `j` of `b`, in -1 to 1.
///
/// Of two views' features this is the matrix that Barlow Twins takes to the identity; of `b = a` it
/// is the correlation of the dimensions with each other. A constant dimension has 0 everywhere.
///
/// # Panics
/// If the shapes differ or are no matrices.
#[track_caller]
pub fn correlation<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> Tensor<f64> {
    let [n, _] = features(a, "correlation");
    assert!(a.shape() == b.shape(), "correlation: {:?} and {:?}", a.shape(), b.shape());
    let mut c = standardized(a).matmul_tn(&standardized(b));
    c.make_mut().iter_mut().for_each(|c| *c /= n as f64);
    c
}

/// Every dimension of `x [N, D]` less its mean, over its deviation (biased); 0 if it is constant.
///
/// # Panics
/// If `x` is not a matrix.
#[track_caller]
pub fn standardized<T: Real>(x: &Tensor<T>) -> Tensor<f64> {
    let [n, d] = features(x, "standardized");
    let (moments, mut y) = (Moments::of(x), vec![0.0; n * d]);
    y.chunks_mut(d).zip(x.as_slice().chunks(d)).for_each(|(y, x)| moments.standardize(x, y));
    Tensor::from_vec(y, &[n, d])
}

/// The two lengths of a matrix of features `[N, D]`.
#[track_caller]
pub(super) fn features<R: Rows>(x: &R, what: &str) -> [usize; 2] {
    let [n, d] = x.size(what);
    assert!(d > 0, "{what}: no columns in {:?}", [n, d]);
    [n, d]
}

/// Refuses labels that are not one a row, each below `classes`.
#[track_caller]
pub(super) fn check_labels(op: &str, labels: &[u32], rows: usize, classes: usize) {
    assert!(labels.len() == rows, "{op}: {} labels for {rows} rows", labels.len());
    for (row, label) in labels.iter().enumerate() {
        let fits = (*label as usize) < classes;
        assert!(fits, "{op}: label {label} of row {row} is not below {classes} classes");
    }
}

/// Mean and deviation of each dimension: what takes features to mean 0 and deviation 1.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    mean: Vec<f64>,
    std: Vec<f64>,
    /// One over the deviation; 0 for a constant dimension, which so stays out of everything.
    inv_std: Vec<f64>,
}

impl Moments {
    /// The moments of `x [N, D]`, in two passes over the rows.
    #[track_caller]
    pub(super) fn of<R: Rows>(x: &R) -> Moments {
        let [n, d] = features(x, "moments");
        let mut mean = vec![0.0; d];
        let mut square = vec![0.0; d];
        for_each_block(x, 0..n, BLOCK, |_, block| {
            for row in block.as_slice().chunks(d) {
                mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x.to_f64());
            }
        });
        mean.iter_mut().for_each(|sum| *sum /= n as f64);
        for_each_block(x, 0..n, BLOCK, |_, block| {
            for row in block.as_slice().chunks(d) {
                for ((sum, x), mean) in square.iter_mut().zip(row).zip(&mean) {
                    *sum += (x.to_f64() - mean) * (x.to_f64() - mean);
                }
            }
        });
        let std: Vec<f64> = square.iter().map(|sum| (sum / n as f64).sqrt()).collect();
        // What differs by no more than f32's rounding is constant: its deviation is noise.
        let varies = |(std, mean): (&f64, &f64)| *std > 1e-6 * mean.abs() && *std > 1e-30;
        let inverse = |of| if varies(of) { 1.0 / of.0 } else { 0.0 };
        let inv_std = std.iter().zip(&mean).map(inverse).collect();
        Moments { mean, std, inv_std }
    }

    /// These moments with all deviations taken as 1, but for constant dimensions: they centre.
    pub(super) fn shift_only(mut self) -> Moments {
        self.inv_std
            .iter_mut()
            .filter(|inverse| **inverse > 0.0)
            .for_each(|inverse| *inverse = 1.0);
        self
    }

    /// These moments with all deviations multiplied by `factor`.
    pub(super) fn divided(mut self, factor: f64) -> Moments {
        self.inv_std.iter_mut().for_each(|inverse| *inverse /= factor);
        self
    }

    /// Writes `(x - mean) / std` of one row; 0 where the dimension is constant.
    pub(super) fn standardize<T: Real, U: Real>(&self, x: &[T], y: &mut [U]) {
        for (i, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = U::from_f64((x.to_f64() - self.mean[i]) * self.inv_std[i]);
        }
    }
}

/// `yᵀ y [D, D]` of the rows of `x` after `moments`, in f64, a block of rows at a time.
pub(super) fn gram<T: Real>(x: &Tensor<T>, moments: &Moments) -> Tensor<f64> {
    let d = x.shape()[1];
    let mut sum = Tensor::zeros(&[d, d]);
    for block in x.as_slice().chunks(BLOCK * d) {
        let mut y = vec![0.0f64; block.len()];
        y.chunks_mut(d).zip(block.chunks(d)).for_each(|(y, x)| moments.standardize(x, y));
        let y = Tensor::from_vec(y, &[block.len() / d, d]);
        sum.add_assign(&y.matmul_tn(&y));
    }
    sum
}

/// The eigenvalues of a symmetric matrix `a [n, n]`, in no particular order.
///
/// Jacobi's method: turn the plane of each pair of axes so that their entry vanishes, until the
/// entries off the diagonal are rounding errors. It converges quadratically: six to ten sweeps.
fn eigenvalues(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    let square = |a: &[f64], kept: fn(usize, usize) -> bool| -> f64 {
        let entries = a.iter().enumerate().filter(|(i, _)| kept(i / n, i % n));
        entries.map(|(_, x)| x * x).sum()
    };
    let enough = 1e-28 * square(&a, |_, _| true);
    const MOST_SWEEPS: usize = 40;
    for _ in 0..MOST_SWEEPS {
        if square(&a, |row, col| row != col) <= enough {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, n, p, q);
            }
        }
    }
    (0..n).map(|i| a[i * n + i]).collect()
}

/// One Jacobi rotation: makes entry `(p, q)` of the symmetric `a` zero, `p < q`.
///
/// The two rows are turned, then copied to their columns, which symmetry makes equal; the four
/// entries where they cross have their own formulas.
fn rotate(a: &mut [f64], n: usize, p: usize, q: usize) {
    let (app, aqq, apq) = (a[p * n + p], a[q * n + q], a[p * n + q]);
    if apq == 0.0 {
        return;
    }
    // The smaller root of t² + 2θt - 1 = 0 turns by at most 45 degrees.
    let theta = (aqq - app) / (2.0 * apq);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let cos = 1.0 / t.hypot(1.0);
    let sin = t * cos;
    let (head, tail) = a.split_at_mut(q * n);
    for (x, y) in head[p * n..][..n].iter_mut().zip(&mut tail[..n]) {
        (*x, *y) = (cos * *x - sin * *y, sin * *x + cos * *y);
    }
    for i in 0..n {
        a[i * n + p] = a[p * n + i];
        a[i * n + q] = a[q * n + i];
    }
    a[p * n + p] = app - t * apq;
    a[q * n + q] = aqq + t * apq;
    a[p * n + q] = 0.0;
    a[q * n + p] = 0.0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, normals};

    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9 * expected.abs().max(1.0), "{got} {expected}");
    }

    #[test]
    fn topk_breaks_ties_by_the_lower_class() {
        let scores = Tensor::from_rows(&[&[0.5f32, 2.0, 2.0, -1.0], &[1.0, 1.0, 1.0, 1.0]]);
        assert_eq!(topk_correct(&scores, &[2, 0], 1), [false, true]);
        assert_eq!(topk_correct(&scores, &[2, 1], 2), [true, true]);
        close(topk_accuracy(&scores, &[3, 3], 3), 0.0);
        close(topk_accuracy(&scores, &[0, 3], 3), 0.5);
        close(topk_accuracy(&scores, &[3, 3], 9), 1.0);
        let nan = Tensor::from_rows(&[&[f32::NAN, 0.0]]);
        assert_eq!(topk_correct(&nan, &[0], 1), [false], "a NaN is never the largest");
    }

    #[test]
    fn confusion_counts_rows_by_label_and_prediction() {
        let scores = Tensor::from_rows(&[&[0.0f32, 1.0], &[3.0, 3.0], &[2.0, 1.0], &[0.0, 0.1]]);
        assert_eq!(confusion(&scores, &[0, 0, 1, 1]), [[1, 1], [1, 1]]);
        assert_eq!(confusion(&scores, &[1, 0, 0, 1]), [[2, 0], [0, 2]]);
    }

    #[test]
    fn eigenvalues_of_small_matrices_are_known() {
        let mut two = eigenvalues(vec![2.0, 1.0, 1.0, 2.0], 2);
        two.sort_by(f64::total_cmp);
        close(two[0], 1.0);
        close(two[1], 3.0);
        // The path of n points has the eigenvalues 2 cos(π k / (n + 1)).
        let n = 12;
        let path = |i: usize| f64::from(u8::from((i / n).abs_diff(i % n) == 1));
        let mut got = eigenvalues((0..n * n).map(path).collect(), n);
        got.sort_by(|a, b| b.total_cmp(a));
        for (k, got) in got.iter().enumerate() {
            close(*got, 2.0 * (std::f64::consts::PI * (k + 1) as f64 / (n + 1) as f64).cos());
        }
    }

    // Formula: rank-1.
    #[test]
    fn rank_counts_the_dimensions_in_use() {
        // The corners of a cube: a round cloud of rank 3, whatever the means are.
        let cube = Tensor::from_fn(&[8, 3], |i| f64::from(((i / 3) >> (i % 3)) as u8 & 1) + 5.0);
        close(effective_rank(&cube), 3.0);
        close(feature_std(&cube), 0.5);
        close(mean_abs_correlation(&cube), 0.0);
        let line = Tensor::from_fn(&[8, 3], |i| (i / 3) as f64 * [1.0, -2.0, 0.5][i % 3]);
        assert!((effective_rank(&line) - 1.0).abs() < 1e-5);
        close(mean_abs_correlation(&line), 1.0);
        let signs = [[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]].concat();
        let found = correlation(&line, &line);
        found.as_slice().iter().zip(signs).for_each(|(&got, sign)| close(got, sign));
        let point = Tensor::full(&[8, 3], 0.1f32);
        close(effective_rank(&point), 0.0);
        close(mean_abs_correlation(&point), 0.0);
        close(feature_std(&point), 0.0);
    }

    #[test]
    fn rows_fewer_than_dimensions_have_the_rank_of_the_same_rows_twice() {
        let (x, _) = blobs::<f64>(20, 30, 4, 0.3, 5);
        let twice = Tensor::concat(&[&x, &x], 0);
        // A centred cloud of n points has n - 1 directions; what is left of the last is rounding.
        assert!((effective_rank(&x) - effective_rank(&twice)).abs() < 1e-4);
    }

    #[test]
    fn rank_of_noise_is_near_the_dimension() {
        let (x, _) = blobs::<f32>(4000, 24, 1, 1.0, 5);
        let rank = effective_rank(&x);
        assert!((23.0..=24.0).contains(&rank), "{rank}");
    }

    #[test]
    fn a_constant_dimension_standardizes_to_zero() {
        let x = Tensor::from_vec(
            normals(40, 6).iter().flat_map(|&x| [x as f32, 0.1]).collect(),
            &[40, 2],
        );
        let moments = Moments::of(&x);
        let mut y = [9.0f32; 2];
        moments.standardize(&[x.as_slice()[0], 0.7], &mut y);
        assert!(y[0].is_finite() && y[1] == 0.0, "{y:?}");
    }
}
