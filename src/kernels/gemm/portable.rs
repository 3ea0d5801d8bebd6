//! Products at level portable: fixed pieces of the output, each by the crate matrixmultiply.
//!
//! The crate packs both operands, which may lie in any two steps, and finds vector instructions
//! of its own at run time. It works on the calling thread, and a piece depends on the sizes of the
//! problem alone, so that on one machine the number of threads changes no bit.

use std::ops::Range;

use super::cut::{Cut, for_each};
use super::microkernel::{MicroKernel, Segment, SharedMut, Store, Window};
use super::{Part, Product, Trans};
use crate::kernels::Real;
use crate::kernels::dispatch::{self, Level, RegisterBlock};

/// Pieces that a product is cut into, about, if it has the size.
const PIECES: usize = 16;
/// Least rows and columns of a piece: each packed value serves as many products.
const LEAST: usize = 128;

/// A matrix where it lies: element `(i, j)` is at `i · strides[0] + j · strides[1]`.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Matrix<'a, T> {
    pub(in crate::kernels) values: &'a [T],
    pub(in crate::kernels) strides: [usize; 2],
}

impl<T> Matrix<'_, T> {
    /// Fails unless all of `rows × cols` elements exist, of which there is at least one.
    fn check(&self, rows: usize, cols: usize) {
        let last = (rows - 1) * self.strides[0] + (cols - 1) * self.strides[1];
        assert!(last < self.values.len(), "a product beyond its operand");
    }
}

/// The product `C (+)= A B` on the calling thread, with `steps` columns of `A` and rows of `B`.
pub(in crate::kernels) fn multiply<T: Real>(
    steps: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: &Window<'_, T>,
    store: Store,
) {
    let Window { start, rows, cols, stride, .. } = *c;
    if steps > 0 && cols > 0 {
        a.check(rows, steps);
        b.check(steps, cols);
    }
    assert!(rows == 1 || cols <= stride, "rows of a product overlap");
    let old = if store == Store::Set { T::ZERO } else { T::ONE };
    let [[a_row, a_step], [b_step, b_col]] = [a, b].map(|x| x.strides.map(|len| len as isize));
    let (a, b) = (a.values.as_ptr(), b.values.as_ptr());
    // SAFETY: the checks bound what is read of both operands, a window is memory that its holder
    // alone may write, and its rows do not overlap.
    unsafe {
        T::GEMM(
            rows,
            steps,
            cols,
            T::ONE,
            a,
            a_row,
            a_step,
            b,
            b_step,
            b_col,
            old,
            start,
            stride as isize,
            1,
        );
    }
}

impl<T: Real> Product<'_, T> {
    /// The whole product, in pieces.
    pub(super) fn in_pieces(&self, out: &SharedMut<'_, T>) {
        let Self { m, n, k, .. } = *self;
        let side = (m * n / PIECES).isqrt().max(LEAST);
        let (cut_m, cut_n) = (Cut::at_most(m, side), Cut::at_most(n, side));
        for_each(cut_m.pieces * cut_n.pieces, m * n * k, |piece| {
            let rows = cut_m.range(piece / cut_n.pieces);
            let cols = cut_n.range(piece % cut_n.pieces);
            if self.part == Part::Upper && cols.end <= rows.start {
                return;
            }
            self.piece(rows, cols, out);
        });
    }

    fn piece(&self, rows: Range<usize>, cols: Range<usize>, out: &SharedMut<'_, T>) {
        let Self { trans, m, n, k, a, b, .. } = *self;
        let (a_strides, b_strides) = match trans {
            Trans::Nn => ([k, 1], [n, 1]),
            Trans::Nt => ([k, 1], [1, k]),
            Trans::Tn => ([1, m], [n, 1]),
        };
        let a = Matrix { values: &a[rows.start * a_strides[0]..], strides: a_strides };
        let b = Matrix { values: &b[cols.start * b_strides[1]..], strides: b_strides };
        // SAFETY: each piece has its own rows and columns of the output.
        let c = unsafe { out.window(rows.start * n + cols.start, rows.len(), cols.len(), n) };
        multiply(k, a, b, &c, Store::Set);
    }
}

impl<T: Real> MicroKernel<'_, T> {
    /// The size of the blocks of [`MicroKernel::run_at`].
    pub(in crate::kernels) fn shape(level: Level) -> RegisterBlock {
        let shape = RegisterBlock::of::<T>(level);
        match level {
            Level::Portable => RegisterBlock { rows: 64, vectors: 64, ..shape },
            Level::Scalar | Level::Avx2 | Level::Avx512 => shape,
        }
    }

    /// Computes the block at a level; at level portable it has one segment.
    pub(in crate::kernels) fn run_at(self, level: Level) {
        if level != Level::Portable {
            return dispatch::run(level, self);
        }
        let MicroKernel { a, a_strides: [a_row, a_step], b, b_stride, segments, c, store, .. } =
            self;
        let &[Segment { a: from_a, b: from_b, len }] = segments else {
            panic!("a product of {} segments at level portable", segments.len());
        };
        let a = Matrix { values: &a[from_a * a_step..], strides: [a_row, a_step] };
        let b = Matrix { values: &b[from_b * b_stride..], strides: [b_stride, 1] };
        multiply(len, a, b, &c, store);
    }
}
