//! The linear probe: a softmax classifier on fixed features, trained on all labels.
//!
//! The gradient of such a classifier has a closed form, so no graph is recorded.

use rayon::prelude::*;

use crate::data::epoch_order;
use crate::eval::rows::{BLOCK, Rows};
use crate::eval::statistics::{Moments, check_labels, features, topk_accuracy};
use crate::kernels::Real;
use crate::optim::{Optimizer, Sgd, cosine};
use crate::tensor::Tensor;

/// Settings of the linear probe: SGD with momentum under a cosine schedule, no weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearProbe {
    /// Passes over the training features.
    pub epochs: usize,
    /// Rows in a step; the last step of an epoch takes what is left.
    pub batch_size: usize,
    /// Learning rate of the first epoch, on its way down to 0.
    pub lr: f64,
    /// How much of its momentum a step keeps.
    pub momentum: f64,
}

impl Default for LinearProbe {
    /// 100 epochs, batches of 256, learning rate 0.1, momentum 0.9.
    fn default() -> LinearProbe {
        LinearProbe { epochs: 100, batch_size: 256, lr: 0.1, momentum: 0.9 }
    }
}

/// A linear classifier of standardised features.
pub struct Classifier<T: Real> {
    /// What the features are standardised by: the moments of the training rows.
    pub(super) moments: Moments,
    /// `[D, classes]`.
    pub(super) weight: Tensor<T>,
    /// `[classes]`.
    pub(super) bias: Tensor<T>,
}

impl<T: Real> Classifier<T> {
    /// The logits of `x [N, D]`: `[N, classes]`.
    ///
    /// # Panics
    /// If `x` has another number of columns than the classifier's training rows.
    #[track_caller]
    pub fn scores<R: Rows>(&self, x: &R) -> Tensor<T> {
        self.scores_for("Classifier::scores", x)
    }

    #[track_caller]
    fn check<R: Rows>(&self, op: &str, x: &R) -> [usize; 2] {
        let ([n, d], trained) = (features(x, op), self.weight.shape()[0]);
        assert!(d == trained, "{op}: {d} columns for a classifier of {trained}");
        [n, d]
    }

    #[track_caller]
    fn scores_for<R: Rows>(&self, op: &str, x: &R) -> Tensor<T> {
        let [n, _] = self.check(op, x);
        let rows: Vec<usize> = (0..n).collect();
        let classes = self.bias.len();
        let mut scores = Vec::with_capacity(n * classes);
        for rows in rows.chunks(BLOCK) {
            let mut logits = gather::<R, T>(x, rows, &self.moments).matmul(&self.weight);
            for row in logits.make_mut().chunks_mut(classes) {
                row.iter_mut().zip(self.bias.as_slice()).for_each(|(logit, &b)| *logit += b);
            }
            scores.extend_from_slice(logits.as_slice());
        }
        Tensor::from_vec(scores, &[n, classes])
    }

    /// What each dimension contributes to each class: entry `(k, j)` of `[classes, D]` is the mean
    /// over the rows of class `k` of `w_kj · h_j`, `h` the standardised features; 0 of a class
    /// without rows.
    ///
    /// Formula: contribution-1.
    ///
    /// # Panics
    /// As [`Classifier::scores`], if there is not one label a row, or one is not below `classes`.
    #[track_caller]
    pub fn contributions<U: Real>(&self, x: &Tensor<U>, labels: &[u32]) -> Tensor<f64> {
        let [n, d] = self.check("contributions", x);
        let classes = self.bias.len();
        check_labels("contributions", labels, n, classes);
        let (mut sums, mut counts) = (vec![0.0; classes * d], vec![0usize; classes]);
        let mut h = vec![0.0f64; d];
        for (row, &label) in x.as_slice().chunks(d).zip(labels) {
            self.moments.standardize(row, &mut h);
            counts[label as usize] += 1;
            let own = &mut sums[label as usize * d..][..d];
            own.iter_mut().zip(&h).for_each(|(sum, h)| *sum += h);
        }
        let entry = |i: usize| {
            let (class, dimension) = (i / d, i % d);
            let weight = self.weight.as_slice()[dimension * classes + class].to_f64();
            weight * sums[i] / counts[class].max(1) as f64
        };
        Tensor::from_fn(&[classes, d], entry)
    }

    /// The share of rows of `x [N, D]` whose label is among the `top` largest logits; NaN without
    /// rows.
    ///
    /// # Panics
    /// As [`Classifier::scores`], if there is not one label a row, or one is not below `classes`.
    #[track_caller]
    pub fn accuracy<R: Rows>(&self, x: &R, labels: &[u32], top: usize) -> f64 {
        const OP: &str = "Classifier::accuracy";
        let [n, _] = self.check(OP, x);
        check_labels(OP, labels, n, self.bias.len());
        topk_accuracy(&self.scores_for(OP, x), labels, top)
    }
}

/// Trains a linear classifier on `train [N, D]` by stochastic gradient descent.
///
/// Features are standardised by the training rows' mean and deviation, which takes away the scale
/// that a mask gives to a dimension; a constant dimension becomes 0. The weights start at 0, the
/// loss is the mean cross-entropy of a batch, and the order of the rows is drawn from `seed`.
///
/// # Panics
/// If the shapes do not fit, there are no training rows, a label is not below `classes`, or a batch
/// has no rows.
#[track_caller]
pub fn linear_probe<R: Rows>(
    train: &R,
    train_labels: &[u32],
    classes: usize,
    settings: &LinearProbe,
    seed: u64,
) -> Classifier<R::Value> {
    let [n, d] = features(train, "linear_probe");
    assert!(n > 0, "linear_probe: no training rows in {:?}", [n, d]);
    check_labels("linear_probe", train_labels, n, classes);
    assert!(settings.batch_size > 0, "linear_probe: batches of no rows");
    let moments = Moments::of(train);
    let mut params = vec![Tensor::<R::Value>::zeros(&[d, classes]), Tensor::zeros(&[classes])];
    let rule = Sgd { momentum: settings.momentum, weight_decay: 0.0, ..Sgd::default() };
    let rule = Optimizer::Sgd(rule);
    let mut state = rule.start(&params);
    for epoch in 0..settings.epochs {
        let rule = rule.with_lr(cosine(settings.lr, 0.0, epoch, settings.epochs));
        for batch in epoch_order(n, seed, epoch as u64).chunks(settings.batch_size) {
            let x = gather(train, batch, &moments);
            let labels: Vec<u32> = batch.iter().map(|&row| train_labels[row]).collect();
            let [_, weight, bias] = cross_entropy_grad(&x, &labels, &params[0], &params[1]);
            (params, state) = rule.step(params, &[weight, bias], state);
        }
    }
    let bias = params.pop().expect("two parameters");
    Classifier { moments, weight: params.pop().expect("two parameters"), bias }
}

/// The mean cross-entropy of a linear softmax classifier and its gradients.
///
/// With `p = softmax(x w + b)` and `e` the one-hot labels, `dw = xᵀ (p - e) / N` and
/// `db = Σ (p - e) / N`.
/// Shapes: `x [N, D]`, `w [D, classes]`, `b [classes]` → loss `[]`, `dw`, `db`.
///
/// Formula: probe-1.
///
/// # Panics
/// If the shapes do not fit or a label is not below `classes`.
#[track_caller]
pub(super) fn cross_entropy_grad<T: Real>(
    x: &Tensor<T>,
    labels: &[u32],
    weight: &Tensor<T>,
    bias: &Tensor<T>,
) -> [Tensor<T>; 3] {
    let classes = bias.len();
    let mut g = x.matmul(weight);
    let share = T::ONE / T::from_usize(labels.len());
    let mut loss = T::ZERO;
    let mut db = vec![T::ZERO; classes];
    for (row, &label) in g.make_mut().chunks_mut(classes).zip(labels) {
        let label = label as usize;
        assert!(label < classes, "cross_entropy_grad: label {label} with {classes} classes");
        row.iter_mut().zip(bias.as_slice()).for_each(|(logit, &b)| *logit += b);
        // Shifted by the largest logit, so that no exponential overflows.
        let largest = row.iter().fold(-T::MAX, |largest, &logit| largest.max(logit));
        let right = row[label] - largest;
        row.iter_mut().for_each(|logit| *logit = (*logit - largest).exp());
        let total: T = row.iter().copied().sum();
        loss += (total.ln() - right) * share;
        row.iter_mut().for_each(|p| *p = *p / total * share);
        row[label] -= share;
        db.iter_mut().zip(&*row).for_each(|(sum, &g)| *sum += g);
    }
    [Tensor::scalar(loss), x.matmul_tn(&g), Tensor::from_vec(db, &[classes])]
}

/// The standardised rows of `x [N, D]` at `rows`: `[rows.len(), D]`.
pub(super) fn gather<R: Rows, U: Real>(x: &R, rows: &[usize], moments: &Moments) -> Tensor<U> {
    let d = x.size("gather")[1];
    let mut y = vec![U::ZERO; rows.len() * d];
    for (y, rows) in y.chunks_mut(BLOCK * d).zip(rows.chunks(BLOCK)) {
        let x = x.rows(rows);
        let pairs = y.par_chunks_mut(d).zip(x.as_slice().par_chunks(d)).with_min_len(16);
        pairs.for_each(|(y, x)| moments.standardize(x, y));
    }
    Tensor::from_vec(y, &[rows.len(), d])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{Reduction, Var, grad};
    use crate::eval::tests::{blobs, normals, on_threads};

    fn probe(
        train: &(Tensor<f32>, Vec<u32>),
        test: &(Tensor<f32>, Vec<u32>),
        classes: usize,
    ) -> f64 {
        let settings = LinearProbe { epochs: 20, batch_size: 64, ..LinearProbe::default() };
        linear_probe(&train.0, &train.1, classes, &settings, 1).accuracy(&test.0, &test.1, 1)
    }

    // Formula: probe-1.
    #[test]
    fn the_closed_form_gradient_is_the_graphs() {
        let (n, d, classes) = (7, 5, 3);
        let x = Tensor::from_vec(normals(n * d, 1), &[n, d]);
        let labels = [0, 2, 1, 1, 0, 2, 2];
        let weight = Var::leaf(Tensor::from_vec(normals(d * classes, 2), &[d, classes]));
        let bias = Var::leaf(Tensor::from_vec(normals(classes, 3), &[classes]));
        let logits = Var::constant(x.clone()).matmul(&weight) + &bias;
        let loss = logits.cross_entropy(&labels, Reduction::Mean);
        let [value, dw, db] = cross_entropy_grad(&x, &labels, weight.value(), bias.value());
        assert!((value.item() - loss.value().item()).abs() < 1e-14);
        for (got, expected) in [dw, db].iter().zip(grad(loss, &[&weight, &bias])) {
            for (got, expected) in got.as_slice().iter().zip(expected.as_slice()) {
                assert!((got - expected).abs() < 1e-14, "{got} {expected}");
            }
        }
    }

    // Formula: contribution-1.
    #[test]
    fn contributions_add_up_to_the_mean_logit_of_a_class() {
        let (x, labels) = blobs::<f32>(300, 6, 3, 0.5, 1);
        let settings = LinearProbe { epochs: 3, ..LinearProbe::default() };
        let classifier = linear_probe(&x, &labels, 3, &settings, 1);
        let (found, logits) = (classifier.contributions(&x, &labels), classifier.scores(&x));
        for class in 0..3 {
            let own = (0..300).filter(|&row| labels[row] as usize == class);
            let mean =
                own.map(|row| f64::from(logits.as_slice()[row * 3 + class])).sum::<f64>() / 100.0;
            let sum: f64 = found.as_slice()[class * 6..][..6].iter().sum();
            let bias = f64::from(classifier.bias.as_slice()[class]);
            assert!((mean - bias - sum).abs() < 1e-4, "{mean} {bias} {sum}");
        }
    }

    #[test]
    fn separable_classes_are_separated_and_noise_is_not() {
        let accuracy = probe(&blobs(600, 8, 3, 0.1, 1), &blobs(300, 8, 3, 0.1, 2), 3);
        assert_eq!(accuracy, 1.0);
        let mut noise = blobs(600, 8, 1, 1.0, 3);
        noise.1 = (0..600).map(|row| row % 3).collect();
        let accuracy = probe(&noise, &blobs(3000, 8, 3, 0.1, 4), 3);
        assert!((0.1..0.6).contains(&accuracy), "{accuracy}");
    }

    #[test]
    fn scale_shift_and_constant_dimensions_do_not_matter() {
        // A power of two scales without rounding, so the standardised features are the same bits.
        let change = |(x, labels): (Tensor<f32>, Vec<u32>)| {
            let wide = x.as_slice().chunks(4).flat_map(|row| [row, &[0.7]].concat());
            let scaled: Vec<f32> =
                wide.enumerate().map(|(i, x)| x * [1024.0, 1.0][i % 5 % 2]).collect();
            let n = labels.len();
            (Tensor::from_vec(scaled, &[n, 5]), labels)
        };
        let (train, test) = (blobs(400, 4, 3, 0.9, 5), blobs(400, 4, 3, 0.9, 6));
        let plain = probe(&train, &test, 3);
        assert!(plain < 1.0);
        assert!((probe(&change(train), &change(test), 3) - plain).abs() < 0.02);
    }

    #[test]
    fn one_class_or_constant_features_are_fine() {
        let one = blobs(50, 4, 1, 1.0, 7);
        assert_eq!(probe(&one, &one, 1), 1.0);
        // Nothing to learn but the more frequent class, in the bias.
        let labels: Vec<u32> = (0..90).map(|row| u32::from(row % 3 > 0)).collect();
        let constant = (Tensor::full(&[90, 4], 0.3), labels);
        assert!((probe(&constant, &constant, 2) - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn thread_counts_give_the_same_bits() {
        let (train, labels) = blobs::<f32>(700, 40, 5, 2.0, 8);
        let (test, test_labels) = blobs::<f32>(500, 40, 5, 2.0, 9);
        let settings = LinearProbe { epochs: 3, ..LinearProbe::default() };
        on_threads(|| {
            let probe = linear_probe(&train, &labels, 5, &settings, 4);
            [1, 3].map(|top| probe.accuracy(&test, &test_labels, top).to_bits())
        });
    }
}
