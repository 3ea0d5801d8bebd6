//! Principal components: the few directions in which features spread most.

use rand_distr::{Distribution, StandardNormal};

use super::statistics::{Moments, features, gram};
use crate::kernels::Real;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// The leading principal components of features.
#[derive(Clone, Debug, PartialEq)]
pub struct Pca {
    /// Unit directions, the one of the greatest variance first: `[K, D]`.
    pub axes: Tensor<f64>,
    /// The variance (biased) along each.
    pub variances: Vec<f64>,
    /// The share of all variance that lies along each, in 0 to 1; 0 of features without any.
    pub shares: Vec<f64>,
    /// The centred features along each: `[N, K]`.
    pub scores: Tensor<f64>,
}

/// Rounds of the iteration at most; what is left then is between directions of equal variance.
const MOST_ROUNDS: usize = 500;

/// The first `count` principal components of `x [N, D]`, at most `D`.
///
/// The covariance's leading eigenvectors by orthogonal iteration from a fixed draw: multiply,
/// orthonormalise, until the variances stand still. An axis points to where its largest entry is
/// positive, so that equal features have equal maps.
///
/// # Panics
/// If `x` is not a matrix with rows.
///
/// Source: Golub and Van Loan, Matrix Computations, section 8.2.4.
#[track_caller]
pub fn pca<T: Real>(x: &Tensor<T>, count: usize) -> Pca {
    let [n, d] = features(x, "pca");
    assert!(n > 0, "pca: no rows in {:?}", x.shape());
    let k = count.min(d);
    let moments = Moments::of(x).shift_only();
    let mut covariance = gram(x, &moments);
    covariance.make_mut().iter_mut().for_each(|c| *c /= n as f64);
    let total: f64 = (0..d).map(|i| covariance.as_slice()[i * d + i]).sum();

    // A few directions more than asked for: the rate is the ratio to the first left out.
    let width = (k + 6).min(d);
    let mut rng = Stream::new(0, "pca").at(&[]);
    let mut basis = Tensor::from_fn(&[width, d], |_| StandardNormal.sample(&mut rng));
    orthonormalize(basis.make_mut(), d);
    let mut variances = vec![0.0; width];
    for _ in 0..MOST_ROUNDS {
        let mut next = basis.matmul(&covariance);
        let lengths: Vec<f64> = orthonormalize(next.make_mut(), d);
        let moved = variances.iter().zip(&lengths).take(k).map(|(a, b)| (a - b).abs());
        let still = moved.fold(0.0, f64::max) <= 1e-12 * total;
        (basis, variances) = (next, lengths);
        if still {
            break;
        }
    }
    let mut axes = basis.as_slice()[..k * d].to_vec();
    for axis in axes.chunks_mut(d) {
        let largest = axis.iter().fold(0.0f64, |a, &b| if b.abs() > a.abs() { b } else { a });
        axis.iter_mut().for_each(|x| *x *= if largest < 0.0 { -1.0 } else { 1.0 });
    }
    let axes = Tensor::from_vec(axes, &[k, d]);
    let mut centred = vec![0.0; n * d];
    let rows = centred.chunks_mut(d).zip(x.as_slice().chunks(d));
    rows.for_each(|(y, x)| moments.standardize(x, y));
    let scores = Tensor::from_vec(centred, &[n, d]).matmul_nt(&axes);
    variances.truncate(k);
    let shares = variances.iter().map(|v| if total > 0.0 { v / total } else { 0.0 }).collect();
    Pca { axes, variances, shares, scores }
}

/// Gram and Schmidt's, twice, over the rows of a matrix of `d` columns; returns how long each row
/// was beside those before it. A row that lies in their span becomes 0.
fn orthonormalize(rows: &mut [f64], d: usize) -> Vec<f64> {
    let mut lengths = Vec::new();
    for i in 0..rows.len() / d {
        let (before, row) = rows.split_at_mut(i * d);
        let row = &mut row[..d];
        let own = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        for _ in 0..2 {
            for other in before.chunks(d) {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        let factor = if length > 1e-13 * own { 1.0 / length } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= factor);
        lengths.push(if factor > 0.0 { length } else { 0.0 });
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::normals;

    #[test]
    fn axes_are_orthonormal_and_scores_have_their_variances() {
        let noise = normals(400 * 6, 3);
        let scales = [0.1, 3.0, 1.0, 0.5, 2.0, 0.0];
        let x = Tensor::from_fn(&[400, 6], |i| 7.0 + scales[i % 6] * noise[i]);
        let found = pca(&x, 3);
        let gram = found.axes.matmul_nt(&found.axes);
        for (i, &entry) in gram.as_slice().iter().enumerate() {
            let expected = f64::from(u8::from(i / 3 == i % 3));
            assert!((entry - expected).abs() < 1e-12, "{gram:?}");
        }
        // The scores are uncorrelated, with the variances that were found.
        let products = found.scores.matmul_tn(&found.scores);
        for (i, &product) in products.as_slice().iter().enumerate() {
            let expected = if i / 3 == i % 3 { 400.0 * found.variances[i / 3] } else { 0.0 };
            assert!((product - expected).abs() < 1e-3, "{i}: {product} {expected}");
        }
        assert!(found.variances.is_sorted_by(|a, b| a >= b) && found.axes.as_slice()[1] > 0.99);
        let whole = pca(&x, 6);
        assert!((whole.shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", whole.shares);
    }

    #[test]
    fn a_point_has_no_variance_and_a_line_one_axis() {
        let point = pca(&Tensor::full(&[5, 3], 2.0f32), 2);
        assert_eq!((point.variances, point.shares), (vec![0.0; 2], vec![0.0; 2]));
        let line = pca(&Tensor::from_fn(&[9, 2], |i| (i / 2) as f64 * [3.0, 4.0][i % 2]), 2);
        assert!((line.shares[0] - 1.0).abs() < 1e-12);
        let axis = &line.axes.as_slice()[..2];
        assert!((axis[0] - 0.6).abs() < 1e-12 && (axis[1] - 0.8).abs() < 1e-12);
    }
}
