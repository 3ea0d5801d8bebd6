//! NNCLR: an image's other view is the nearest neighbour of its projection.
//!
//! With `k` the row of a queue of past projections that is nearest to view v's projection, and `p`
//! the predictions:
//!
//! ```text
//! loss = 1/2 CE(k0 n(p1)ᵀ / t, diagonal) + 1/2 CE(k1 n(p0)ᵀ / t, diagonal),   n(z) = z / |z|
//! ```
//!
//! Row i is the neighbour of image i, the columns are all N predictions of the other view. The
//! neighbours are detached, as is their choice: here they are plain values, looked up before the
//! batch enters the queue. The gradient flows through the predictions only.
//!
//! Source: Dwibedi et al. 2021, arXiv 2104.14548, eq. 2 and 3; symmetric, and the queue takes in
//! the first view's projections, as in solo-learn.

use rand_distr::{Distribution, StandardNormal};

use super::{check_anchors, check_views};
use crate::autodiff::{Reduction, Var};
use crate::kernels::Real;
use crate::rng::Stream;
use crate::tensor::Tensor;

/// Contrasts the neighbours of one view with the predictions of the other: NNCLR.
///
/// The formula is at the top of this file's documentation; `neighbours0` belong to view 0.
///
/// Shapes: `p0, p1, neighbours0, neighbours1: [N, D]` → `[]`. Differentiable to any order in `p0`
/// and `p1`.
///
/// Formula: nnclr-2.
///
/// # Panics
/// If the shapes differ or are not `[N, D]`.
///
/// # Example
/// One image has nothing to be told apart from:
/// ```
/// use dimask::autodiff::Var;
/// use dimask::ssl::nnclr;
/// use dimask::tensor::Tensor;
///
/// let p = Var::constant(Tensor::<f64>::from_rows(&[&[1.0, 2.0]]));
/// let k = Tensor::from_rows(&[&[0.6, 0.8]]);
/// assert!(nnclr(&p, &p, &k, &k, 0.1).value().item().abs() < 1e-12);
/// ```
///
/// Source: Dwibedi et al. 2021, arXiv 2104.14548, eq. 2 and 3.
#[track_caller]
pub fn nnclr<T: Real>(
    p0: &Var<T>,
    p1: &Var<T>,
    neighbours0: &Tensor<T>,
    neighbours1: &Tensor<T>,
    temperature: f64,
) -> Var<T> {
    let [n, _] = check_views("nnclr", p0, p1);
    let diagonal: Vec<u32> = (0..n as u32).collect();
    check_anchors("nnclr: [predictions, neighbours]", p0, [neighbours0, neighbours1]);
    let direction = |k: &Tensor<T>, p: &Var<T>| {
        let k = Var::constant(k.clone()).l2_normalize(1, 1e-12);
        let logits = k.matmul_nt(&p.l2_normalize_to(1.0 / temperature, 1, 1e-12));
        logits.cross_entropy(&diagonal, Reduction::Mean)
    };
    (direction(neighbours0, p1) + direction(neighbours1, p0)).scale(0.5)
}

/// Past projections to find neighbours in: first in, first out.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue<T: Real = f32> {
    /// `[S, D]`, rows of length 1.
    pub rows: Tensor<T>,
    /// The row that the next projection takes the place of: the oldest one.
    pub next: usize,
}

impl<T: Real> Queue<T> {
    /// A queue of `size` random directions, drawn from `seed`.
    ///
    /// # Panics
    /// If a length is 0.
    #[track_caller]
    pub fn new(size: usize, width: usize, seed: u64) -> Queue<T> {
        assert!(size > 0 && width > 0, "Queue::new: {size} rows of {width}");
        let mut rng = Stream::new(seed, "queue").at(&[]);
        let draw = |_| T::from_f64(StandardNormal.sample(&mut rng));
        let rows = Tensor::from_fn(&[size, width], draw);
        Queue { rows: unit(&rows), next: 0 }
    }

    /// The row nearest in direction to each row of `z [N, D]`, the first of equals.
    ///
    /// Formula: nnclr-1.
    ///
    /// # Panics
    /// If the widths differ.
    #[track_caller]
    pub fn nearest_rows(&self, z: &Tensor<T>) -> Vec<u32> {
        self.check("nearest_rows", z);
        self.nearest_of(z)
    }

    fn nearest_of(&self, z: &Tensor<T>) -> Vec<u32> {
        let cosines = unit(z).matmul_nt(&self.rows);
        let size = self.rows.shape()[0];
        let best =
            |row: &[T]| (1..size).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        cosines.as_slice().chunks(size).map(|row| best(row) as u32).collect()
    }

    /// The nearest rows themselves, `[N, D]`.
    ///
    /// # Panics
    /// If the widths differ.
    #[track_caller]
    pub fn nearest(&self, z: &Tensor<T>) -> Tensor<T> {
        self.check("nearest", z);
        let rows = Var::constant(self.rows.clone());
        rows.index_select(0, &self.nearest_of(z)).into_value()
    }

    /// The queue with the directions of `z [N, D]` in the place of its N oldest rows; of more than
    /// it can hold, the last stay.
    ///
    /// Formula: nnclr-3.
    ///
    /// # Panics
    /// If the widths differ.
    #[must_use]
    #[track_caller]
    pub fn enqueue(mut self, z: &Tensor<T>) -> Queue<T> {
        let [size, width] = self.check("enqueue", z);
        let rows = self.rows.make_mut();
        for row in unit(z).as_slice().chunks(width) {
            rows[self.next * width..][..width].copy_from_slice(row);
            self.next = (self.next + 1) % size;
        }
        self
    }

    /// The queue's two lengths, once `z` is known to fit them.
    #[track_caller]
    pub(crate) fn check(&self, op: &str, z: &Tensor<T>) -> [usize; 2] {
        let (rows, z) = (self.rows.shape(), z.shape());
        let fits = rows.len() == 2 && z.len() == 2 && z[1] == rows[1];
        assert!(fits, "{op}: {z:?} for a queue of {rows:?}");
        [rows[0], rows[1]]
    }
}

/// Each row divided by its length.
fn unit<T: Real>(z: &Tensor<T>) -> Tensor<T> {
    Var::constant(z.clone()).l2_normalize(1, 1e-12).into_value()
}
