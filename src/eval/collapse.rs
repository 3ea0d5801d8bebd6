//! Whether features still tell images apart, without any label.

use super::statistics::{effective_rank, feature_std, features, mean_abs_correlation};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// How features `[N, D]` of different images spread.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// `√D` times the mean standard deviation of a dimension, of features of length 1.
    ///
    /// At most 1, which a round cloud around zero has; 0 says that all features are the same.
    pub std: f64,
    /// How many dimensions they use: [`effective_rank`].
    pub rank: f64,
    /// How much dimensions repeat each other: [`mean_abs_correlation`].
    pub correlation: f64,
}

/// Below this spread, features have collapsed: their directions are the same.
const LEAST_STD: f64 = 0.05;
/// Below this rank, features have collapsed to a line.
const LEAST_RANK: f64 = 1.5;

impl Spread {
    /// The spread of `x [N, D]`.
    ///
    /// # Panics
    /// If `x` is not a matrix.
    ///
    /// Source: the deviation is Chen and He 2021 (SimSiam), arXiv 2011.10566, section 4.1.
    #[track_caller]
    pub fn of<T: Real>(x: &Tensor<T>) -> Spread {
        let d = features(x, "Spread::of")[1];
        let mut unit = x.clone();
        for row in unit.make_mut().chunks_mut(d) {
            let length = row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
            let factor = T::from_f64(1.0 / length.max(1e-12));
            row.iter_mut().for_each(|x| *x *= factor);
        }
        Spread {
            std: (d as f64).sqrt() * feature_std(&unit),
            rank: effective_rank(x),
            correlation: mean_abs_correlation(x),
        }
    }

    /// What has collapsed, in words; absent if nothing has.
    pub fn collapse(&self) -> Option<String> {
        let Spread { std, rank, .. } = self;
        let words = if *std < LEAST_STD {
            format!("images are told apart by {std:.4} of their length only")
        } else if *rank < LEAST_RANK {
            format!("they use {rank:.2} dimensions only")
        } else {
            return None;
        };
        Some(words)
    }
}

/// The entropy of a mask's factors as shares of their sum, over its greatest value `ln D`.
///
/// 1 says that all features count the same, 0 that one counts alone; of factors below 0 the
/// magnitude is taken.
pub fn mask_entropy(factors: &[f32]) -> f64 {
    let magnitudes = || factors.iter().map(|&s| f64::from(s).abs());
    let total: f64 = magnitudes().sum();
    let shares = magnitudes().map(|s| s / total).filter(|&p| p > 0.0);
    let entropy = -shares.map(|p| p * p.ln()).sum::<f64>();
    if factors.len() < 2 { 1.0 } else { entropy / (factors.len() as f64).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, normals};

    #[test]
    fn a_round_cloud_spreads_and_a_point_or_a_line_has_collapsed() {
        let (round, _) = blobs::<f32>(2000, 16, 1, 1.0, 3);
        let centred = Tensor::from_vec(normals(2000 * 16, 3), &[2000, 16]);
        let spread = Spread::of(&centred);
        assert!((spread.std - 1.0).abs() < 0.01 && spread.rank > 15.0, "{spread:?}");
        assert!(spread.correlation < 0.05 && spread.collapse().is_none(), "{spread:?}");
        assert!(Spread::of(&round).collapse().is_none());

        let noise = normals(100 * 16, 4);
        let point = Tensor::from_fn(&[100, 16], |i| 1.0 + (i % 16) as f64 + 1e-3 * noise[i]);
        assert!(Spread::of(&point).collapse().unwrap().contains("told apart"));
        let line = Tensor::from_fn(&[100, 16], |i| noise[i / 16] * (1.0 + (i % 16) as f64));
        let words = Spread::of(&line).collapse().unwrap();
        assert!(words.contains("1.00 dimensions"), "{words}");
    }

    #[test]
    fn entropy_of_masks_by_hand() {
        let close = |factors: &[f32], expected: f64| {
            assert!((mask_entropy(factors) - expected).abs() < 1e-6, "{factors:?}");
        };
        close(&[0.3; 7], 1.0);
        close(&[1.0, 0.0, 0.0], 0.0);
        close(&[1.0, -1.0, 0.0, 0.0], 0.5);
        close(&[0.2], 1.0);
    }
}
