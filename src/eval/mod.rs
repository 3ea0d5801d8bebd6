//! Judging features: nearest neighbours, linear probes, statistics.
//!
//! Features are matrices `[N, D]` that somebody else computed; an encoder's, the raw pixels', all
//! go through the same functions. Nothing here trains an encoder, reads a file or prints.

pub mod collapse;
pub mod few_labels;
pub mod knn;
pub mod linear_probe;
pub mod statistics;

use crate::error::{Error, Result};
use crate::kernels::Real;
use crate::tensor::Tensor;
use knn::Vote;
use linear_probe::LinearProbe;

/// The official MetaMask vote: nearly a plain majority of five.
pub const KNN5: Vote = Vote { k: 5, temperature: 1.0 };
/// The vote of the instance-discrimination papers: two hundred, the near ones first.
pub const KNN200: Vote = Vote { k: 200, temperature: 0.1 };

/// What [`evaluate`] needs besides features and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EvalSettings {
    /// How the linear probe is trained.
    pub linear: LinearProbe,
    /// Decides the order of the linear probe's batches and the draws of the 1 % probe.
    pub seed: u64,
}

/// Accuracies on the test images in percent; none without labels or test images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Nearest neighbours by [`KNN5`].
    pub knn5: Option<f64>,
    /// Nearest neighbours by [`KNN200`].
    pub knn200: Option<f64>,
    /// The linear probe on all training labels.
    pub linear: Option<f64>,
    /// The probe on 1 % of the training labels, mean of five draws.
    pub probe_1pct: Option<f64>,
}

/// Judges features by what their neighbours and linear classifiers say about the classes.
///
/// Shapes: `train [N, D]`, `test [M, D]`, with one label a row or none at all.
///
/// # Errors
/// If a feature is not finite.
///
/// # Panics
/// If the shapes do not fit or a label is not below `classes`.
#[track_caller]
pub fn evaluate<T: Real>(
    train: &Tensor<T>,
    train_labels: Option<&[u32]>,
    test: &Tensor<T>,
    test_labels: Option<&[u32]>,
    classes: usize,
    settings: &EvalSettings,
) -> Result<Scores> {
    check_finite(train, "training features")?;
    check_finite(test, "test features")?;
    let (Some(train_labels), Some(test_labels)) = (train_labels, test_labels) else {
        return Ok(Scores::default());
    };
    if train_labels.is_empty() || test_labels.is_empty() {
        return Ok(Scores::default());
    }
    let voted = knn::knn(train, train_labels, test, classes, &[KNN5, KNN200]);
    let EvalSettings { linear, seed } = settings;
    let linear =
        linear_probe::linear_probe(train, train_labels, test, test_labels, classes, linear, *seed);
    let few = few_labels::few_labels_probe(train, train_labels, test, test_labels, classes, *seed);
    Ok(Scores {
        knn5: Some(100.0 * voted[0].accuracy(test_labels, 1)),
        knn200: Some(100.0 * voted[1].accuracy(test_labels, 1)),
        linear: Some(100.0 * linear),
        probe_1pct: Some(100.0 * few),
    })
}

/// Names the first row that is not finite.
fn check_finite<T: Real>(x: &Tensor<T>, name: &str) -> Result<()> {
    let width = x.len() / x.shape().first().copied().unwrap_or(1).max(1);
    match x.as_slice().iter().position(|x| !x.is_finite()) {
        None => Ok(()),
        Some(at) => {
            let found = x.as_slice()[at].to_string();
            Err(Error::format(name, format!("row {}", at / width), "finite values", found))
        }
    }
}

/// The share of `true`; NaN of nothing.
fn share(correct: &[bool]) -> f64 {
    correct.iter().filter(|&&right| right).count() as f64 / correct.len() as f64
}

/// The index of the largest value, the lowest where several are equal.
fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;
    use rand_distr::{Distribution, StandardNormal};

    /// Standard normal draws.
    pub(super) fn normals(len: usize, seed: u64) -> Vec<f64> {
        let mut rng = Stream::new(seed, "test").at(&[]);
        (0..len).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// `n` rows in turn from `classes` clouds of deviation `spread` around fixed far centres.
    pub(super) fn blobs<T: Real>(
        n: usize,
        d: usize,
        classes: usize,
        spread: f64,
        seed: u64,
    ) -> (Tensor<T>, Vec<u32>) {
        let centres = normals(classes * d, 1000);
        let noise = normals(n * d, seed);
        let value = |i: usize| {
            let class = i / d % classes;
            T::from_f64(centres[class * d + i % d] + spread * noise[i])
        };
        let labels = (0..n).map(|row| (row % classes) as u32).collect();
        (Tensor::from_fn(&[n, d], value), labels)
    }

    /// Asserts that 1, 2, 3 and 7 threads compute the same.
    pub(super) fn on_threads<R: Send + PartialEq + std::fmt::Debug>(f: impl Fn() -> R + Sync) {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads can be started").install(&f)
        };
        let one = run(1);
        for threads in [2, 3, 7] {
            assert!(run(threads) == one, "{threads} threads differ from one");
        }
    }

    #[test]
    fn good_features_score_a_hundred_percent() {
        let (train, labels) = blobs::<f32>(600, 16, 4, 0.1, 1);
        let (test, test_labels) = blobs::<f32>(200, 16, 4, 0.1, 2);
        let settings = EvalSettings::default();
        let run = |train_labels, test_labels| {
            evaluate(&train, train_labels, &test, test_labels, 4, &settings).unwrap()
        };
        let full = Some(100.0);
        let all = Scores { knn5: full, knn200: full, linear: full, probe_1pct: full };
        assert_eq!(run(Some(&labels), Some(&test_labels)), all);
        assert_eq!(run(None, Some(&test_labels)), Scores::default());
        assert_eq!(run(Some(&labels), None), Scores::default());
    }

    #[test]
    fn a_feature_that_is_not_finite_is_named() {
        let (train, labels) = blobs::<f32>(10, 3, 2, 0.1, 1);
        let mut broken = train.clone();
        broken.make_mut()[7] = f32::NAN;
        let settings = EvalSettings::default();
        let result = evaluate(&train, Some(&labels), &broken, Some(&labels), 2, &settings);
        assert_eq!(
            result.unwrap_err().to_string(),
            "test features: row 2: expected finite values, found NaN"
        );
    }
}
