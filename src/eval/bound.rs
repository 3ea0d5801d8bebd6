//! The contrastive loss beside the supervised one: every term between them, exactly.
//!
//! With unit embeddings `u`, another view's `u+`, `M` negatives, `K` classes of means `mu`, the
//! temperature `t`: `L_con - ln M - (L_CE - ln K) = A + B + C`, where `A` is what positives say
//! beyond their class, `B` what images spread around their class mean, and `C` what finitely many
//! negatives miss. The paper's bounds replace them by variances; here are both.

use rand::Rng;

use super::statistics::{check_labels, features};
use crate::rng::Stream;
use crate::tensor::Tensor;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundSettings {
    /// The temperature `t`; the theory has 1.
    pub temperature: f64,
    /// Negatives of an anchor, `M`.
    pub negatives: usize,
    /// Draws of them for each anchor.
    pub draws: usize,
    /// Resamplings of the images, for the errors.
    pub resamplings: usize,
    /// The seed of all draws.
    pub seed: u64,
}

impl Default for BoundSettings {
    /// Temperature 1, 510 negatives (a batch of 256), 8 draws, 200 resamplings.
    fn default() -> BoundSettings {
        BoundSettings { temperature: 1.0, negatives: 510, draws: 8, resamplings: 200, seed: 0 }
    }
}

/// The terms by name, in the order of [`Bound::values`].
pub const TERMS: [&str; 13] = [
    "L_con",
    "L_CE",
    "ln(M/K)",
    "A",
    "B",
    "C",
    "Phi",
    "sum sqrt(Phi_k)",
    "lower",
    "middle",
    "upper",
    "width",
    "identity",
];

/// Every term, with its standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The values, in the order of [`TERMS`]: the two losses; `ln(M / K)`; the three terms of the
    /// decomposition; the conditional variance and the sum of its coordinates' roots; the paper's
    /// lower bound `L_con - √Phi / t - ½ Σ √Phi_k / t`, its middle `L_CE + ln(M / K)`, its upper
    /// bound `L_con + √Phi / t`, all without their terms of order `1 / √M`; upper less lower; the
    /// decomposition's left side less its right one, which is a rounding error.
    pub values: [f64; 13],
    /// Standard errors by resampling images, class means and pool held as they are.
    pub errors: [f64; 13],
    /// `(e^(2/t) - 1) / 2 / √M`, which bounds `|C|` and stands for the terms of order `1 / √M`.
    pub slack: f64,
}

impl Bound {
    /// The term called `name` in [`TERMS`].
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn value(&self, name: &str) -> f64 {
        let Some(at) = TERMS.iter().position(|term| *term == name) else {
            panic!("Bound::value: there is no term {name:?}, only {TERMS:?}");
        };
        self.values[at]
    }

    /// Whether `lower ≤ middle`, and `middle ≤ upper`, without the terms of order `1 / √M`.
    pub fn holds(&self) -> [bool; 2] {
        let [lower, middle, upper] = ["lower", "middle", "upper"].map(|name| self.value(name));
        [lower <= middle, middle <= upper]
    }

    /// The same with them.
    pub fn holds_with_slack(&self) -> [bool; 2] {
        let [lower, middle, upper] = ["lower", "middle", "upper"].map(|name| self.value(name));
        [lower - self.slack <= middle, middle <= upper + self.slack]
    }
}

/// Measures every term on embeddings `u [N, D]` and `positive [N, D]` of two views of the same
/// images, which are divided by their lengths first.
///
/// Negatives are drawn from both views of all other images, with repetition; their expectation is
/// over the same pool. Class means are over both views. Classes should be equally frequent.
///
/// Formula: bound-1.
///
/// # Panics
/// If shapes differ, a label is not below `classes`, or there are fewer than two images.
///
/// Source: the bound is the paper's (arXiv 2209.07902, theorem 5.1) in the form of its poster; the
/// decomposition is ours.
#[track_caller]
pub fn bound(
    u: &Tensor<f64>,
    positive: &Tensor<f64>,
    labels: &[u32],
    classes: usize,
    settings: &BoundSettings,
) -> Bound {
    let [n, d] = features(u, "bound");
    let shapes = [u.shape(), positive.shape()];
    assert!(shapes[0] == shapes[1] && n > 1, "bound: [u, positive] are {shapes:?}");
    check_labels("bound", labels, n, classes);
    let t = settings.temperature;
    let pool: Vec<f64> = unit(u, d).into_iter().chain(unit(positive, d)).collect();
    let pool = Tensor::from_vec(pool, &[2 * n, d]);
    let row = |i: usize| &pool.as_slice()[i * d..][..d];
    let mut means = vec![0.0; classes * d];
    let mut counts = vec![0usize; classes];
    for i in 0..2 * n {
        let class = labels[i % n] as usize;
        counts[class] += 1;
        let mean = &mut means[class * d..][..d];
        mean.iter_mut().zip(row(i)).for_each(|(m, x)| *m += x);
    }
    let count = |class: usize| counts[class].max(1) as f64;
    means.iter_mut().enumerate().for_each(|(i, m)| *m /= count(i / d));
    let present = counts.iter().filter(|&&count| count > 0).count() as f64;
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let mean_of = |class: usize| &means[class * d..][..d];

    // Of each image: the two losses less ln M and ln K, A, B, C, and the squared deviations.
    let stream = Stream::new(settings.seed, "negatives");
    let mut terms: Vec<[f64; 5]> = Vec::with_capacity(n);
    let mut squares = vec![0.0; n * d];
    const BLOCK: usize = 256;
    for first in (0..n).step_by(BLOCK) {
        let rows = BLOCK.min(n - first);
        let anchors = Tensor::from_slice(&pool.as_slice()[first * d..][..rows * d], &[rows, d]);
        let cosines = anchors.matmul_nt(&pool);
        for (i, cosines) in (first..).zip(cosines.as_slice().chunks(2 * n)) {
            let exp: Vec<f64> = cosines.iter().map(|c| (c / t).exp()).collect();
            // The anchor's own two views are no negatives.
            let own = exp[i] + exp[i + n];
            let expected = ((exp.iter().sum::<f64>() - own) / (2 * n - 2) as f64).ln();
            let mut drawn = 0.0;
            for draw in 0..settings.draws {
                let mut rng = stream.at(&[i as u64, draw as u64]);
                let one = |_| loop {
                    let at = rng.random_range(0..2 * n);
                    if at % n != i {
                        break exp[at];
                    }
                };
                let sum: f64 = (0..settings.negatives).map(one).sum();
                drawn += (sum / settings.negatives as f64).ln() / settings.draws as f64;
            }
            let label = labels[i] as usize;
            let class =
                |k: usize| if counts[k] == 0 { 0.0 } else { (dot(row(i), mean_of(k)) / t).exp() };
            let classes_ln = ((0..classes).map(class).sum::<f64>() / present).ln();
            let (to_positive, to_mean) = (cosines[i + n] / t, dot(row(i), mean_of(label)) / t);
            terms.push([
                drawn - to_positive,
                classes_ln - to_mean,
                to_mean - to_positive,
                expected - classes_ln,
                drawn - expected,
            ]);
            let deviations = row(i).iter().zip(mean_of(label)).map(|(x, m)| (x - m).powi(2));
            squares[i * d..][..d].iter_mut().zip(deviations).for_each(|(s, x)| *s = x);
        }
    }
    let (ln_m, ln_k) = ((settings.negatives as f64).ln(), present.ln());
    let summed = |weights: &[f64]| -> [f64; 13] {
        let mut sums = [0.0; 5];
        let mut variances = vec![0.0; d];
        for (i, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            sums.iter_mut().zip(terms[i]).for_each(|(sum, x)| *sum += weight * x / n as f64);
            let own = &squares[i * d..][..d];
            variances.iter_mut().zip(own).for_each(|(v, x)| *v += weight * x / n as f64);
        }
        let [con, ce, a, b, c] = sums;
        let phi: f64 = variances.iter().sum();
        let roots: f64 = variances.iter().map(|v| v.sqrt()).sum();
        let (l_con, l_ce) = (con + ln_m, ce + ln_k);
        let (lower, upper) = (l_con - (phi.sqrt() + 0.5 * roots) / t, l_con + phi.sqrt() / t);
        let middle = l_ce + ln_m - ln_k;
        let identity = (l_con - ln_m) - (l_ce - ln_k) - (a + b + c);
        [
            l_con,
            l_ce,
            ln_m - ln_k,
            a,
            b,
            c,
            phi,
            roots,
            lower,
            middle,
            upper,
            upper - lower,
            identity,
        ]
    };
    let values = summed(&vec![1.0; n]);
    let mut moments = [[0.0; 2]; 13];
    for resampling in 0..settings.resamplings {
        let mut rng = Stream::new(settings.seed, "bootstrap").at(&[resampling as u64]);
        let mut weights = vec![0.0; n];
        (0..n).for_each(|_| weights[rng.random_range(0..n)] += 1.0);
        for (moments, (value, whole)) in moments.iter_mut().zip(summed(&weights).iter().zip(values))
        {
            moments[0] += (value - whole) / settings.resamplings as f64;
            moments[1] += (value - whole).powi(2) / settings.resamplings as f64;
        }
    }
    let errors = moments.map(|[mean, square]| (square - mean * mean).max(0.0).sqrt());
    let slack = 0.5 * ((2.0 / t).exp() - 1.0) / (settings.negatives as f64).sqrt();
    Bound { values, errors, slack }
}

fn unit(x: &Tensor<f64>, d: usize) -> Vec<f64> {
    let mut x = x.to_vec();
    for row in x.chunks_mut(d) {
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x /= length);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, normals};

    /// Two noisy views of images in clouds.
    fn views(n: usize, d: usize, classes: usize, spread: f64) -> [Tensor<f64>; 2] {
        let (x, _) = blobs::<f64>(n, d, classes, spread, 1);
        [2, 3].map(|seed| {
            let noise = normals(n * d, seed);
            Tensor::from_fn(&[n, d], |i| x.as_slice()[i] + 0.3 * noise[i])
        })
    }

    // Formula: bound-1.
    #[test]
    fn the_decomposition_is_an_identity_and_its_terms_have_their_signs() {
        for (classes, d, spread, temperature) in
            [(10, 8, 0.5, 1.0), (10, 64, 2.0, 1.0), (4, 16, 1.0, 0.3), (2, 2, 0.1, 0.07)]
        {
            let [u, positive] = views(200, d, classes, spread);
            let labels: Vec<u32> = (0..200).map(|i| (i % classes) as u32).collect();
            let settings = BoundSettings { temperature, negatives: 64, ..BoundSettings::default() };
            let found = bound(&u, &positive, &labels, classes, &settings);
            assert!(found.value("identity").abs() < 1e-10, "{found:?}");
            let phi = found.value("Phi");
            assert!((0.0..=1.0).contains(&phi) && found.value("sum sqrt(Phi_k)") >= phi.sqrt());
            // Jensen's inequality needs the anchor in the pool: without it, up to 1 / N.
            assert!(found.value("B") > -0.02 / temperature, "{found:?}");
            assert!(found.value("A").abs() <= phi.sqrt() / temperature + 1e-9, "{found:?}");
            assert!(found.value("C").abs() <= found.slack, "{found:?}");
            assert_eq!(found.holds_with_slack(), [true; 2], "{found:?}");
            assert!(found.errors[0] > 0.0 && found.errors[2] < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn embeddings_that_are_their_class_have_no_variance() {
        let u = Tensor::from_fn(&[20, 2], |i| f64::from(u8::from(i % 2 == i / 2 % 2)));
        let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
        let found = bound(&u, &u, &labels, 2, &BoundSettings::default());
        assert!(found.value("Phi") < 1e-12 && found.value("A").abs() < 1e-12);
        // Two classes at a right angle: L_CE = ln(e + 1) - 1.
        let by_hand = (1f64.exp() + 1.0).ln() - 1.0;
        assert!((found.value("L_CE") - by_hand).abs() < 1e-12, "{found:?}");
    }
}
