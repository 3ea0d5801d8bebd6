//! A map applied to many squares of channel vectors: see [`super::maps`].
//!
//! `[N, H, W, C]` makes the maps elementwise over channels: a square is read and written by
//! vectors of consecutive channels, whatever it holds (pixels, taps, or values at the points).
//! What of a square lies outside the image is read as zero and not written.

use std::marker::PhantomData;
use std::ops::Range;

use super::maps::{Map, SIDE};
use crate::kernels::Real;
use crate::kernels::dispatch::Kernel;
use crate::kernels::gemm::microkernel::SharedMut;
use crate::kernels::vector::Vector;

/// Where the first channels of a square lie: row `i` and column `j` at
/// `origin + i · strides[0] + j · strides[1]`.
#[derive(Clone, Debug)]
pub(super) struct Square {
    /// Wraps around below zero for squares whose first rows or columns are outside.
    pub(super) origin: usize,
    /// Rows that exist.
    pub(super) rows: Range<usize>,
    /// Columns that exist.
    pub(super) cols: Range<usize>,
}

impl Square {
    /// A square of which all exists.
    #[inline]
    pub(super) fn whole(origin: usize, side: usize) -> Self {
        Self { origin, rows: 0..side, cols: 0..side }
    }

    #[inline]
    fn is_whole(&self, side: usize) -> bool {
        self.rows == (0..side) && self.cols == (0..side)
    }

    /// Fails unless all that exists lies within `len` elements.
    fn check(&self, strides: [usize; 2], side: usize, channels: usize, len: usize) {
        assert!(self.rows.end <= side && self.cols.end <= side, "a square larger than its map");
        if self.rows.is_empty() || self.cols.is_empty() {
            return;
        }
        let at = |i: usize, j: usize| {
            self.origin.wrapping_add(i.wrapping_mul(strides[0])).wrapping_add(j * strides[1])
        };
        let first = at(self.rows.start, self.cols.start);
        let last = (self.rows.len() - 1) * strides[0] + (self.cols.len() - 1) * strides[1];
        assert!(first < len && last + channels <= len - first, "a square beyond its operand");
    }
}

/// Applies `M` to `channels` channels of each pair of squares, from the first to the second.
pub(super) struct Transform<'a, M, T> {
    from: &'a [T],
    from_strides: [usize; 2],
    to: SharedMut<'a, T>,
    to_strides: [usize; 2],
    squares: &'a [(Square, Square)],
    channels: usize,
    map: PhantomData<M>,
}

impl<'a, M: Map, T: Real> Transform<'a, M, T> {
    /// The transform of some squares.
    ///
    /// # Safety
    /// Nobody else touches what exists of the second squares meanwhile, and no two of them overlap.
    pub(super) unsafe fn new(
        from: &'a [T],
        from_strides: [usize; 2],
        to: SharedMut<'a, T>,
        to_strides: [usize; 2],
        squares: &'a [(Square, Square)],
        channels: usize,
    ) -> Self {
        Self { from, from_strides, to, to_strides, squares, channels, map: PhantomData }
    }
}

impl<M: Map, T: Real> Kernel<T> for Transform<'_, M, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>>(self) {
        for (from, to) in self.squares {
            from.check(self.from_strides, M::FROM, self.channels, self.from.len());
            to.check(self.to_strides, M::TO, self.channels, self.to.len());
            // SAFETY: this is the shell of `V`, and both squares were checked just now.
            unsafe {
                if from.is_whole(M::FROM) && to.is_whole(M::TO) {
                    self.square::<V, true>(from, to);
                } else {
                    self.square::<V, false>(from, to);
                }
            }
        }
    }
}

impl<M: Map, T: Real> Transform<'_, M, T> {
    /// All channels of a pair of squares, of which all exists if `WHOLE`.
    ///
    /// # Safety
    /// Only inside the shell of `V`, with squares that were checked.
    #[inline(always)]
    unsafe fn square<V: Vector<Scalar = T>, const WHOLE: bool>(&self, from: &Square, to: &Square) {
        let mut channel = 0;
        while channel < self.channels {
            let count = self.channels - channel;
            // SAFETY: `count` channels are left from `channel` on.
            unsafe {
                if count >= V::LANES {
                    self.lanes::<V, WHOLE, true>(from, to, channel, count);
                } else {
                    self.lanes::<V, WHOLE, false>(from, to, channel, count);
                }
            }
            channel += V::LANES;
        }
    }

    /// The channels of one register, which are `LANES` if `FULL` and else `count`.
    ///
    /// # Safety
    /// As [`Self::square`], and the channels exist.
    #[inline(always)]
    unsafe fn lanes<V: Vector<Scalar = T>, const WHOLE: bool, const FULL: bool>(
        &self,
        from: &Square,
        to: &Square,
        channel: usize,
        count: usize,
    ) {
        let exists = |square: &Square, i: usize, j: usize| {
            WHOLE || (square.rows.contains(&i) && square.cols.contains(&j))
        };
        let at = |square: &Square, strides: [usize; 2], i: usize, j: usize| {
            let row = square.origin.wrapping_add(i.wrapping_mul(strides[0]));
            row.wrapping_add(j.wrapping_mul(strides[1])).wrapping_add(channel)
        };
        // SAFETY: this is the shell of `V`; only rows and columns that exist are touched, and
        // the check put those into the operands.
        unsafe {
            let zero = V::splat(T::ZERO);
            let mut half = [[zero; SIDE]; SIDE];
            for i in 0..M::FROM {
                if !WHOLE && !from.rows.contains(&i) {
                    continue;
                }
                let mut line = [zero; SIDE];
                for j in 0..M::FROM {
                    if exists(from, i, j) {
                        let x = self.from.as_ptr().add(at(from, self.from_strides, i, j));
                        line[j] = if FULL { V::load(x) } else { V::load_first(x, count) };
                    }
                }
                half[i] = M::line(line);
            }
            for j in 0..M::TO {
                let mut line = [zero; SIDE];
                for i in 0..M::FROM {
                    line[i] = half[i][j];
                }
                let line = M::line(line);
                for i in 0..M::TO {
                    if exists(to, i, j) {
                        let y = self.to.start().add(at(to, self.to_strides, i, j));
                        if FULL { line[i].store(y) } else { line[i].store_first(y, count) }
                    }
                }
            }
        }
    }
}
