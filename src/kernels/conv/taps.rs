//! Convolution and its input gradient as products of packed panels: implicit GEMM.
//!
//! ```text
//! pack the weights as [panel][tap row][tap column][source channel][panel width]
//! for each block of images, for each band of target rows, in parallel:
//!     pack the source rows of the band as [row][column][channel][image]
//!     for each panel, for each target pixel of the band:
//!         register block [images, panel width] = Σ over the taps inside the image
//! ```
//!
//! The rows of a block are the same pixel of several images, so that all rows share their taps:
//! 1. Each source value is packed once (and once more where bands overlap), not once for each
//!    tap; no patch matrix exists.
//! 2. Taps in the padding are not multiplied: 4, 8, 16, 31 % of a 3×3 kernel's at sides 32, 16,
//!    8, 4.
//! 3. The taps of one kernel row are consecutive in both operands, so that three channels make
//!    runs of nine steps.
//! 4. The input gradient is the same loop with other tables ([`Axis::adjoint`]): a stride
//!    leaves taps out and inserts no zeros.
//!
//! Known limits: blocks are as tall as there are images, so one image alone runs at a fraction of
//! the speed; fewer target channels than one register holds leave lanes idle.

use std::ops::Range;

use super::axis::{Axis, Run, slots};
use crate::kernels::Real;
use crate::kernels::dispatch::{self, Level, RegisterBlock};
use crate::kernels::gemm::cut::{Cut, Panels, for_each};
use crate::kernels::gemm::microkernel::{MicroKernel, Segment, SharedMut, Store};
use crate::kernels::gemm::pack::{Deal, Interleave};
use crate::kernels::gemm::scratch::Scratch;

/// Panels of weights that are packed together, so that whole pages are read.
const PACKED_TOGETHER: usize = 8;
/// Elements of packed source in one band: half of a second-level cache.
const BAND: usize = 128 * 1024;
/// Steps of the long inner dimension whose panel shares the second-level cache with a band.
const PASS: usize = 2304;
/// Pieces that the work is cut into, if it has the size.
const PIECES: usize = 32;

/// Which way the weights `[tap, C, O]` are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From `C` source channels to `O` target channels.
    Forward,
    /// From `O` source channels to `C` target channels.
    Adjoint,
}

/// The sizes of one sum over taps, from `source [N, H, W, C]` to `target [N, H', W', C']`.
pub(super) struct TapSum<'a, T> {
    pub(super) level: Level,
    pub(super) direction: Direction,
    pub(super) images: usize,
    /// Height, width and channels of the source.
    pub(super) from: [usize; 3],
    /// Channels of the target.
    pub(super) channels: usize,
    pub(super) rows: Axis,
    pub(super) cols: Axis,
    pub(super) source: &'a [T],
    pub(super) weights: &'a [T],
}

impl<T: Real> TapSum<'_, T> {
    /// Computes the whole target.
    pub(super) fn compute(self, target: &mut [T]) {
        let shape = RegisterBlock::of::<T>(self.level);
        let (rows, cols) = (self.rows.runs.len(), self.cols.runs.len());
        let panels = Panels::new(self.channels, shape);
        let steps = self.rows.order.len() * self.cols.order.len() * self.from[2];
        let work = target.len() * steps;

        let mut packed = Scratch::<T>::take(panels.padded() * steps);
        let parts = SharedMut::new(&mut packed);
        let packed_groups = Cut::at_most(panels.count(), PACKED_TOGETHER);
        for_each(packed_groups.pieces, work, |i| {
            let group = packed_groups.range(i);
            let (first, width) = (panels.get(group.start).first, panels.width(group.clone()));
            // SAFETY: each group of panels has its own part.
            let to = unsafe { parts.slice(first * steps, width * steps) };
            self.pack_weights(&panels, group, to);
        });

        let columns = self.cols.sources(0, cols);
        let images = Cut::at_most(self.images, shape.rows);
        // A band of b target rows sees about b · H/H' + KH source rows, of this size each.
        let row_len = columns.len() * self.from[2] * shape.rows;
        let source_rows = (BAND / row_len.max(1)).saturating_sub(self.rows.order.len()).max(1);
        let bands = Cut::at_most(rows, (source_rows * rows / self.from[0].max(1)).max(1));
        let pieces = images.pieces * bands.pieces;
        let groups = Cut::into_pieces(panels.count(), PIECES.div_ceil(pieces.max(1)));
        let band = Bands { panels, columns, slots: Vec::new(), steps, packed: &packed };
        let band = Bands { slots: slots(&band.columns), ..band };
        let out = SharedMut::new(target);
        for_each(pieces * groups.pieces, work, |piece| {
            let (piece, group) = (piece / groups.pieces, piece % groups.pieces);
            let images = images.range(piece / bands.pieces);
            let rows = bands.range(piece % bands.pieces);
            self.band(&band, images, rows, groups.range(group), &out);
        });
    }

    /// Packs the weights of a group of panels as `[panel][tap][source channel][width]`.
    fn pack_weights(&self, panels: &Panels, group: Range<usize>, to: &mut [T]) {
        let (steps, taps) = (self.from[2], self.cols.order.len());
        let all_steps = steps * taps * self.rows.order.len();
        let lots = &panels.lots(group, all_steps);
        // Steps of earlier taps.
        let mut first = 0;
        for i in &self.rows.order {
            for j in &self.cols.order {
                let from = &self.weights[(i * taps + j) * steps * self.channels..];
                match self.direction {
                    Direction::Forward => {
                        let (stride, spread, to) = (self.channels, 1, &mut to[..]);
                        let deal = Deal { from, stride, steps, lots, first, spread, to };
                        dispatch::run(self.level, deal);
                    }
                    Direction::Adjoint => {
                        for lot in lots {
                            let (stride, rows, width) = (steps, lot.cols, lot.width);
                            let from = &from[lot.first * steps..];
                            let to = &mut to[lot.to + first * width..][..width * steps];
                            dispatch::run(
                                self.level,
                                Interleave { from, stride, rows, steps, to, width },
                            );
                        }
                    }
                }
                first += steps;
            }
        }
    }

    /// Computes the target rows `rows` of the images `images` in the panels `group`.
    fn band(
        &self,
        shared: &Bands<'_, T>,
        images: Range<usize>,
        rows: Range<usize>,
        group: Range<usize>,
        out: &SharedMut<'_, T>,
    ) {
        let [height, width, channels] = self.from;
        let (n, cols) = (images.len(), self.cols.runs.len());
        let sources = self.rows.sources(rows.start, rows.end);
        let row_slots = slots(&sources);
        let row_len = shared.columns.len() * channels;
        let mut band = Scratch::<T>::take(sources.len() * row_len * n);
        for (slot, row) in sources.iter().enumerate() {
            let from = &self.source[(images.start * height + row) * width * channels..];
            let to = &mut band[slot * row_len * n..][..row_len * n];
            self.pack_row(from, n, &shared.columns, to);
        }
        let image_len = self.rows.runs.len() * cols * self.channels;
        let taps = self.cols.order.len();
        // Kernel rows that go together: a panel of all of them may be larger than the cache.
        let pass_rows = (PASS / (taps * channels).max(1)).max(1);
        let passes = Cut::at_most(self.rows.order.len(), pass_rows);
        let mut segments = Vec::with_capacity(self.rows.order.len());
        for pass in 0..passes.pieces {
            let tap_rows = passes.range(pass);
            let store = if pass == 0 { Store::Set } else { Store::Add };
            for panel in group.clone() {
                let panel = shared.panels.get(panel);
                let b = &shared.packed[panel.first * shared.steps..][..panel.width * shared.steps];
                for row in rows.clone() {
                    let Run { source, tap, len } = self.rows.runs[row];
                    for col in 0..cols {
                        let across = self.cols.runs[col];
                        segments.clear();
                        for i in (0..len).filter(|i| tap_rows.contains(&(tap + i))) {
                            if across.len == 0 {
                                break;
                            }
                            let slot = row_slots[source + i] * shared.columns.len()
                                + shared.slots[across.source];
                            segments.push(Segment {
                                a: slot * channels,
                                b: ((tap + i) * taps + across.tap) * channels,
                                len: across.len * channels,
                            });
                        }
                        if segments.is_empty() && store == Store::Add {
                            continue;
                        }
                        let pixel = row * cols + col;
                        let offset = images.start * image_len + pixel * self.channels + panel.first;
                        // SAFETY: each piece has its own images, rows or panels of the target.
                        let c = unsafe { out.window(offset, n, panel.cols, image_len) };
                        let (a, segments) = (&band[..], &segments[..]);
                        let (vectors, b_stride) = (panel.vectors, panel.width);
                        let a_strides = [1, n];
                        dispatch::run(
                            self.level,
                            MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store },
                        );
                    }
                }
            }
        }
    }

    /// Packs one row of `n` images as `[column, channel, image]`; `from` begins at the first.
    fn pack_row(&self, from: &[T], n: usize, columns: &[usize], to: &mut [T]) {
        let [height, width, channels] = self.from;
        let mut start = 0;
        // Neighbouring columns go in one piece.
        for run in columns.chunk_by(|a, b| a + 1 == *b) {
            let from = &from[run[0] * channels..];
            let steps = run.len() * channels;
            let to = &mut to[start * n..][..steps * n];
            start += steps;
            let (stride, rows, width) = (height * width * channels, n, n);
            dispatch::run(self.level, Interleave { from, stride, rows, steps, to, width });
        }
    }
}

/// What all pieces of one sum share.
struct Bands<'a, T> {
    panels: Panels,
    /// Source columns that some target sees.
    columns: Vec<usize>,
    /// Where a source column stands among them.
    slots: Vec<usize>,
    /// Steps in a panel of the packed weights.
    steps: usize,
    packed: &'a [T],
}
