//! What single dimensions of features say about labels.

use crate::eval::statistics::{check_labels, features};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// How much of each dimension's variance lies between the classes of `labels`, in 0 to 1.
///
/// The correlation ratio `η² = Σ_c n_c (mean_c - mean)² / Σ (x - mean)²`, of every column of
/// `x [N, D]`: 1 if the class determines the value, about `classes / N` if it says nothing; 0 for a
/// constant column.
///
/// Formula: ratio-1.
///
/// # Panics
/// If there is not one label a row, or a label is not below `classes`.
///
/// Source: Fisher 1925, Statistical Methods for Research Workers, the intraclass ratio.
#[track_caller]
pub fn correlation_ratio<T: Real>(x: &Tensor<T>, labels: &[u32], classes: usize) -> Vec<f64> {
    let [n, d] = features(x, "correlation_ratio");
    check_labels("correlation_ratio", labels, n, classes);
    let (mut counts, mut sums) = (vec![0usize; classes], vec![0.0; classes * d]);
    let mut mean = vec![0.0; d];
    for (row, &label) in x.as_slice().chunks(d).zip(labels) {
        let label = label as usize;
        counts[label] += 1;
        for (i, x) in row.iter().enumerate() {
            sums[label * d + i] += x.to_f64();
            mean[i] += x.to_f64() / n as f64;
        }
    }
    let mut total = vec![0.0; d];
    for row in x.as_slice().chunks(d) {
        row.iter().enumerate().for_each(|(i, x)| total[i] += (x.to_f64() - mean[i]).powi(2));
    }
    let between = |i: usize| {
        let class = |c: usize| {
            let count = counts[c] as f64;
            if counts[c] == 0 { 0.0 } else { count * (sums[c * d + i] / count - mean[i]).powi(2) }
        };
        (0..classes).map(class).sum::<f64>()
    };
    (0..d).map(|i| if total[i] > 1e-30 { between(i) / total[i] } else { 0.0 }).collect()
}

/// The rank correlation of two lists in -1 to 1; equal values share their mean rank.
///
/// NaN if a list is constant or shorter than two.
///
/// Formula: spearman-1.
///
/// # Panics
/// If the lists differ in length.
///
/// Source: Spearman 1904, The proof and measurement of association between two things.
#[track_caller]
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    assert!(a.len() == b.len(), "spearman: {} and {} values", a.len(), b.len());
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| {
        a.iter().zip(b).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = start as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::normals;

    // Formula: ratio-1.
    #[test]
    fn the_correlation_ratio_by_hand() {
        // Column 0 is the class, column 1 is not, column 2 is constant; column 3: between 4, all 5.
        let x = Tensor::from_rows(&[
            &[1.0f64, 1.0, 7.0, 0.5],
            &[1.0, -1.0, 7.0, 1.5],
            &[-1.0, 1.0, 7.0, -0.5],
            &[-1.0, -1.0, 7.0, -1.5],
        ]);
        let found = correlation_ratio(&x, &[0, 0, 2, 2], 3);
        for (got, expected) in found.iter().zip([1.0, 0.0, 0.0, 0.8]) {
            assert!((got - expected).abs() < 1e-12, "{found:?}");
        }
    }

    // Formula: spearman-1.
    #[test]
    fn rank_correlation_sees_order_and_nothing_else() {
        let x = normals(50, 1);
        let cubes: Vec<f64> = x.iter().map(|x| x.powi(3)).collect();
        let falling: Vec<f64> = x.iter().map(|x| -x.exp()).collect();
        assert!((spearman(&x, &cubes) - 1.0).abs() < 1e-12);
        assert!((spearman(&x, &falling) + 1.0).abs() < 1e-12);
        // Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / √(4.5 · 5).
        let tied = spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
        assert!((tied - 4.5 / 22.5f64.sqrt()).abs() < 1e-12);
        assert!(spearman(&x, &[1.0; 50]).is_nan());
    }
}
