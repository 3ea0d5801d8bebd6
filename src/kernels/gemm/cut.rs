//! How work is cut: by the size of the problem only, never by the number of threads, so that
//! each number is the result of the same additions whoever computes it.

use std::ops::Range;

use super::pack::Lot;
use crate::kernels::dispatch::RegisterBlock;
use crate::kernels::parallel::each_alone;

/// Multiply-adds below which a piece of work stays on the caller's thread.
pub(in crate::kernels) const SMALL: usize = 1 << 20;

/// `0..len` in consecutive pieces whose lengths differ by at most one.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Cut {
    len: usize,
    pub(in crate::kernels) pieces: usize,
}

impl Cut {
    /// The fewest pieces of at most `most` each.
    #[inline]
    pub(in crate::kernels) fn at_most(len: usize, most: usize) -> Self {
        Self { len, pieces: len.div_ceil(most) }
    }

    /// At most `pieces` pieces, none of them empty.
    #[inline]
    pub(in crate::kernels) fn into_pieces(len: usize, pieces: usize) -> Self {
        Self { len, pieces: pieces.min(len) }
    }

    /// Where piece `i` begins; for `i == pieces`, the end.
    #[inline]
    pub(in crate::kernels) fn start(&self, i: usize) -> usize {
        i * self.len / self.pieces.max(1)
    }

    /// Piece `i`.
    #[inline]
    pub(in crate::kernels) fn range(&self, i: usize) -> Range<usize> {
        self.start(i)..self.start(i + 1)
    }
}

/// The columns of an output in panels of whole registers.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Panels {
    cols: usize,
    lanes: usize,
    cut: Cut,
}

/// One panel: see [`Panels`].
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Panel {
    /// First column.
    pub(in crate::kernels) first: usize,
    /// Columns that exist.
    pub(in crate::kernels) cols: usize,
    /// Registers.
    pub(in crate::kernels) vectors: usize,
    /// Columns with the padding of the last register.
    pub(in crate::kernels) width: usize,
}

impl Panels {
    pub(in crate::kernels) fn new(cols: usize, shape: RegisterBlock) -> Self {
        let cut = Cut::at_most(cols.div_ceil(shape.lanes), shape.vectors);
        Self { cols, lanes: shape.lanes, cut }
    }

    #[inline]
    pub(in crate::kernels) fn count(&self) -> usize {
        self.cut.pieces
    }

    #[inline]
    pub(in crate::kernels) fn get(&self, i: usize) -> Panel {
        let vectors = self.cut.range(i);
        let (first, width) = (vectors.start * self.lanes, vectors.len() * self.lanes);
        Panel { first, cols: width.min(self.cols - first), vectors: vectors.len(), width }
    }

    /// How a range of panels is dealt to consecutive packed panels of `steps` steps each,
    /// from columns counted as the panels count them.
    pub(in crate::kernels) fn lots(&self, range: Range<usize>, steps: usize) -> Vec<Lot> {
        let start = self.get(range.start).first;
        range
            .map(|i| {
                let Panel { first, cols, width, .. } = self.get(i);
                Lot { first, cols, width, to: (first - start) * steps }
            })
            .collect()
    }

    /// The columns of a range of panels with the padding of the last register.
    #[inline]
    pub(in crate::kernels) fn width(&self, range: Range<usize>) -> usize {
        let last = self.get(range.end - 1);
        last.first + last.width - self.get(range.start).first
    }

    /// All columns with the padding of the last register.
    #[inline]
    pub(in crate::kernels) fn padded(&self) -> usize {
        self.cols.next_multiple_of(self.lanes)
    }
}

/// Calls `f` with each piece number, on this thread if `work` (multiply-adds) is small.
pub(in crate::kernels) fn for_each(pieces: usize, work: usize, f: impl Fn(usize) + Sync + Send) {
    if pieces <= 1 || work < SMALL {
        (0..pieces).for_each(f);
    } else {
        each_alone(pieces, &f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_tile_the_whole() {
        for (len, most) in [(0, 3), (1, 3), (9, 8), (128, 8), (100, 7)] {
            let cut = Cut::at_most(len, most);
            let mut end = 0;
            for i in 0..cut.pieces {
                let range = cut.range(i);
                assert_eq!(range.start, end);
                assert!(!range.is_empty() && range.len() <= most);
                end = range.end;
            }
            assert_eq!(end, len);
        }
        let panels = Panels::new(70, RegisterBlock { lanes: 16, rows: 8, vectors: 3 });
        let sizes: Vec<_> = (0..panels.count()).map(|i| panels.get(i).cols).collect();
        assert_eq!((sizes, panels.padded()), (vec![32, 38], 80));
    }
}
