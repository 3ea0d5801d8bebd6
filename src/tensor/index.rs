//! Flat indices: one pair of operations behind gathers, selections, maxima and max-pooling.

use std::sync::Arc;

use crate::kernels::alloc::Buffer;

/// Where each element of a result comes from: positions in the row-major order of the source.
///
/// Source and result are cut into `blocks` equal contiguous pieces, and the indices of piece `i`
/// stay inside piece `i`: the adjoint scatters the pieces in parallel without a race.
#[derive(Clone, Debug)]
pub struct Indices {
    flat: Arc<Buffer<u32>>,
    blocks: usize,
}

impl Indices {
    /// Indices that respect `blocks` equal pieces.
    pub(crate) fn new(flat: Vec<u32>, blocks: usize) -> Indices {
        Indices::from_buffer(Buffer::from_vec(flat), blocks)
    }

    /// The same, in memory of the pool.
    pub(crate) fn from_buffer(flat: Buffer<u32>, blocks: usize) -> Indices {
        Indices { flat: Arc::new(flat), blocks: blocks.max(1) }
    }

    /// The positions, one for each element of the result.
    pub fn flat(&self) -> &[u32] {
        &self.flat
    }

    /// The number of independent pieces.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Checks the shapes of what is picked and of what it is picked from.
    #[track_caller]
    pub(crate) fn check(&self, op: &str, picked: &[usize], whole: &[usize]) {
        let (n, size) = (self.flat.len(), whole.iter().product::<usize>());
        let fits = picked.iter().product::<usize>() == n && size % self.blocks == 0;
        assert!(fits, "{op}: {n} positions for {picked:?}, of {whole:?}");
    }

    /// Along `axis` of `shape`, element `[.., i, ..]` of the result is `[.., index[i], ..]`.
    ///
    /// # Panics
    /// If the axis does not exist or an index is past its end.
    #[track_caller]
    pub(crate) fn select(shape: &[usize], axis: usize, index: &[u32]) -> Indices {
        let (outer, len, inner) = split(shape, axis, "index_select");
        check(index, len, "index_select");
        let mut flat = Vec::with_capacity(outer * index.len() * inner);
        for o in 0..outer {
            for &i in index {
                let start = (o * len + i as usize) * inner;
                flat.extend((start..start + inner).map(|at| at as u32));
            }
        }
        Indices::new(flat, outer)
    }

    /// Along `axis` of `shape`, element `[.., i, ..]` is `[.., index[.., i, ..], ..]`.
    ///
    /// # Panics
    /// If `index_shape` differs from `shape` off the axis, or an index is past the axis' end.
    #[track_caller]
    pub(crate) fn gather(
        shape: &[usize],
        axis: usize,
        index: &[u32],
        index_shape: &[usize],
    ) -> Indices {
        let (outer, len, inner) = split(shape, axis, "gather");
        check(index, len, "gather");
        let fits = shape.len() == index_shape.len()
            && (0..shape.len()).all(|a| a == axis || shape[a] == index_shape[a])
            && index_shape.iter().product::<usize>() == index.len();
        assert!(fits, "gather: index {index_shape:?} does not fit {shape:?} along axis {axis}");
        let rows = index_shape[axis];
        let flat = index.iter().enumerate().map(|(at, &i)| {
            let (o, column) = (at / (rows * inner), at % inner);
            ((o * len + i as usize) * inner + column) as u32
        });
        Indices::new(flat.collect(), outer)
    }
}

/// The sizes before, along and after an axis.
#[track_caller]
pub(crate) fn split(shape: &[usize], axis: usize, op: &str) -> (usize, usize, usize) {
    assert!(axis < shape.len(), "{op}: shape {shape:?} has no axis {axis}");
    let product = |dims: &[usize]| dims.iter().product();
    (product(&shape[..axis]), shape[axis], product(&shape[axis + 1..]))
}

#[track_caller]
fn check(index: &[u32], len: usize, op: &str) {
    if let Some(bad) = index.iter().find(|&&i| i as usize >= len) {
        panic!("{op}: index {bad} is past an axis of {len}");
    }
}
