//! Judging features: nearest neighbours, linear probes, statistics.
//!
//! Features are matrices `[N, D]` that somebody else computed; an encoder's, the raw pixels', all
//! go through the same functions. Nothing here trains an encoder, reads a file or prints.

pub mod bound;
pub mod collapse;
pub mod dimensions;
pub mod few_labels;
pub mod interval;
pub mod knn;
mod lbfgs;
pub mod linear_probe;
pub mod pca;
mod rows;
pub mod selection;
pub mod statistics;
pub mod tsne;

use crate::error::{Error, Result};
use crate::kernels::Real;
use knn::Vote;
use linear_probe::LinearProbe;
pub use rows::Rows;
use statistics::{check_labels, topk_accuracy};

/// The official MetaMask vote: nearly a plain majority of five.
pub const KNN5: Vote = Vote { k: 5, temperature: 1.0 };
/// The vote of the instance-discrimination papers: two hundred, the near ones first.
pub const KNN200: Vote = Vote { k: 200, temperature: 0.1 };

/// Which probes [`evaluate`] trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Neighbours, the linear probe, the probe on 1 % of the labels.
    #[default]
    Quick,
    /// Logistic regression on all labels and on 10 % of them as well.
    Full,
}

/// What [`evaluate`] needs besides features and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EvalSettings {
    /// How the linear probe is trained.
    pub linear: LinearProbe,
    /// Which probes there are.
    pub extent: Extent,
    /// Decides the order of the linear probe's batches and the draws of the probes on few labels.
    pub seed: u64,
}

/// Accuracies on the test images in percent; none without labels or test images, or where the
/// probe was not asked for.
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
    /// The same on 10 % of them.
    pub probe_10pct: Option<f64>,
    /// Logistic regression on all training labels.
    pub logistic: Option<f64>,
    /// How often the class is among the five that [`KNN200`] gives the largest scores.
    pub knn200_top5: Option<f64>,
    /// How often it is among the linear probe's five.
    pub linear_top5: Option<f64>,
}

impl Scores {
    /// Every score with its name in files.
    pub fn named(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("knn5", self.knn5),
            ("knn200", self.knn200),
            ("linear", self.linear),
            ("probe_1pct", self.probe_1pct),
            ("probe_10pct", self.probe_10pct),
            ("logistic", self.logistic),
            ("knn200_top5", self.knn200_top5),
            ("linear_top5", self.linear_top5),
        ]
    }

    /// The scores that `find` knows by their names in files.
    pub fn from_named(find: impl Fn(&str) -> Option<f64>) -> Scores {
        Scores {
            knn5: find("knn5"),
            knn200: find("knn200"),
            linear: find("linear"),
            probe_1pct: find("probe_1pct"),
            probe_10pct: find("probe_10pct"),
            logistic: find("logistic"),
            knn200_top5: find("knn200_top5"),
            linear_top5: find("linear_top5"),
        }
    }
}

/// Judges features by what their neighbours and linear classifiers say about the classes.
///
/// Shapes: `train [N, D]`, `test [M, D]`, with one label a row or none at all.
/// Of rows that are made when they are looked at, some thousands are in memory at a time; with
/// [`Extent::Full`], all training rows are, in f64.
///
/// # Errors
/// If a feature is not finite.
///
/// # Panics
/// If the shapes do not fit or a label is not below `classes`.
///
/// # Example
/// ```
/// use dimask::Tensor;
/// use dimask::eval::{EvalSettings, evaluate};
/// // Two classes, far apart: whoever judges sees them.
/// let points = |shift: f64| {
///     let of = |i: usize| if i / 2 % 2 == 0 { shift } else { 5.0 - 4.0 * (i % 2) as f64 };
///     Tensor::from_fn(&[40, 2], of)
/// };
/// let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
/// let (train, test) = (points(1.0), points(1.1));
/// let scores = evaluate(
///     &train, Some(&labels), &test, Some(&labels), 2, &EvalSettings::default(),
/// ).unwrap();
/// assert_eq!(scores.knn5, Some(100.0));
/// ```
#[track_caller]
pub fn evaluate<R: Rows>(
    train: &R,
    train_labels: Option<&[u32]>,
    test: &R,
    test_labels: Option<&[u32]>,
    classes: usize,
    settings: &EvalSettings,
) -> Result<Scores> {
    let [[n, d], [m, test_d]] = [train.size("evaluate"), test.size("evaluate")];
    assert!(d > 0 && d == test_d, "evaluate: train {:?}, test {:?}", [n, d], [m, test_d]);
    for (rows, labels) in [(n, train_labels), (m, test_labels)] {
        if let Some(labels) = labels.filter(|labels| !labels.is_empty()) {
            check_labels("evaluate", labels, rows, classes);
        }
    }
    check_finite(train, "training features")?;
    check_finite(test, "test features")?;
    let (Some(train_labels), Some(labels)) = (train_labels, test_labels) else {
        return Ok(Scores::default());
    };
    if train_labels.is_empty() || labels.is_empty() {
        return Ok(Scores::default());
    }
    let EvalSettings { linear, extent, seed } = settings;
    let voted = knn::knn(train, train_labels, test, classes, &[KNN5, KNN200]);
    let linear = linear_probe::linear_probe(train, train_labels, classes, linear, *seed);
    let linear = linear.scores(test);
    let few = |fraction| {
        few_labels::few_labels_probe(train, train_labels, test, labels, classes, fraction, *seed)
    };
    let full = |probe: &dyn Fn() -> f64| (*extent == Extent::Full).then(|| 100.0 * probe());
    let percent = |share: f64| Some(100.0 * share);
    Ok(Scores {
        knn5: percent(voted[0].accuracy(labels, 1)),
        knn200: percent(voted[1].accuracy(labels, 1)),
        linear: percent(topk_accuracy(&linear, labels, 1)),
        probe_1pct: percent(few(0.01)),
        probe_10pct: full(&|| few(0.1)),
        logistic: full(&|| {
            few_labels::logistic_probe(train, train_labels, classes).accuracy(test, labels, 1)
        }),
        knn200_top5: percent(voted[1].accuracy(labels, 5)),
        linear_top5: percent(topk_accuracy(&linear, labels, 5)),
    })
}

/// About the most bytes that [`evaluate`] takes beside its features, which are given as rows
/// `[N, M]` of training and test and their dimensions `D`.
///
/// # Panics
/// If there are no dimensions.
#[track_caller]
pub fn working_bytes([train, test]: [usize; 2], d: usize, classes: usize, extent: Extent) -> usize {
    assert!(d > 0, "working_bytes: features of no dimensions");
    // The neighbours of all queries so far, as they are kept and as they are returned.
    let kept = test * KNN200.k * 2 * size_of::<(f32, u32)>();
    let share = if extent == Extent::Full { train } else { train / 100 + classes };
    let regression = (share * d + lbfgs::VECTORS * (d + 1) * classes) * size_of::<f64>();
    kept + knn::round_bytes(train, test, d).max(regression)
}

/// Names the first row that is not finite.
#[track_caller]
fn check_finite<R: Rows>(x: &R, name: &str) -> Result<()> {
    let [n, width] = x.size(name);
    let mut first = None;
    rows::for_each_block(x, 0..n, rows::BLOCK, |start, block| {
        let found = block.as_slice().iter().position(|x| !x.is_finite());
        let found = found.map(|at| (start + at / width, block.as_slice()[at].to_string()));
        first = first.take().or(found);
    });
    match first {
        None => Ok(()),
        Some((row, found)) => {
            Err(Error::format(name, format!("row {row}"), "finite values", found))
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
    use crate::tensor::Tensor;
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
        let settings = EvalSettings { extent: Extent::Full, ..EvalSettings::default() };
        let run = |train_labels, test_labels| {
            evaluate(&train, train_labels, &test, test_labels, 4, &settings).unwrap()
        };
        let full = Some(100.0);
        let all = Scores::from_named(|_| full);
        assert_eq!(run(Some(&labels), Some(&test_labels)), all);
        assert!(all.named().iter().all(|(_, score)| *score == full), "a name is missing");
        assert_eq!(run(None, Some(&test_labels)), Scores::default());
        assert_eq!(run(Some(&labels), None), Scores::default());
    }

    /// A tensor whose rows are made when they are looked at; counts the most at a time.
    struct Made(Tensor<f32>, std::cell::Cell<usize>);

    impl Rows for Made {
        type Value = f32;

        fn size(&self, what: &str) -> [usize; 2] {
            self.0.size(what)
        }

        fn rows(&self, indices: &[usize]) -> Tensor<f32> {
            self.1.set(self.1.get().max(indices.len()));
            self.0.rows(indices)
        }
    }

    #[test]
    fn rows_that_are_made_when_looked_at_are_judged_like_rows_in_memory() {
        let (train, labels) = blobs::<f32>(3000, 12, 4, 1.5, 3);
        let (test, test_labels) = blobs::<f32>(1500, 12, 4, 1.5, 4);
        let linear = LinearProbe { epochs: 3, ..LinearProbe::default() };
        let settings = EvalSettings { linear, extent: Extent::Full, seed: 5 };
        let made = [&train, &test].map(|x| Made(x.clone(), Default::default()));
        let [of_train, of_test] = &made;
        let in_memory = evaluate(&train, Some(&labels), &test, Some(&test_labels), 4, &settings);
        let as_made = evaluate(of_train, Some(&labels), of_test, Some(&test_labels), 4, &settings);
        assert_eq!(as_made.unwrap(), in_memory.unwrap());
        assert!(made.iter().all(|rows| rows.1.get() <= rows::BLOCK), "too many at a time");
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
