//! Matrix products over row-major slices: plain, with one operand transposed, and batched.
//!
//! ```text
//! for each block of columns, for each block of k:
//!     pack the block of B into panels                       (shared by all threads)
//!     for each block of rows, in parallel:
//!         pack the block of A into tiles
//!         for each panel of B, for each tile of A: C tile (+)= A tile · B panel
//! ```
//!
//! These are the loops of BLIS (Van Zee and van de Geijn, ACM TOMS 2015). What the code adds:
//! 1. Tiles and panels are cut evenly: 9 rows become 5 + 4 and not 8 + 1.
//! 2. A short product (a few rows) reads B where it lies: packing it would cost as much again.
//! 3. Work is cut by problem size and k by fixed blocks, so that the bits do not depend on the
//!    number of threads.
//!
//! Known limits: with fewer columns than one register holds, lanes idle.

pub(super) mod cut;
pub(super) mod pack;
pub(super) mod scratch;
#[cfg(test)]
pub(super) mod tests;
pub(super) mod tile;

use super::Real;
use super::dispatch::{self, Level, TileShape};
use cut::{Cut, Panel, Panels, SMALL, for_each};
use pack::{CopyRows, Interleave};
use scratch::Scratch;
use tile::{Segment, SharedMut, Store, Tile};

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
/// # Panics
/// If a slice has another length than its shape.
#[track_caller]
pub fn gemm<T: Real>(trans: Trans, m: usize, n: usize, k: usize, a: &[T], b: &[T], c: &mut [T]) {
    gemm_batched(trans, 1, m, n, k, a, b, c);
}

/// `batch` independent products of [`gemm`] over contiguous blocks of the operands.
///
/// # Panics
/// If a slice has another length than `batch` times its shape.
#[track_caller]
pub fn gemm_batched<T: Real>(
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
    gemm_at(dispatch::level(), trans, batch, m, n, k, a, b, c);
}

/// [`gemm_batched`] at a level.
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
            Product { level, shape: TileShape::of::<T>(level), trans, m, n, k, a, b }.into(c);
        }
    });
}

/// Steps of k in one block: a tile of A of this length fits the first cache beside what
/// streams past it.
const BLOCK_K: usize = 512;
/// Rows in one block of A, which with `BLOCK_K` fills a quarter of a second-level cache.
const BLOCK_M: usize = 128;
/// Columns in one block of B, which with `BLOCK_K` fills a quarter of a third-level cache.
const BLOCK_N: usize = 4096;
/// Pieces that a block is cut into, if it has the size: more than a machine has threads.
const PIECES: usize = 32;

struct Product<'a, T> {
    level: Level,
    shape: TileShape,
    trans: Trans,
    m: usize,
    n: usize,
    k: usize,
    a: &'a [T],
    b: &'a [T],
}

impl<T: Real> Product<'_, T> {
    fn into(self, c: &mut [T]) {
        let Self { level, shape, m, n, k, .. } = self;
        // Rows are cut into tiles, and tiles are grouped into blocks.
        let tiles = Cut::at_most(m, shape.rows);
        let blocks = Cut::at_most(tiles.pieces, BLOCK_M / shape.rows);
        let (cut_n, cut_k) = (Cut::at_most(n, BLOCK_N), Cut::at_most(k, BLOCK_K));
        let b_stays = self.trans != Trans::Nt && m <= 2 * shape.rows;
        let out = SharedMut::new(c);
        for block_n in 0..cut_n.pieces {
            let cols = cut_n.range(block_n);
            let panels = Panels::new(cols.len(), shape);
            let groups =
                Cut::into_pieces(panels.len(), PIECES.div_ceil(blocks.pieces).min(panels.len()));
            for block_k in 0..cut_k.pieces {
                let steps = cut_k.range(block_k);
                let store = if block_k == 0 { Store::Set } else { Store::Add };
                let work = m * cols.len() * steps.len();
                let packed_len =
                    if b_stays { shape.vectors * shape.lanes } else { panels.padded() };
                let mut packed_b = Scratch::<T>::take(packed_len * steps.len());
                let last = panels.get(panels.len() - 1);
                if !b_stays {
                    let parts = SharedMut::new(&mut packed_b);
                    for_each(panels.len(), work, |i| {
                        let panel = panels.get(i);
                        let len = panel.width * steps.len();
                        // SAFETY: each panel has its own part.
                        let to = unsafe { parts.slice(panel.first * steps.len(), len) };
                        self.pack_b(cols.start, panel, steps.clone(), to);
                    });
                } else if last.cols < last.width {
                    let to = &mut packed_b[..last.width * steps.len()];
                    self.pack_b(cols.start, last, steps.clone(), to);
                }
                for_each(blocks.pieces * groups.pieces, work, |piece| {
                    let block = blocks.range(piece / groups.pieces);
                    let first_row = tiles.start(block.start);
                    let rows = tiles.start(block.end) - first_row;
                    let mut packed_a = Scratch::<T>::take(rows * steps.len());
                    for tile in block.clone() {
                        let rows = tiles.range(tile);
                        let start = (rows.start - first_row) * steps.len();
                        let to = &mut packed_a[start..][..rows.len() * steps.len()];
                        self.pack_a(rows, steps.clone(), to);
                    }
                    let segments = [Segment { a: 0, b: 0, len: steps.len() }];
                    for panel in groups.range(piece % groups.pieces) {
                        let panel = panels.get(panel);
                        let (b, b_stride) = if !b_stays {
                            (&packed_b[panel.first * steps.len()..], panel.width)
                        } else if panel.cols < panel.width {
                            (&packed_b[..], panel.width)
                        } else {
                            (&self.b[steps.start * n + cols.start + panel.first..], n)
                        };
                        for tile in block.clone() {
                            let rows = tiles.range(tile);
                            let offset = rows.start * n + cols.start + panel.first;
                            // SAFETY: each piece has its own rows or panels of the output.
                            let c = unsafe { out.window(offset, rows.len(), panel.cols, n) };
                            let a = &packed_a[(rows.start - first_row) * steps.len()..];
                            let (vectors, segments) = (panel.vectors, &segments);
                            dispatch::run(
                                level,
                                Tile { vectors, a, b, b_stride, segments, c, store },
                            );
                        }
                    }
                });
            }
        }
    }

    /// Packs the tile `rows` of `op(A)` as `[steps, rows]`.
    fn pack_a(&self, rows: std::ops::Range<usize>, steps: std::ops::Range<usize>, to: &mut [T]) {
        let width = rows.len();
        match self.trans {
            Trans::Nn | Trans::Nt => {
                let from = &self.a[rows.start * self.k + steps.start..];
                let (stride, rows, steps) = (self.k, rows.len(), steps.len());
                dispatch::run(self.level, Interleave { from, stride, rows, steps, to, width });
            }
            Trans::Tn => {
                let from = &self.a[steps.start * self.m + rows.start..];
                let (stride, cols, steps) = (self.m, rows.len(), steps.len());
                dispatch::run(self.level, CopyRows { from, stride, cols, steps, to, width });
            }
        }
    }

    /// Packs a panel of `op(B)` as `[steps, width]`.
    fn pack_b(&self, col: usize, panel: Panel, steps: std::ops::Range<usize>, to: &mut [T]) {
        let (first, width) = (col + panel.first, panel.width);
        match self.trans {
            Trans::Nn | Trans::Tn => {
                let from = &self.b[steps.start * self.n + first..];
                let (stride, cols, steps) = (self.n, panel.cols, steps.len());
                dispatch::run(self.level, CopyRows { from, stride, cols, steps, to, width });
            }
            Trans::Nt => {
                let from = &self.b[first * self.k + steps.start..];
                let (stride, rows, steps) = (self.k, panel.cols, steps.len());
                dispatch::run(self.level, Interleave { from, stride, rows, steps, to, width });
            }
        }
    }
}

/// The definition of [`gemm`].
#[cfg(test)]
pub(super) fn naive<T: Real>(
    trans: Trans,
    m: usize,
    n: usize,
    k: usize,
    a: &[T],
    b: &[T],
    c: &mut [T],
) {
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
