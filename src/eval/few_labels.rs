//! The probe on one label in a hundred: logistic regression on a few stratified draws.
//!
//! With 200 rows instead of 20,000 the optimum of a regularised convex loss is cheap to find, so it
//! is found: no learning rate, no order of batches, nothing but the features and the draw.

use crate::data::stratified_fraction;
use crate::eval::linear_probe::{accuracy, cross_entropy_grad, gather};
use crate::eval::statistics::{Moments, features};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// The share of the labels that the probe is shown, at least one a class.
const FRACTION: f64 = 0.01;
/// Draws whose accuracies are averaged.
const DRAWS: u64 = 5;
/// Weight of `|W|² / 2` beside the mean cross-entropy.
///
/// Chosen on training images of Fashion-MNIST that the probe did not learn from, 200 labels: from
/// 1e-4 to 1e-3 neither raw pixels nor random convolution features lose a point, outside one does.
const L2: f64 = 3e-4;

/// The accuracy on `test` of classifiers trained on 1 % of the labels of `train`, averaged over
/// five fixed draws.
///
/// Features are standardised by the moments of all training rows, which need no label, and divided
/// by `√D`, so that the same L2 penalty means the same for any number of dimensions. Each
/// classifier minimises the mean cross-entropy plus `3e-4 · |W|² / 2`, bias free, by L-BFGS from 0.
/// The draws depend on `seed` and the labels only, so every set of features is judged by the same
/// images. The result is a share, NaN without test rows.
///
/// Shapes: `train [N, D]`, `test [M, D]`.
///
/// # Panics
/// If the shapes do not fit, there are no training rows, or a label is not below `classes`.
#[track_caller]
pub fn few_labels_probe<T: Real>(
    train: &Tensor<T>,
    train_labels: &[u32],
    test: &Tensor<T>,
    test_labels: &[u32],
    classes: usize,
    seed: u64,
) -> f64 {
    let [n, d] = features(train, "few_labels_probe: train");
    assert!(n > 0 && train_labels.len() == n, "few_labels_probe: {} labels", train_labels.len());
    let moments = Moments::of(train).divided((d as f64).sqrt());
    let draw = |draw| {
        let draw = seed.wrapping_mul(DRAWS).wrapping_add(draw);
        let rows = stratified_fraction(train_labels, FRACTION, draw);
        let x: Tensor<f64> = gather(train, &rows, &moments);
        let labels: Vec<u32> = rows.iter().map(|&row| train_labels[row]).collect();
        let [weight, bias] = logistic_regression(&x, &labels, classes);
        accuracy(test, test_labels, &moments, &weight, &bias)
    };
    (0..DRAWS).map(draw).sum::<f64>() / DRAWS as f64
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
    split(&minimize(vec![0.0; (d + 1) * classes], objective))
}

/// The minimum of a smooth convex function from its value and gradient, by L-BFGS.
///
/// ```text
/// repeat until the gradient is below 1e-6 everywhere, or no step goes down:
///     direction = - (inverse Hessian of the last 10 steps) · gradient
///     halve the step from 1 until the value falls by 1e-4 of what the slope promises
/// ```
///
/// Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 and 7.5.
fn minimize(mut x: Vec<f64>, f: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    const MEMORY: usize = 10;
    const MOST_STEPS: usize = 500;
    const MOST_HALVINGS: usize = 30;
    let mut history: Vec<Pair> = Vec::new();
    let (mut value, mut gradient) = f(&x);
    for _ in 0..MOST_STEPS {
        if gradient.iter().all(|g| g.abs() < 1e-6) {
            break;
        }
        let direction = quasi_newton(&gradient, &history);
        let slope = dot(&direction, &gradient);
        let trial = |halvings: usize| {
            let step = 0.5f64.powi(halvings as i32);
            let next: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
            let (next_value, next_gradient) = f(&next);
            let falls = next_value <= value + 1e-4 * step * slope;
            falls.then_some((next, next_value, next_gradient))
        };
        // Rounding has the last word: when no step goes down, this is the minimum.
        let Some((next, next_value, next_gradient)) = (0..=MOST_HALVINGS).find_map(trial) else {
            break;
        };
        let moved = next.iter().zip(&x).map(|(a, b)| a - b).collect();
        let turned = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        history.extend(Pair::new(moved, turned));
        if history.len() > MEMORY {
            history.remove(0);
        }
        (x, value, gradient) = (next, next_value, next_gradient);
    }
    x
}

/// What one step taught about the curvature: how far it moved, how much the gradient turned.
struct Pair {
    moved: Vec<f64>,
    turned: Vec<f64>,
    inv_product: f64,
}

impl Pair {
    /// None if the curvature along the step is not positive beyond rounding.
    fn new(moved: Vec<f64>, turned: Vec<f64>) -> Option<Pair> {
        let product = dot(&moved, &turned);
        let inv_product = 1.0 / product;
        (product > 1e-14 * dot(&turned, &turned)).then_some(Pair { moved, turned, inv_product })
    }
}

/// Minus the inverse Hessian, as the pairs know it, times the gradient: the two-loop recursion.
fn quasi_newton(gradient: &[f64], history: &[Pair]) -> Vec<f64> {
    let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let alpha = pair.inv_product * dot(&pair.moved, &direction);
        add(&mut direction, -alpha, &pair.turned);
        alphas.push(alpha);
    }
    // The last pair says how long the inverse Hessian is.
    if let Some(last) = history.last() {
        let scale = 1.0 / (last.inv_product * dot(&last.turned, &last.turned));
        direction.iter_mut().for_each(|x| *x *= scale);
    }
    for (pair, alpha) in history.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.inv_product * dot(&pair.turned, &direction);
        add(&mut direction, alpha - beta, &pair.moved);
    }
    direction
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, on_threads};

    #[test]
    fn the_minimum_of_a_narrow_valley_is_found() {
        // A quadratic bowl with axes 1 to 1,000, turned by a shear.
        let f = |x: &[f64]| {
            let y = [x[0] - 3.0, x[1] + x[0], x[2] - x[1]];
            let value = 0.5 * (y[0] * y[0] + 30.0 * y[1] * y[1] + 1000.0 * y[2] * y[2]);
            let g = [y[0], 30.0 * y[1], 1000.0 * y[2]];
            (value, vec![g[0] + g[1], g[1] - g[2], g[2]])
        };
        for (got, expected) in minimize(vec![0.0; 3], f).iter().zip([3.0, -3.0, -3.0]) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }

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
        assert_eq!(few_labels_probe(&train, &labels, &test, &test_labels, 3, 1), 1.0);
        // A constant tells nothing: everything goes to one class.
        let (flat, flat_test) = (Tensor::full(&[900, 6], 0.1f32), Tensor::full(&[300, 6], 0.2));
        let accuracy = few_labels_probe(&flat, &labels, &flat_test, &test_labels, 3, 1);
        assert!((accuracy - 1.0 / 3.0).abs() < 0.1, "{accuracy}");
        let one = vec![0; 900];
        assert_eq!(few_labels_probe(&train, &one, &test, &one[..300], 1, 1), 1.0);
    }

    #[test]
    fn thread_counts_give_the_same_bits() {
        let (train, labels) = blobs::<f32>(2000, 30, 5, 1.5, 3);
        let (test, test_labels) = blobs::<f32>(600, 30, 5, 1.5, 4);
        on_threads(|| few_labels_probe(&train, &labels, &test, &test_labels, 5, 9).to_bits());
    }
}
