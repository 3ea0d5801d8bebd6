//! t-SNE: a map of features on which neighbours stay neighbours.
//!
//! What attracts is taken from the nearest neighbours only, as in the Barnes-Hut form; what repels
//! is exact, over all pairs, which a few thousand points can afford. Every row is summed by itself
//! in a fixed order, so no thread count shows.

use rayon::prelude::*;

use super::pca::pca;
use super::statistics::features;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Settings of [`tsne`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tsne {
    /// About how many neighbours a point listens to; three times as many are looked at.
    pub perplexity: f64,
    /// Steps; attraction is twelve-fold in the first quarter.
    pub rounds: usize,
}

impl Default for Tsne {
    /// Perplexity 30, 500 rounds.
    fn default() -> Tsne {
        Tsne { perplexity: 30.0, rounds: 500 }
    }
}

/// How much stronger attraction is in the first rounds.
const EXAGGERATION: f32 = 12.0;
/// Rows of a product.
const BLOCK: usize = 512;

/// Maps the rows of `x [N, D]` to the plane, `[N][2]`, by their directions: rows are divided by
/// their lengths, so that distance is what nearest neighbours go by.
///
/// Minimises the divergence between `p`, Gaussian similarities of neighbours, and
/// `q ∝ 1 / (1 + |yᵢ - yⱼ|²)`, by gradient descent with momentum and gains, from the first two
/// principal components; nothing is drawn. Time O(N²) a round.
///
/// # Panics
/// If `x` is not a matrix or a feature is not finite.
///
/// Source: van der Maaten and Hinton 2008, Visualizing Data using t-SNE; the start and the rate
/// `N / 12` are those of Kobak and Berens 2019.
#[track_caller]
pub fn tsne<T: Real>(x: &Tensor<T>, settings: &Tsne) -> Vec<[f32; 2]> {
    let [n, _] = features(x, "tsne");
    assert!(x.is_finite(), "tsne: a feature is not finite");
    if n < 4 {
        return (0..n).map(|i| [i as f32, 0.0]).collect();
    }
    let unit = unit_rows(x);
    let p = affinities(&unit, settings.perplexity.min((n - 1) as f64 / 3.0));
    let start = pca(&unit, 2);
    let scores = start.scores.as_slice();
    let spread = start.variances[0].sqrt().max(1e-12);
    let axes = start.variances.len();
    let at = |i: usize, axis: usize| if axis < axes { scores[i * axes + axis] } else { 0.0 };
    let mut y: Vec<[f32; 2]> =
        (0..n).map(|i| [0, 1].map(|axis| (1e-4 * at(i, axis) / spread) as f32)).collect();
    let (mut velocity, mut gains) = (vec![[0.0f32; 2]; n], vec![[1.0f32; 2]; n]);
    let rate = (n as f32 / EXAGGERATION).max(50.0);
    for round in 0..settings.rounds {
        let early = round < settings.rounds / 4;
        let (attraction, momentum) = if early { (EXAGGERATION, 0.5) } else { (1.0, 0.8) };
        let gradient = gradient(&p, &y, attraction);
        for i in 0..n {
            for axis in 0..2 {
                let (v, g) = (&mut velocity[i][axis], gradient[i][axis]);
                let gain = &mut gains[i][axis];
                *gain = if (*v > 0.0) == (g > 0.0) { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                *v = momentum * *v - rate * *gain * g;
                y[i][axis] += *v;
            }
        }
        let mean = [0, 1].map(|axis| y.iter().map(|y| y[axis]).sum::<f32>() / n as f32);
        y.iter_mut().for_each(|y| (0..2).for_each(|axis| y[axis] -= mean[axis]));
    }
    y
}

/// The rows of `x [N, D]` over their lengths; a row of zeros stays.
///
/// # Panics
/// If `x` is not a matrix.
#[track_caller]
pub fn unit_rows<T: Real>(x: &Tensor<T>) -> Tensor<f32> {
    let [_, d] = features(x, "unit_rows");
    let mut unit = Vec::with_capacity(x.len());
    for row in x.as_slice().chunks(d) {
        let length = row.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt().max(1e-12);
        unit.extend(row.iter().map(|x| (x.to_f64() / length) as f32));
    }
    Tensor::from_vec(unit, x.shape())
}

/// The neighbours of each row with the symmetric similarities `p`, which add up to 1.
fn affinities(unit: &Tensor<f32>, perplexity: f64) -> Vec<Vec<(u32, f32)>> {
    let [n, d] = features(unit, "tsne");
    let k = ((3.0 * perplexity) as usize).clamp(1, n - 1);
    let mut found: Vec<Vec<(u32, f64)>> = Vec::with_capacity(n);
    for (number, rows) in unit.as_slice().chunks(BLOCK * d).enumerate() {
        let rows = Tensor::from_slice(rows, &[rows.len() / d, d]).matmul_nt(unit);
        found.par_extend(rows.as_slice().par_chunks(n).enumerate().map(|(row, cosines)| {
            let own = number * BLOCK + row;
            let squares = cosines.iter().map(|&c| (2.0 - 2.0 * f64::from(c)).max(0.0));
            let mut all: Vec<(u32, f64)> = (0u32..).zip(squares).collect();
            all.swap_remove(own);
            let nearer = |a: &(u32, f64), b: &(u32, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
            all.select_nth_unstable_by(k - 1, nearer);
            all.truncate(k);
            all.sort_unstable_by(nearer);
            conditional(&all, perplexity)
        }));
    }
    let mut symmetric = vec![Vec::new(); n];
    for (i, row) in found.iter().enumerate() {
        for &(j, p) in row {
            let share = (p / (2.0 * n as f64)) as f32;
            symmetric[i].push((j, share));
            symmetric[j as usize].push((i as u32, share));
        }
    }
    symmetric
}

/// `p(j | i) ∝ exp(-β d²)`, with the `β` whose entropy is that of `perplexity` equal neighbours.
fn conditional(squares: &[(u32, f64)], perplexity: f64) -> Vec<(u32, f64)> {
    let nearest = squares[0].1;
    let at = |beta: f64| -> (Vec<f64>, f64) {
        let weights: Vec<f64> =
            squares.iter().map(|(_, square)| (-beta * (square - nearest)).exp()).collect();
        let total: f64 = weights.iter().sum();
        let shares = weights.iter().map(|w| w / total);
        let entropy = -shares.filter(|&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        (weights.iter().map(|w| w / total).collect(), entropy)
    };
    let (mut low, mut high) = (1e-6f64, 1e9f64);
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if at(middle).1 > perplexity.ln() { low = middle } else { high = middle }
    }
    squares.iter().map(|&(j, _)| j).zip(at((low * high).sqrt()).0).collect()
}

/// The gradient of the divergence, with `attraction` on `p`:
/// `4 Σ (pᵢⱼ - qᵢⱼ)(yᵢ - yⱼ) / (1 + |yᵢ - yⱼ|²)`.
fn gradient(p: &[Vec<(u32, f32)>], y: &[[f32; 2]], attraction: f32) -> Vec<[f32; 2]> {
    let (xs, ys): (Vec<f32>, Vec<f32>) = y.iter().map(|y| (y[0], y[1])).unzip();
    // Of each row: Σ q, Σ q² (yᵢ - yⱼ), unnormalised; eight partial sums, which fill a register.
    let repulsion: Vec<[f32; 3]> = y
        .par_iter()
        .map(|&[x, y]| {
            let mut sums = [[0.0f32; 8]; 3];
            let mut add = |lane: usize, dx: f32, dy: f32| {
                let q = 1.0 / (1.0 + dx * dx + dy * dy);
                sums[0][lane] += q;
                sums[1][lane] += q * q * dx;
                sums[2][lane] += q * q * dy;
            };
            let (xs8, ys8) = (xs.chunks_exact(8), ys.chunks_exact(8));
            let rest = xs8.remainder().iter().zip(ys8.remainder()).enumerate();
            for (xs, ys) in xs8.zip(ys8) {
                for lane in 0..8 {
                    add(lane, x - xs[lane], y - ys[lane]);
                }
            }
            rest.for_each(|(lane, (&ox, &oy))| add(lane, x - ox, y - oy));
            sums.map(|lanes| lanes.iter().sum())
        })
        .collect();
    // A point does not repel itself: its own q is 1.
    let total: f64 = repulsion.iter().map(|r| f64::from(r[0]) - 1.0).sum();
    let total = (total as f32).max(f32::MIN_POSITIVE);
    let row = |i: usize| {
        let mut g = [-repulsion[i][1] / total, -repulsion[i][2] / total];
        for &(j, p) in &p[i] {
            let [dx, dy] = [0, 1].map(|axis| y[i][axis] - y[j as usize][axis]);
            let q = attraction * p / (1.0 + dx * dx + dy * dy);
            g[0] += q * dx;
            g[1] += q * dy;
        }
        g.map(|g| 4.0 * g)
    };
    (0..y.len()).into_par_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, on_threads};

    #[test]
    fn similarities_add_up_to_one_and_are_symmetric() {
        let (x, _) = blobs::<f32>(120, 8, 3, 0.5, 1);
        let p = affinities(&unit_rows(&x), 10.0);
        let total: f64 = p.iter().flatten().map(|&(_, p)| f64::from(p)).sum();
        assert!((total - 1.0).abs() < 1e-4, "{total}");
        let of = |i: usize, j: usize| -> f32 {
            p[i].iter().filter(|(to, _)| *to as usize == j).map(|(_, p)| p).sum()
        };
        assert!((0..120).all(|i| (0..120).all(|j| (of(i, j) - of(j, i)).abs() < 1e-9)));
        let row = conditional(&[(0, 0.1), (1, 0.2), (2, 0.3), (3, 9.0)], 2.0);
        let entropy = -row.iter().map(|(_, p)| p * p.max(1e-300).ln()).sum::<f64>();
        assert!((entropy - 2f64.ln()).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn the_gradient_is_that_of_the_divergence() {
        let (x, _) = blobs::<f32>(40, 5, 2, 0.5, 2);
        let p = affinities(&unit_rows(&x), 5.0);
        let y: Vec<[f32; 2]> = (0..40).map(|i| [(i % 7) as f32 * 0.5, (i % 5) as f32]).collect();
        let divergence = |y: &[[f32; 2]]| -> f64 {
            let square = |i: usize, j: usize| -> f64 {
                [0, 1].map(|k| f64::from(y[i][k]) - f64::from(y[j][k])).map(|d| d * d).iter().sum()
            };
            let pairs = (0..40).flat_map(|i| (0..40).map(move |j| (i, j))).filter(|(i, j)| i != j);
            let total: f64 = pairs.map(|(i, j)| 1.0 / (1.0 + square(i, j))).sum();
            let terms = p.iter().enumerate().flat_map(|(i, row)| row.iter().map(move |r| (i, r)));
            let log_q = |i: usize, j: u32| -(1.0 + square(i, j as usize)).ln() - total.ln();
            terms.map(|(i, &(j, p))| -f64::from(p) * log_q(i, j)).sum()
        };
        let found = gradient(&p, &y, 1.0);
        for (i, axis) in [(0, 0), (7, 1), (39, 0)] {
            let moved = |by: f32| {
                let mut y = y.clone();
                y[i][axis] += by;
                divergence(&y)
            };
            let numeric = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            let got = f64::from(found[i][axis]);
            assert!((got - numeric).abs() < 1e-3 * numeric.abs().max(1e-2), "{got} {numeric}");
        }
    }

    #[test]
    fn clouds_stay_apart_and_no_thread_count_shows() {
        let (x, labels) = blobs::<f32>(150, 16, 3, 0.3, 3);
        let settings = Tsne { perplexity: 10.0, rounds: 200 };
        let map = tsne(&x, &settings);
        let flat = Tensor::from_fn(&[150, 3], |i| match i % 3 {
            2 => 1.0,
            axis => map[i / 3][axis],
        });
        let nearest = |i: usize| {
            let far = |j: usize| {
                let d = [0, 1].map(|k| flat.as_slice()[3 * i + k] - flat.as_slice()[3 * j + k]);
                d[0] * d[0] + d[1] * d[1]
            };
            (0..150).filter(|&j| j != i).min_by(|&a, &b| far(a).total_cmp(&far(b))).unwrap()
        };
        let right = (0..150).filter(|&i| labels[nearest(i)] == labels[i]).count();
        assert!(right >= 148, "{right} of 150");
        on_threads(|| tsne(&x, &settings));
    }

    #[test]
    fn few_and_equal_points_are_mapped_too() {
        let settings = Tsne { rounds: 20, ..Tsne::default() };
        for (n, d) in [(0, 3), (1, 3), (3, 1), (4, 1), (6, 2)] {
            let map = tsne(&Tensor::full(&[n, d], 0.5f32), &settings);
            assert!(map.len() == n && map.iter().flatten().all(|x| x.is_finite()), "{n} {map:?}");
        }
    }
}
