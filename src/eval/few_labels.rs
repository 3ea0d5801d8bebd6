//! Logistic regression: on all labels, and on a few in a hundred.
//!
//! The optimum of a regularised convex loss is found, not approached: no learning rate, no order of
//! batches, nothing but the features and, of the few labels, the draw.

use crate::data::stratified_fraction;
use crate::eval::lbfgs::minimize;
use crate::eval::linear_probe::{Classifier, cross_entropy_grad, gather};
use crate::eval::rows::Rows;
use crate::eval::statistics::{Moments, check_labels, features};
use crate::tensor::Tensor;

/// Draws whose accuracies are averaged.
const DRAWS: u64 = 5;
/// Weight of `|W|² / 2` beside the mean cross-entropy.
///
/// Chosen on training images of Fashion-MNIST that the probe did not learn from, 200 labels: from
/// 1e-4 to 1e-3 neither raw pixels nor random convolution features lose a point, outside one does.
const L2: f64 = 3e-4;
/// The gradient's largest entry where the minimum is taken as found.
const TOLERANCE: f64 = 1e-6;

/// The accuracy on `test` of classifiers trained on the share `fraction` of the labels of `train`,
/// averaged over five fixed draws.
///
/// A draw takes the same share of every class, and one image at least. Features are standardised by
/// the moments of all training rows, which need no label, and divided by `√D`, so that the same L2
/// penalty means the same for any number of dimensions. Each classifier minimises the mean
/// cross-entropy plus `3e-4 · |W|² / 2`, bias free, by L-BFGS from 0. The draws depend on `seed`
/// and the labels only, so every set of features is judged by the same images. The result is a
/// share, NaN without test rows.
///
/// Shapes: `train [N, D]`, `test [M, D]`.
///
/// # Panics
/// If the shapes do not fit, there are no training rows, a label is not below `classes`, or
/// `fraction` is not within [0, 1].
#[track_caller]
pub fn few_labels_probe<R: Rows>(
    train: &R,
    train_labels: &[u32],
    test: &R,
    test_labels: &[u32],
    classes: usize,
    fraction: f64,
    seed: u64,
) -> f64 {
    const OP: &str = "few_labels_probe";
    let moments = moments(OP, train, train_labels, classes);
    let ([m, test_d], d) = (features(test, OP), train.size(OP)[1]);
    assert!(test_d == d, "{OP}: {d} training columns, {test_d} test columns");
    check_labels(OP, test_labels, m, classes);
    assert!((0.0..=1.0).contains(&fraction), "{OP}: {fraction} is no fraction");
    let draw = |draw| {
        let draw = seed.wrapping_mul(DRAWS).wrapping_add(draw);
        let rows = stratified_fraction(train_labels, fraction, draw);
        let probe = on_rows(train, train_labels, &rows, classes, moments.clone());
        probe.accuracy(test, test_labels, 1)
    };
    (0..DRAWS).map(draw).sum::<f64>() / DRAWS as f64
}

/// The classifier of [`few_labels_probe`], trained on all labels of `train [N, D]`.
///
/// # Panics
/// As [`few_labels_probe`].
#[track_caller]
pub fn logistic_probe<R: Rows>(train: &R, train_labels: &[u32], classes: usize) -> Classifier<f64> {
    let moments = moments("logistic_probe", train, train_labels, classes);
    let rows: Vec<usize> = (0..train_labels.len()).collect();
    on_rows(train, train_labels, &rows, classes, moments)
}

#[track_caller]
fn moments<R: Rows>(op: &str, train: &R, labels: &[u32], classes: usize) -> Moments {
    let [n, d] = features(train, op);
    assert!(n > 0, "{op}: no training rows in {:?}", [n, d]);
    check_labels(op, labels, n, classes);
    Moments::of(train).divided((d as f64).sqrt())
}

fn on_rows<R: Rows>(
    train: &R,
    labels: &[u32],
    rows: &[usize],
    classes: usize,
    moments: Moments,
) -> Classifier<f64> {
    let x: Tensor<f64> = gather(train, rows, &moments);
    let labels: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
    let [weight, bias] = logistic_regression(&x, &labels, classes);
    Classifier { moments, weight, bias }
}

/// Weights `[D, classes]` and bias `[classes]` of the regularised softmax classifier.
fn logistic_regression(x: &Tensor<f64>, labels: &[u32], classes: usize) -> [Tensor<f64>; 2] {
    let d = x.shape()[1];
    let split = |params: &[f64]| {
        let (weight, bias) = params.split_at(d * classes);
        [Tensor::from_slice(weight, &[d, classes]), Tensor::from_slice(bias, &[classes])]
    };
    let objective = |params: &[f64]| {
        let [weight, bias] = split(params);
        let [loss, mut dw, db] = cross_entropy_grad(x, labels, &weight, &bias);
        dw.add_scaled(L2, &weight);
        let value = loss.item() + 0.5 * L2 * weight.sum_of_squares();
        (value, [dw.as_slice(), db.as_slice()].concat())
    };
    split(&minimize(vec![0.0; (d + 1) * classes], TOLERANCE, objective))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, on_threads};

    #[test]
    fn logistic_regression_ends_where_the_gradient_vanishes() {
        let (x, labels) = blobs::<f64>(60, 9, 3, 1.0, 1);
        let [weight, bias] = logistic_regression(&x, &labels, 3);
        let [_, mut dw, db] = cross_entropy_grad(&x, &labels, &weight, &bias);
        dw.add_scaled(L2, &weight);
        let largest = |x: &Tensor<f64>| x.as_slice().iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(largest(&dw) < 1e-6 && largest(&db) < 1e-6);
        assert!(largest(&weight) > 0.1);
    }

    #[test]
    fn separable_classes_are_separated_from_a_few_labels() {
        let (train, labels) = blobs::<f32>(900, 6, 3, 0.1, 1);
        let (test, test_labels) = blobs::<f32>(300, 6, 3, 0.1, 2);
        assert_eq!(few_labels_probe(&train, &labels, &test, &test_labels, 3, 0.01, 1), 1.0);
        // A constant tells nothing: everything goes to one class.
        let (flat, flat_test) = (Tensor::full(&[900, 6], 0.1f32), Tensor::full(&[300, 6], 0.2));
        let accuracy = few_labels_probe(&flat, &labels, &flat_test, &test_labels, 3, 0.01, 1);
        assert!((accuracy - 1.0 / 3.0).abs() < 0.1, "{accuracy}");
        let all = logistic_probe(&train, &labels, 3);
        assert_eq!(all.accuracy(&test, &test_labels, 1), 1.0);
        let one = vec![0; 900];
        assert_eq!(few_labels_probe(&train, &one, &test, &one[..300], 1, 0.01, 1), 1.0);
    }

    #[test]
    fn thread_counts_give_the_same_bits() {
        let (train, labels) = blobs::<f32>(2000, 30, 5, 1.5, 3);
        let (test, test_labels) = blobs::<f32>(600, 30, 5, 1.5, 4);
        on_threads(|| few_labels_probe(&train, &labels, &test, &test_labels, 5, 0.1, 9).to_bits());
    }
}
