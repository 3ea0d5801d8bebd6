//! Weighted nearest neighbours: a classifier without training, over a bank of labelled features.
//!
//! Similarities are matrix products of a block of queries with a block of the bank, small enough to
//! stay in the cache; each query then keeps its nearest bank rows by partial selection. Every query
//! is handled by itself, so no thread count shows.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::eval::rows::{Rows, for_each_block};
use crate::eval::statistics::{check_labels, features, topk};
use crate::kernels::Real;
use crate::tensor::{Tensor, places_above};

/// Queries of a product, which share one packing of the bank's block.
const QUERIES: usize = 1024;
/// Bank rows of a product.
const BANK: usize = 1024;
/// Queries that meet a block of the bank before it is looked at no more; it comes again for others.
const ROUND: usize = 4 * QUERIES;
/// The most numbers that the queries of such a round may have, if they are many to a query.
const ROUND_NUMBERS: usize = 16 << 20;

/// Queries of a round.
fn round_of(d: usize) -> usize {
    (ROUND_NUMBERS / d / QUERIES * QUERIES).clamp(QUERIES, ROUND)
}

/// About the bytes of a round of f32: its queries, a block of the bank twice, similarities.
pub(super) fn round_bytes(bank: usize, queries: usize, d: usize) -> usize {
    let (queries, bank) = (queries.min(round_of(d)), bank.min(BANK));
    (queries * d + 2 * bank * d + queries.min(QUERIES) * bank) * size_of::<f32>()
}

/// How many neighbours vote, and how much more the near ones count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vote {
    /// Number of neighbours; the size of the bank if that is smaller.
    pub k: usize,
    /// A neighbour with cosine `s` has the weight `exp(s / temperature)`.
    pub temperature: f64,
}

impl Vote {
    /// Whether there are neighbours and their weights are finite.
    pub fn is_sound(&self) -> bool {
        self.k > 0 && self.temperature > 0.0 && (1.0 / self.temperature).exp() < f64::MAX
    }
}

/// The neighbours of each query and what they voted for.
#[derive(Clone, Debug, PartialEq)]
pub struct Knn {
    /// Bank rows, the nearest first: `[Q, k]`, with `k` capped at the size of the bank.
    pub neighbours: Vec<Vec<u32>>,
    /// Sum of the weights of the neighbours of each class, `[Q, classes]`.
    pub scores: Tensor<f64>,
    /// The class with the largest score, the lower one where scores are equal: `[Q]`.
    pub predictions: Vec<u32>,
}

impl Knn {
    /// Whether the label of each query is among the `top` classes with the largest scores.
    ///
    /// # Panics
    /// If there is not one label a query, or one is no class.
    #[track_caller]
    pub fn correct(&self, labels: &[u32], top: usize) -> Vec<bool> {
        topk("Knn::correct", &self.scores, labels, top)
    }

    /// The share of queries that [`Knn::correct`] finds right; NaN without queries.
    ///
    /// # Panics
    /// If there is not one label a query, or one is no class.
    #[track_caller]
    pub fn accuracy(&self, labels: &[u32], top: usize) -> f64 {
        super::share(&topk("Knn::accuracy", &self.scores, labels, top))
    }
}

/// A bank row and its cosine with the query.
type Neighbour<T> = (T, u32);

/// Classifies queries by the labels of their nearest bank rows, once for each of `votes`.
///
/// All rows are l2-normalised; the `k` bank rows with the largest cosine `s` vote for their label
/// with weight `exp(s / temperature)`: `score_c = Σ exp(s / temperature)` over neighbours of
/// class `c`. Among equal cosines the lower bank row is the nearer one. The similarities are
/// computed once for all votes. Scores are f64 whatever `T` is.
///
/// Shapes: `bank [M, D]`, `bank_labels [M]`, `queries [Q, D]`.
///
/// Formula: knn-1.
///
/// # Panics
/// If the shapes do not fit, a feature is not finite, the bank is empty, a bank label is not below
/// `classes`, a `k` is 0, or a temperature so small that `exp(1 / temperature)` overflows.
///
/// # Example
/// The nearest row is of class 1, but the next two outvote it:
/// ```
/// use dimask::{Tensor, eval::knn::{Vote, knn}};
/// let bank = Tensor::from_rows(&[&[1.0f32, 0.0], &[3.0, 4.0], &[4.0, 3.0], &[-1.0, 0.0]]);
/// let query = Tensor::from_rows(&[&[0.5f32, 0.0]]);
/// let votes = [Vote { k: 1, temperature: 1.0 }, Vote { k: 3, temperature: 1.0 }];
/// let found = knn(&bank, &[1, 0, 0, 0], &query, 2, &votes);
/// assert_eq!(found[1].neighbours, [[0, 2, 1]]);
/// assert_eq!((found[0].predictions[0], found[1].predictions[0]), (1, 0));
/// ```
///
/// Source: Wu et al. 2018, arXiv 1805.01978, section 3.4; the official MetaMask code votes with
/// `k = 5` and temperature 1.
#[track_caller]
#[inline(never)]
pub fn knn<R: Rows, Q: Rows<Value = R::Value>>(
    bank: &R,
    bank_labels: &[u32],
    queries: &Q,
    classes: usize,
    votes: &[Vote],
) -> Vec<Knn> {
    let [m, d] = features(bank, "knn: bank");
    let [q, query_d] = features(queries, "knn: queries");
    assert!(m > 0 && d == query_d, "knn: bank {:?}, queries {:?}", [m, d], [q, query_d]);
    check_labels("knn", bank_labels, m, classes);
    for vote in votes {
        assert!(vote.is_sound(), "knn: {vote:?}");
    }

    let k_max = votes.iter().map(|vote| vote.k.min(m)).max().unwrap_or(0);
    let mut nearest: Vec<Vec<Neighbour<R::Value>>> = Vec::with_capacity(q);
    let round = round_of(d);
    // Looked at after a block, because a closure would report itself as the place of the panic.
    let mut finite = true;
    for start in (0..q).step_by(round) {
        let range = start..q.min(start + round);
        let mut kept: Vec<Nearest<R::Value>> = range.clone().map(|_| Nearest::new(k_max)).collect();
        let mut blocks = Vec::new();
        for_each_block(queries, range, QUERIES, |_, block| {
            finite &= block.is_finite();
            blocks.push(normalized(block));
        });
        for_each_block(bank, 0..m, BANK, |first, rows| {
            finite &= rows.is_finite();
            if !finite {
                return;
            }
            let (count, rows) = (rows.shape()[0], normalized(rows));
            for (kept, block) in kept.chunks_mut(QUERIES).zip(&blocks) {
                let similarities = block.matmul_nt(&rows);
                let rows = similarities.as_slice().par_chunks(count);
                let add = |places: &mut Vec<u32>, (kept, row): (&mut Nearest<R::Value>, _)| {
                    kept.add(row, first as u32, places);
                };
                kept.par_iter_mut().zip(rows).for_each_init(Vec::new, add);
            }
        });
        assert!(finite, "knn: a feature is not finite");
        nearest.par_extend(kept.into_par_iter().map(Nearest::finish));
    }
    votes.iter().map(|&vote| tally(&nearest, bank_labels, classes, vote)).collect()
}

/// Each row of `x [N, D]` divided by its length; a row of zeros stays.
fn normalized<T: Real>(mut x: Tensor<T>) -> Tensor<T> {
    let d = x.shape()[1];
    x.make_mut().par_chunks_mut(d).for_each(|row| {
        // In f64, so that no finite f32 row has an infinite length. The floor is PyTorch's.
        let squares: f64 = row.iter().map(|x| x.to_f64() * x.to_f64()).sum();
        let length = squares.sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / length));
    });
    x
}

/// The `k` largest similarities of one query so far, with their bank rows.
///
/// A buffer of candidates above a rising threshold is cut back to the best `k` whenever it is full;
/// after the first few cuts nearly every row costs one comparison.
struct Nearest<T> {
    k: usize,
    limit: usize,
    best: Vec<Neighbour<T>>,
    threshold: T,
}

impl<T: Real> Nearest<T> {
    fn new(k: usize) -> Nearest<T> {
        let limit = 2 * k + 64;
        Nearest { k, limit, best: Vec::with_capacity(limit), threshold: -T::MAX }
    }

    /// Takes in the similarities of the bank rows from `first` on; blocks come in ascending order.
    /// `places` is room to work in.
    fn add(&mut self, similarities: &[T], first: u32, places: &mut Vec<u32>) {
        // An equal similarity further on loses its tie against the k rows already held.
        places.clear();
        places_above(similarities, self.threshold, places);
        for &mut at in places {
            let similarity = similarities[at as usize];
            if similarity <= self.threshold {
                continue; // The threshold rose since.
            }
            self.best.push((similarity, first + at));
            if self.best.len() == self.limit {
                self.best.select_nth_unstable_by(self.k - 1, nearer);
                self.best.truncate(self.k);
                self.threshold = self.best[self.k - 1].0;
            }
        }
    }

    /// The nearest, the largest similarity first.
    fn finish(mut self) -> Vec<Neighbour<T>> {
        self.best.sort_unstable_by(nearer);
        self.best.truncate(self.k);
        self.best
    }
}

/// The larger similarity first, then the lower bank row.
fn nearer<T: Real>(a: &Neighbour<T>, b: &Neighbour<T>) -> Ordering {
    b.0.partial_cmp(&a.0).expect("cosines of finite rows are finite").then(a.1.cmp(&b.1))
}

/// Counts the votes of the first `vote.k` neighbours of each query.
fn tally<T: Real>(
    nearest: &[Vec<Neighbour<T>>],
    labels: &[u32],
    classes: usize,
    vote: Vote,
) -> Knn {
    let mut scores = vec![0.0f64; nearest.len() * classes];
    nearest.par_iter().zip(scores.par_chunks_mut(classes)).for_each(|(all, score)| {
        for &(similarity, row) in all.iter().take(vote.k) {
            score[labels[row as usize] as usize] += (similarity.to_f64() / vote.temperature).exp();
        }
    });
    let neighbours = nearest.iter().map(|all| all.iter().take(vote.k).map(|n| n.1).collect());
    Knn {
        neighbours: neighbours.collect(),
        predictions: scores.chunks(classes).map(|score| super::argmax(score) as u32).collect(),
        scores: Tensor::from_vec(scores, &[nearest.len(), classes]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::{blobs, on_threads};

    /// The definition: all cosines in f64, a full stable sort.
    fn twin(
        bank: &Tensor<f64>,
        labels: &[u32],
        queries: &Tensor<f64>,
        vote: Vote,
    ) -> Vec<Vec<u32>> {
        let d = bank.shape()[1];
        let rows = |x: &Tensor<f64>| -> Vec<Vec<f64>> {
            let unit = |row: &[f64]| {
                let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                row.iter().map(|x| x / length).collect()
            };
            x.as_slice().chunks(d).map(unit).collect()
        };
        let bank = rows(bank);
        let sorted = |query: Vec<f64>| {
            let cosine = |row: &[f64]| query.iter().zip(row).map(|(a, b)| a * b).sum::<f64>();
            let mut all: Vec<u32> = (0..labels.len() as u32).collect();
            all.sort_by(|&a, &b| cosine(&bank[b as usize]).total_cmp(&cosine(&bank[a as usize])));
            all.truncate(vote.k);
            all
        };
        rows(queries).into_iter().map(sorted).collect()
    }

    #[test]
    fn neighbours_are_those_of_a_full_sort() {
        // More rows than a block on both sides.
        let (bank, labels) = blobs::<f64>(BANK + 300, 9, 4, 0.8, 1);
        let (queries, _) = blobs::<f64>(QUERIES + 70, 9, 4, 0.8, 2);
        let votes = [1, 5, 200, 1300, 9999].map(|k| Vote { k, temperature: 0.1 });
        for (vote, found) in votes.iter().zip(knn(&bank, &labels, &queries, 4, &votes)) {
            assert_eq!(found.neighbours, twin(&bank, &labels, &queries, *vote), "{vote:?}");
        }
    }

    #[test]
    fn queries_of_several_rounds_are_answered_as_if_alone() {
        let (bank, labels) = blobs::<f32>(BANK + 9, 5, 3, 0.9, 5);
        let (queries, _) = blobs::<f32>(ROUND + 70, 5, 3, 0.9, 6);
        let votes = [Vote { k: 20, temperature: 0.1 }];
        let all = &knn(&bank, &labels, &queries, 3, &votes)[0];
        for range in [0..100, ROUND - 50..ROUND + 70] {
            let some = queries.rows(&range.clone().collect::<Vec<_>>());
            let alone = &knn(&bank, &labels, &some, 3, &votes)[0];
            assert_eq!(alone.neighbours, all.neighbours[range.clone()]);
            assert_eq!(alone.predictions, all.predictions[range]);
        }
        // Long rows make short rounds.
        assert_eq!([9, 4096, 100_000].map(round_of), [ROUND, ROUND, QUERIES]);
    }

    // Formula: knn-1.
    #[test]
    fn votes_are_weighted_by_the_exponential_of_the_cosine() {
        // Cosines of the query [1, 0] with the bank: 0.6, 1, 0.8, -1, 0.6.
        let bank = Tensor::from_rows(&[
            &[3.0, 4.0],
            &[2.0, 0.0],
            &[4.0, -3.0],
            &[-5.0, 0.0],
            &[0.6, -0.8f64],
        ]);
        let query = Tensor::from_rows(&[&[7.0, 0.0f64]]);
        let vote = Vote { k: 4, temperature: 0.5 };
        let found = &knn(&bank, &[2, 0, 2, 1, 2], &query, 4, &[vote])[0];
        assert_eq!(found.neighbours, [[1, 2, 0, 4]]);
        let weight = |s: f64| (s / 0.5).exp();
        let expected = [weight(1.0), 0.0, weight(0.8) + 2.0 * weight(0.6), 0.0];
        for (got, expected) in found.scores.as_slice().iter().zip(expected) {
            assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        }
        assert_eq!(found.predictions, [2]);
        // Classes 1 and 3 both have 0: the lower comes first, so only 1 is among the top three.
        let top3 = |label| found.correct(&[label], 3)[0];
        assert_eq!([0, 1, 2, 3].map(top3), [true, true, true, false]);
        assert_eq!((found.accuracy(&[2], 1), found.accuracy(&[3], 1)), (1.0, 0.0));
    }

    #[test]
    fn equal_cosines_are_taken_from_the_lowest_row() {
        let bank = Tensor::full(&[2500, 3], 1.0f32);
        let labels: Vec<u32> = (0..2500).map(|row| u32::from(row >= 7)).collect();
        let query = Tensor::full(&[2, 3], 2.0f32);
        let votes = [Vote { k: 7, temperature: 1.0 }, Vote { k: 14, temperature: 1.0 }];
        let found = knn(&bank, &labels, &query, 2, &votes);
        assert_eq!(found[0].neighbours[1], [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(found[1].predictions, [0, 0], "seven votes each: the lower class");
    }

    #[test]
    fn zeros_one_class_and_no_queries_are_no_special_cases() {
        let bank = Tensor::from_rows(&[&[0.0f32, 0.0], &[1.0, 0.0]]);
        let vote = Vote { k: 5, temperature: 1.0 };
        let found = knn(&bank, &[0, 0], &Tensor::zeros(&[1, 2]), 1, &[vote]);
        assert_eq!((found[0].neighbours[0].len(), found[0].scores.to_vec()), (2, vec![2.0]));
        let none = &knn(&bank, &[0, 0], &Tensor::zeros(&[0, 2]), 1, &[vote])[0];
        assert!(none.predictions.is_empty() && none.accuracy(&[], 1).is_nan());
    }

    #[test]
    fn thread_counts_give_the_same_bits() {
        let (bank, labels) = blobs::<f32>(900, 32, 6, 1.0, 3);
        let (queries, _) = blobs::<f32>(400, 32, 6, 1.0, 4);
        let votes = [Vote { k: 5, temperature: 1.0 }, Vote { k: 200, temperature: 0.1 }];
        on_threads(|| knn(&bank, &labels, &queries, 6, &votes));
    }
}
