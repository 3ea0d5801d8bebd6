//! Rows of features: in memory, or made when they are looked at.

use crate::kernels::Real;
use crate::tensor::{Shape, Tensor};

/// Rows that judges look at together where any number would do.
pub(super) const BLOCK: usize = 1024;

/// Features `[N, D]` of which a judge takes some rows at a time.
///
/// A [`Tensor`] holds them all; what is large and cheap to make, like the pixels of images, need
/// not.
pub trait Rows {
    /// The features' type.
    type Value: Real;

    /// `[N, D]`; `what` is what a complaint calls the features.
    ///
    /// # Panics
    /// If they are no matrix.
    fn size(&self, what: &str) -> [usize; 2];

    /// The rows `indices`, in that order: `[indices.len(), D]`.
    ///
    /// # Panics
    /// If an index is not below `N`.
    fn rows(&self, indices: &[usize]) -> Tensor<Self::Value>;
}

impl<T: Real> Rows for Tensor<T> {
    type Value = T;

    #[track_caller]
    fn size(&self, what: &str) -> [usize; 2] {
        // A `match`, because a closure would report itself as the place of the panic.
        match self.shape().try_into() {
            Ok(size) => size,
            Err(_) => panic!("{what}: expected [N, D], got {:?}", self.shape()),
        }
    }

    #[track_caller]
    fn rows(&self, indices: &[usize]) -> Tensor<T> {
        let [n, d] = self.size("rows");
        if let Some(index) = indices.iter().find(|&&index| index >= n) {
            panic!("rows: row {index} of {n}");
        }
        Tensor::filled(Shape::of("rows", &[indices.len(), d]), |out| {
            for (out, &row) in out.chunks_exact_mut(d.max(1)).zip(indices) {
                out.copy_from_slice(&self.as_slice()[row * d..][..d]);
            }
        })
    }
}

/// Calls `f` with the rows `range` of `x` in their order, `at_a_time` or fewer at a time, each time
/// after the number of the first.
pub(super) fn for_each_block<R: Rows + ?Sized>(
    x: &R,
    range: std::ops::Range<usize>,
    at_a_time: usize,
    mut f: impl FnMut(usize, Tensor<R::Value>),
) {
    let indices: Vec<usize> = range.collect();
    indices.chunks(at_a_time).for_each(|block| f(block[0], x.rows(block)));
}
