//! Matrix products over row-major slices: plain, with one operand transposed, and batched.
//!
//! ```text
//! for each block of columns, for each block of k:
//!     pack the block of B into panels
//!     for each block of rows:
//!         pack the block of A into panels
//!         for each panel of B, for each panel of A: register block of C (+)= product
//! ```
//!
//! Packing and products are parallel, one after the other; the loops are those of BLIS (Van Zee
//! and van de Geijn, ACM TOMS 2015).
//! What the code adds:
//! 1. Panels of both are cut evenly: 9 rows become 5 + 4 and not 8 + 1.
//! 2. A short product (a few rows) reads B where it lies: packing it would cost as much again; and
//!    a narrow one the rows of A.
//! 3. Work is cut by problem size and k by fixed blocks, so that the bits do not depend on the
//!    number of threads.
//!
//! At level portable all of this is left to the crate matrixmultiply, in `portable.rs`.
//!
//! Known limits: with fewer columns than one register holds, lanes idle.

mod amx;
pub(super) mod cut;
pub(super) mod microkernel;
pub(super) mod pack;
pub(super) mod portable;
pub(super) mod scratch;
#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use super::Real;
use super::bf16::{Precision, rounded};
use super::dispatch::{self, Level, RegisterBlock};
use cut::{Cut, Panel, Panels, SMALL, for_each};
use microkernel::{MicroKernel, Segment, SharedMut, Store};
use pack::{Deal, Interleave, Lot};
use scratch::Scratch;

/// Which operand of a product is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trans {
    /// `A` is `[m, k]`, `B` is `[k, n]`.
    Nn,
    /// `A` is `[m, k]`, `B` is stored as `[n, k]`.
    Nt,
    /// `A` is stored as `[k, m]`, `B` is `[k, n]`.
    Tn,
}

/// The matrix product `C = op(A) op(B)`, with `C` overwritten.
///
/// Shapes: `op(A): [m, k]`, `op(B): [k, n]` → `C: [m, n]`, row-major; see [`Trans`].
///
/// Formula: gemm-1.
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn gemm<T: Real>(trans: Trans, m: usize, n: usize, k: usize, a: &[T], b: &[T], c: &mut [T]) {
    gemm_batched(Precision::Full, trans, 1, m, n, k, a, b, c);
}

/// `batch` independent products of [`gemm`] over contiguous blocks of the operands, in a precision.
///
/// # Panics
/// If a slice has another length than `batch` times its shape.
#[track_caller]
pub fn gemm_batched<T: Real>(
    precision: Precision,
    trans: Trans,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    assert_eq!(a.len(), batch * m * k, "gemm: A has not batch·m·k = {batch}·{m}·{k} elements");
    assert_eq!(b.len(), batch * k * n, "gemm: B has not batch·k·n = {batch}·{k}·{n} elements");
    assert_eq!(c.len(), batch * m * n, "gemm: C has not batch·m·n = {batch}·{m}·{n} elements");
    let level = dispatch::level();
    if !precision.rounds::<T>() {
        return gemm_at(level, trans, batch, m, n, k, a, b, c);
    }
    if !level.has_amx() || m.min(n).min(k) < AMX_PAYS {
        return gemm_at(level, trans, batch, m, n, k, &rounded(a), &rounded(b), c);
    }
    let numbers = T::singles(a).zip(T::singles(b)).zip(T::singles_mut(c));
    let ((a, b), c) = numbers.expect("only f32 is rounded");
    let of_each = a.chunks_exact(m * k).zip(b.chunks_exact(k * n)).zip(c.chunks_exact_mut(m * n));
    of_each.for_each(|((a, b), c)| amx::gemm(trans, m, n, k, a, b, c));
}

/// Least rows, columns and steps for which AMX gains more than packing for it costs.
const AMX_PAYS: usize = 32;

/// [`gemm_batched`] at a level.
///
/// Formula: gemm-2.
pub(super) fn gemm_at<T: Real>(
    level: Level,
    trans: Trans,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
    if c.is_empty() || k == 0 {
        return c.fill(T::ZERO);
    }
    // The products go side by side; a large one is also cut within.
    let grain = (SMALL / (m * n * k)).max(1);
    let cut = Cut::at_most(batch, grain);
    let out = SharedMut::new(c);
    for_each(cut.pieces, batch * m * n * k, |piece| {
        for i in cut.range(piece) {
            let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
            // SAFETY: each product has its own block of the output.
            let c = unsafe { out.slice(i * m * n, m * n) };
            let (shape, part) = (RegisterBlock::of::<T>(level), Part::Whole);
            Product { level, shape, trans, m, n, k, a, b, part }.compute(&SharedMut::new(c));
        }
    });
}

/// The Gram matrix `C = X Xᵀ` of the rows of `X`: half of the products of [`gemm`], its bits.
///
/// Shapes: `X: [n, k]` → `C: [n, n]`.
///
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn gram<T: Real>(n: usize, k: usize, x: &[T], c: &mut [T]) {
    assert_eq!(x.len(), n * k, "gram: X has not n·k = {n}·{k} elements");
    assert_eq!(c.len(), n * n, "gram: C has not n·n = {n}·{n} elements");
    gram_at(dispatch::level(), n, k, x, c);
}

/// [`gram`] at a level.
pub(super) fn gram_at<T: Real>(level: Level, n: usize, k: usize, x: &[T], c: &mut [T]) {
    if c.is_empty() || k == 0 {
        return c.fill(T::ZERO);
    }
    let (out, shape) = (SharedMut::new(c), RegisterBlock::of::<T>(level));
    let (trans, part) = (Trans::Nt, Part::Upper);
    Product { level, shape, trans, m: n, n, k, a: x, b: x, part }.compute(&out);
    // Its transpose below the diagonal, by blocks of which both sides stay in the first cache.
    const SIDE: usize = 32;
    let blocks = n.div_ceil(SIDE);
    for_each(blocks, n * n, |block| {
        let rows = block * SIDE..((block + 1) * SIDE).min(n);
        for other in 0..=block {
            for i in rows.clone() {
                for j in other * SIDE..((other + 1) * SIDE).min(i) {
                    // SAFETY: both places are within n·n elements. Below the diagonal an element
                    // belongs to the piece of its row; above it nobody writes any more.
                    unsafe { *out.start().add(i * n + j) = *out.start().add(j * n + i) };
                }
            }
        }
    });
}

/// Steps of k in one block: a panel of A of this length fits the first cache beside what
/// streams past it.
const BLOCK_K: usize = 512;
/// Rows that a piece of work has, which with `BLOCK_K` fill a quarter of a second-level cache.
const PIECE_M: usize = 128;
/// Rows and columns in one block of A and B; with `BLOCK_K` a quarter of a third-level cache.
const BLOCK_MN: usize = 4096;
/// Columns of B up to which the rows of A are read where they lie.
const STAYS_BESIDE: usize = 512;
/// Panels that are packed together, so that whole pages of B are read.
const PACKED_TOGETHER: usize = 8;
/// Pieces that a block is cut into, if it has the size: more than most machines have threads.
const PIECES: usize = 32;

/// What of a product is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    /// Every register block that reaches the diagonal or lies above it.
    Upper,
}

/// One product. A range of k is called `steps`, as in [`microkernel`].
struct Product<'a, T> {
    level: Level,
    shape: RegisterBlock,
    trans: Trans,
    m: usize,
    n: usize,
    k: usize,
    a: &'a [T],
    b: &'a [T],
    part: Part,
}

impl<T: Real> Product<'_, T> {
    fn compute(self, out: &SharedMut<'_, T>) {
        if self.level == Level::Portable {
            return self.in_pieces(out);
        }
        let (cut_n, cut_k) = (Cut::at_most(self.n, BLOCK_MN), Cut::at_most(self.k, BLOCK_K));
        let cut_m = Cut::at_most(self.m, BLOCK_MN);
        for cols in (0..cut_n.pieces).map(|i| cut_n.range(i)) {
            for block_k in 0..cut_k.pieces {
                let steps = cut_k.range(block_k);
                let store = if block_k == 0 { Store::Set } else { Store::Add };
                let b = self.pack_b(cols.clone(), steps.clone());
                for rows in (0..cut_m.pieces).map(|i| cut_m.range(i)) {
                    let a_panels = Cut::at_most(rows.len(), self.shape.rows);
                    let a = self.pack_a(rows.clone(), &a_panels, steps.clone());
                    let (cols, steps) = (cols.clone(), steps.clone());
                    self.multiply(rows.start, &a_panels, cols, steps, &a, &b, out, store);
                }
            }
        }
    }

    /// Whether B is read where it lies: packing it would cost as much as a few rows of products.
    fn b_stays(&self) -> bool {
        self.trans != Trans::Nt && self.m <= 2 * self.shape.rows
    }

    /// Whether A is read where it lies: packing it would cost as much as a few columns of products.
    fn a_stays(&self) -> bool {
        self.trans != Trans::Tn && self.n <= STAYS_BESIDE
    }

    /// Packs `cols × steps` of `op(B)` as `[panel][step][width]`; of a B that stays, only a last
    /// panel that is not full.
    fn pack_b(&self, cols: Range<usize>, steps: Range<usize>) -> Scratch<T> {
        let (panels, len) = (Panels::new(cols.len(), self.shape), steps.len());
        let steps_start = steps.start;
        let last = panels.get(panels.count() - 1);
        let first_packed = if !self.b_stays() {
            0
        } else if last.cols < last.width {
            panels.count() - 1
        } else {
            return Scratch::take(0);
        };
        let start = panels.get(first_packed).first;
        let mut packed = Scratch::take((panels.padded() - start) * len);
        let parts = SharedMut::new(&mut packed);
        let groups = Cut::at_most(panels.count() - first_packed, PACKED_TOGETHER);
        for_each(groups.pieces, self.m * cols.len() * len, |i| {
            let group = groups.range(i);
            let group = first_packed + group.start..first_packed + group.end;
            let (first, width) = (panels.get(group.start).first, panels.width(group.clone()));
            // SAFETY: each group of panels has its own part.
            let to = unsafe { parts.slice((first - start) * len, width * len) };
            match self.trans {
                Trans::Nn | Trans::Tn => {
                    let (stride, steps) = (self.n, len);
                    let from = &self.b[steps_start * self.n + cols.start..];
                    let lots = &panels.lots(group, len);
                    let (first, spread) = (0, 1);
                    let deal = Deal { from, stride, steps, lots, first, spread, to };
                    dispatch::run(self.level, deal);
                }
                Trans::Nt => {
                    for panel in group.map(|i| panels.get(i)) {
                        let from = &self.b[(cols.start + panel.first) * self.k + steps.start..];
                        let to = &mut to[(panel.first - first) * len..][..panel.width * len];
                        self.interleave(from, panel.cols, len, to, panel.width);
                    }
                }
            }
        });
        packed
    }

    /// Packs `rows × steps` of `op(A)` as `[panel][step][row]`; nothing of an A that stays.
    fn pack_a(&self, rows: Range<usize>, a_panels: &Cut, steps: Range<usize>) -> Scratch<T> {
        if self.a_stays() {
            return Scratch::take(0);
        }
        let len = steps.len();
        let mut packed = Scratch::take(rows.len() * len);
        let parts = SharedMut::new(&mut packed);
        let groups = Cut::at_most(a_panels.pieces, PIECE_M / self.shape.rows);
        for_each(groups.pieces, rows.len() * self.n * len, |i| {
            let group = groups.range(i);
            let start = a_panels.start(group.start);
            // SAFETY: each group of panels has its own part.
            let to = unsafe { parts.slice(start * len, (a_panels.start(group.end) - start) * len) };
            let panels = group.map(|i| a_panels.range(i));
            match self.trans {
                Trans::Nn | Trans::Nt => {
                    for panel in panels {
                        let from = &self.a[(rows.start + panel.start) * self.k + steps.start..];
                        let to = &mut to[(panel.start - start) * len..][..panel.len() * len];
                        self.interleave(from, panel.len(), len, to, panel.len());
                    }
                }
                Trans::Tn => {
                    let from = &self.a[steps.start * self.m + rows.start..];
                    let lot = |panel: Range<usize>| {
                        let (first, cols) = (panel.start, panel.len());
                        Lot { first, cols, width: cols, to: (first - start) * len }
                    };
                    let lots = &panels.map(lot).collect::<Vec<_>>();
                    let (stride, steps) = (self.m, len);
                    let (first, spread) = (0, 1);
                    let deal = Deal { from, stride, steps, lots, first, spread, to };
                    dispatch::run(self.level, deal);
                }
            }
        });
        packed
    }

    fn interleave(&self, from: &[T], rows: usize, steps: usize, to: &mut [T], width: usize) {
        let stride = self.k;
        dispatch::run(self.level, Interleave { from, stride, rows, steps, to, width });
    }

    /// Multiplies packed operands into the rows of the output from `first_row` on.
    fn multiply(
        &self,
        first_row: usize,
        a_panels: &Cut,
        cols: Range<usize>,
        steps: Range<usize>,
        a: &[T],
        b: &[T],
        out: &SharedMut<'_, T>,
        store: Store,
    ) {
        let (n, len) = (self.n, steps.len());
        let panels = Panels::new(cols.len(), self.shape);
        let segments = &[Segment { a: 0, b: 0, len }];
        let blocks = Cut::at_most(a_panels.pieces, PIECE_M / self.shape.rows);
        let groups = Cut::into_pieces(panels.count(), PIECES.div_ceil(blocks.pieces));
        let work = a_panels.start(a_panels.pieces) * panels.padded() * len;
        for_each(blocks.pieces * groups.pieces, work, |piece| {
            for panel in groups.range(piece % groups.pieces) {
                let Panel { first, cols: full, vectors, width } = panels.get(panel);
                let (b, b_stride) = if !self.b_stays() {
                    (&b[first * len..], width)
                } else if full < width {
                    (b, width)
                } else {
                    (&self.b[steps.start * n + cols.start + first..], n)
                };
                for i in blocks.range(piece / groups.pieces) {
                    let rows = a_panels.range(i);
                    let ends = cols.start + first + full;
                    if self.part == Part::Upper && ends <= first_row + rows.start {
                        break; // This block and all that follow are below the diagonal.
                    }
                    let offset = (first_row + rows.start) * n + cols.start + first;
                    // SAFETY: each piece has its own rows or columns of the output.
                    let c = unsafe { out.window(offset, rows.len(), full, n) };
                    let (a, a_strides) = if self.a_stays() {
                        let row = first_row + rows.start;
                        (&self.a[row * self.k + steps.start..], [self.k, 1])
                    } else {
                        (&a[rows.start * len..], [1, rows.len()])
                    };
                    dispatch::run(
                        self.level,
                        MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store },
                    );
                }
            }
        });
    }
}

/// The definition of [`gemm`].
pub fn naive<T: Real>(trans: Trans, m: usize, n: usize, k: usize, a: &[T], b: &[T], c: &mut [T]) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = T::ZERO;
            for p in 0..k {
                sum += match trans {
                    Trans::Nn => a[i * k + p] * b[p * n + j],
                    Trans::Nt => a[i * k + p] * b[j * k + p],
                    Trans::Tn => a[p * m + i] * b[p * n + j],
                };
            }
            c[i * n + j] = sum;
        }
    }
}
