//! The weight gradient of a convolution: a product with a long inner dimension.
//!
//! ```text
//! for each piece of the pixels, each group of input and of output channels, in parallel:
//!     for each chunk of the piece (some images, some output rows):
//!         pack x as [channel block][row][column][image][channel]
//!         pack g as [panel][row][column][image][panel width]
//!         for each panel, tap and channel block:
//!             block [channels, panel width] += Σ over the pixels whose tap is inside the image
//! add the pieces in order
//! ```
//!
//! Both operands are copied without transposing, each value once for all taps of a chunk. What
//! the code adds:
//! 1. Images lie innermost and columns are sorted by their class modulo the stride, so that a
//!    tap sees one run for each row of pixels, at least as long as there are images.
//! 2. Few channels (a first layer's) are unfolded along the kernel row while they are packed:
//!    three channels and three taps make register blocks of nine rows.
//! 3. The number of pieces depends on the sizes only; their sums are added in a fixed order.

use std::ops::Range;

use super::Geometry;
use super::axis::{Axis, slots};
use crate::kernels::Real;
use crate::kernels::dispatch::{self, Level, RegisterBlock};
use crate::kernels::gemm::cut::{Cut, Panels, for_each};
use crate::kernels::gemm::microkernel::{MicroKernel, Segment, SharedMut, Store};
use crate::kernels::gemm::pack::{Deal, Lot};
use crate::kernels::gemm::scratch::Scratch;

/// Least length of a run of pixels, if there are as many images.
const RUN: usize = 16;
/// Pixels in a chunk, so that a panel of them stays in the caches.
const PIXELS: usize = 1024;
/// Input channels in a group.
const GROUP_C: usize = 128;
/// Products of taps and output channels in a group: each packed input value serves as many.
const GROUP_O: usize = 9 * 64;
/// Pieces that the work is cut into, if it has the size.
const PIECES: usize = 32;

/// The problem and how it is cut.
struct WeightGrad<'a, T> {
    level: Level,
    geometry: Geometry,
    out: [usize; 2],
    /// Taps of a kernel row that have their own blocks; 1 if they are unfolded into channels.
    taps: usize,
    /// Channels of the packed input: those of all taps of a row if they are unfolded.
    channels: usize,
    rows: Axis,
    cols: Axis,
    /// Packed columns, in order, and where each column stands.
    columns: Vec<usize>,
    column_slots: Vec<usize>,
    images: Cut,
    bands: Cut,
    blocks: Cut,
    panels: Panels,
    x: &'a [T],
    g: &'a [T],
}

/// Computes [`super::conv2d_weight_grad`] at a level.
pub(super) fn weight_grad<T: Real>(
    level: Level,
    geometry: &Geometry,
    x: &[T],
    g: &[T],
    dw: &mut [T],
) {
    if g.is_empty() || dw.is_empty() {
        return dw.fill(T::ZERO);
    }
    let shape = RegisterBlock::of::<T>(level);
    let Geometry { n, h, w, c, kh, kw, o, stride, padding, .. } = *geometry;
    let out = [geometry.out_h(), geometry.out_w()];
    let unfolded = c < shape.rows && kw > 1;
    let (taps, channels) = if unfolded { (1, kw * c) } else { (kw, c) };
    let rows = Axis::forward(h, out[0], kh, stride[0], padding[0]);
    let cols = Axis::forward(w, out[1], kw, stride[1], padding[1]);
    let mut columns = cols.sources(0, out[1]);
    columns.sort_by_key(|col| ((col + padding[1]) % stride[1], *col));
    let images = Cut::at_most(n, RUN.div_ceil(out[1]).max(PIXELS / (out[0] * out[1])));
    let band = (PIXELS / (out[1] * images.range(0).len())).max(1);
    let problem = WeightGrad {
        level,
        geometry: *geometry,
        out,
        taps,
        channels,
        rows,
        cols,
        column_slots: slots(&columns),
        columns,
        images,
        bands: Cut::at_most(out[0], band),
        blocks: Cut::at_most(channels, shape.rows),
        panels: Panels::new(o, shape),
        x,
        g,
    };
    problem.compute(dw);
}

impl<T: Real> WeightGrad<'_, T> {
    fn compute(self, dw: &mut [T]) {
        let work = self.g.len() * self.geometry.kh * self.geometry.kw * self.geometry.c;
        let groups_o = Cut::into_pieces(
            self.panels.count(),
            (self.taps * self.geometry.kh * self.geometry.o).div_ceil(GROUP_O),
        );
        let groups_c = Cut::into_pieces(self.blocks.pieces, self.channels.div_ceil(GROUP_C));
        let groups = groups_o.pieces * groups_c.pieces;
        let chunks = self.images.pieces * self.bands.pieces;
        let pieces = Cut::into_pieces(chunks, PIECES.div_ceil(groups));
        in_pieces(pieces.pieces, groups, work, dw, |piece, group, sums, offset| {
            let blocks = groups_c.range(group / groups_o.pieces);
            let panels = groups_o.range(group % groups_o.pieces);
            for (i, chunk) in pieces.range(piece).enumerate() {
                let store = if i == 0 { Store::Set } else { Store::Add };
                self.chunk(chunk, blocks.clone(), panels.clone(), store, sums, offset);
            }
        });
    }

    /// Whether the taps of a kernel row are channels of the packed input.
    fn unfolded(&self) -> bool {
        self.taps < self.geometry.kw
    }

    /// Adds the terms of one chunk to the sums that begin at `offset`.
    fn chunk(
        &self,
        chunk: usize,
        blocks: Range<usize>,
        panels: Range<usize>,
        store: Store,
        sums: &SharedMut<'_, T>,
        offset: usize,
    ) {
        let Geometry { kh, o, .. } = self.geometry;
        let images = self.images.range(chunk / self.bands.pieces);
        let band = self.bands.range(chunk % self.bands.pieces);
        let sources = self.rows.sources(band.start, band.end);
        let slots = slots(&sources);
        let columns = if self.unfolded() { self.out[1] } else { self.columns.len() };
        let x_steps = sources.len() * columns * images.len();
        let g_steps = band.len() * self.out[1] * images.len();
        let first_channel = self.blocks.start(blocks.start);
        let channels = self.blocks.start(blocks.end) - first_channel;
        let mut x = Scratch::<T>::take(x_steps * channels);
        let lot = |block: usize| {
            let Range { start: first, end } = self.blocks.range(block);
            let to = (first - first_channel) * x_steps;
            Lot { first, cols: end - first, width: end - first, to }
        };
        let lots: &Vec<_> = &blocks.clone().map(lot).collect();
        if self.unfolded() {
            self.pack_x_unfolded(images.clone(), &sources, lots, &mut x);
        } else {
            self.pack_x(images.clone(), &sources, lots, &mut x);
        }
        let first_column = self.panels.get(panels.start).first;
        let mut g = Scratch::<T>::take(self.panels.width(panels.clone()) * g_steps);
        let lots = &self.panels.lots(panels.clone(), g_steps);
        self.pack_g(images.clone(), band.clone(), lots, &mut g);
        let segments: Vec<Vec<Segment>> = (0..kh * self.taps)
            .map(|tap| self.segments(tap, images.len(), band.clone(), &slots, columns))
            .collect();
        for panel in panels {
            let panel = self.panels.get(panel);
            let b = &g[(panel.first - first_column) * g_steps..][..panel.width * g_steps];
            for (tap, segments) in segments.iter().enumerate() {
                if segments.is_empty() && store == Store::Add {
                    continue;
                }
                for block in blocks.clone() {
                    let rows = self.blocks.range(block);
                    let a = &x[(rows.start - first_channel) * x_steps..][..rows.len() * x_steps];
                    let start = offset + (tap * self.channels + rows.start) * o + panel.first;
                    // SAFETY: each piece has its own sums, and each group its own channels.
                    let c = unsafe { sums.window(start, rows.len(), panel.cols, o) };
                    let (vectors, b_stride) = (panel.vectors, panel.width);
                    let a_strides = [1, rows.len()];
                    dispatch::run(
                        self.level,
                        MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store },
                    );
                }
            }
        }
    }

    /// The pixels of a band whose tap is inside the image, as runs of steps.
    fn segments(
        &self,
        tap: usize,
        images: usize,
        band: Range<usize>,
        slots: &[usize],
        columns: usize,
    ) -> Vec<Segment> {
        let (i, j) = (tap / self.taps, tap % self.taps);
        let mut segments: Vec<Segment> = Vec::new();
        for row in band.clone() {
            let run = self.rows.runs[row];
            if !(run.tap..run.tap + run.len).contains(&i) {
                continue;
            }
            let slot = slots[run.source + i - run.tap];
            for col in 0..self.out[1] {
                let column = if self.unfolded() {
                    col
                } else {
                    let run = self.cols.runs[col];
                    if !(run.tap..run.tap + run.len).contains(&j) {
                        continue;
                    }
                    self.column_slots[run.source + j - run.tap]
                };
                let a = (slot * columns + column) * images;
                let b = ((row - band.start) * self.out[1] + col) * images;
                match segments.last_mut() {
                    Some(last) if (last.a + last.len, last.b + last.len) == (a, b) => {
                        last.len += images;
                    }
                    _ => segments.push(Segment { a, b, len: images }),
                }
            }
        }
        segments
    }

    /// Packs blocks of channels of the input as `[row, column, image, channel]`.
    fn pack_x(&self, images: Range<usize>, rows: &[usize], lots: &[Lot], to: &mut [T]) {
        let Geometry { h, w, c, stride, .. } = self.geometry;
        let spread = images.len();
        for (slot, row) in rows.iter().enumerate() {
            for (i, image) in images.clone().enumerate() {
                let line = &self.x[(image * h + row) * w * c..][..w * c];
                let mut column = slot * self.columns.len();
                // The columns of one class; the next class finds the line in the first cache.
                for run in self.columns.chunk_by(|a, b| a + stride[1] == *b) {
                    let (from, stride, steps) = (&line[run[0] * c..], stride[1] * c, run.len());
                    let (first, to) = (column * spread + i, &mut to[..]);
                    let deal = Deal { from, stride, steps, lots, first, spread, to };
                    dispatch::run(self.level, deal);
                    column += run.len();
                }
            }
        }
    }

    /// The same for the channels of all taps of a kernel row, at each output column.
    fn pack_x_unfolded(&self, images: Range<usize>, rows: &[usize], lots: &[Lot], to: &mut [T]) {
        let Geometry { h, w, c, stride, padding, .. } = self.geometry;
        for lot in lots {
            let mut to = to[lot.to..].chunks_exact_mut(lot.width);
            for row in rows {
                for col in 0..self.out[1] {
                    // The unfolded channels would be consecutive in an image with its padding.
                    let (start, pad) = (col * stride[1] * c + lot.first, padding[1] * c);
                    for image in images.clone() {
                        let line = &self.x[(image * h + row) * w * c..][..w * c];
                        let to = to.next().expect("a chunk for each pixel");
                        if start >= pad && start - pad + lot.cols <= line.len() {
                            let from = &line[start - pad..][..lot.cols];
                            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                            continue;
                        }
                        for (i, to) in to.iter_mut().enumerate() {
                            let inside = (start + i).checked_sub(pad).and_then(|at| line.get(at));
                            *to = inside.copied().unwrap_or(T::ZERO);
                        }
                    }
                }
            }
        }
    }

    /// Packs panels of the output's gradient as `[row, column, image, width]`.
    fn pack_g(&self, images: Range<usize>, band: Range<usize>, lots: &[Lot], to: &mut [T]) {
        let ([h, w], o, spread) = (self.out, self.geometry.o, images.len());
        for (slot, row) in band.enumerate() {
            for (i, image) in images.clone().enumerate() {
                let (from, stride, steps) = (&self.g[(image * h + row) * w * o..], o, w);
                let (first, to) = (slot * w * spread + i, &mut to[..]);
                let deal = Deal { from, stride, steps, lots, first, spread, to };
                dispatch::run(self.level, deal);
            }
        }
    }
}

/// Computes a gradient as the sum of `pieces` gradients, each made of `groups` parts.
///
/// `part(piece, group, sums, offset)` writes its part of the gradient that begins at `offset`
/// of `sums`. The pieces are added in order.
pub(super) fn in_pieces<T: Real>(
    pieces: usize,
    groups: usize,
    work: usize,
    dw: &mut [T],
    part: impl Fn(usize, usize, &SharedMut<'_, T>, usize) + Sync,
) {
    if pieces == 1 {
        let sums = SharedMut::new(dw);
        return for_each(groups, work, |group| part(0, group, &sums, 0));
    }
    let len = dw.len();
    let mut partial = Scratch::<T>::take(pieces * len);
    let sums = SharedMut::new(&mut partial);
    for_each(pieces * groups, work, |i| {
        let (piece, group) = (i / groups, i % groups);
        part(piece, group, &sums, piece * len);
    });
    let (cut, total) = (Cut::at_most(len, 4096), SharedMut::new(dw));
    for_each(cut.pieces, pieces * len, |i| {
        let range = cut.range(i);
        // SAFETY: each part of the output belongs to one call.
        let total = unsafe { total.slice(range.start, range.len()) };
        total.copy_from_slice(&partial[range.clone()]);
        for piece in 1..pieces {
            let part = &partial[piece * len + range.start..][..range.len()];
            total.iter_mut().zip(part).for_each(|(total, part)| *total += *part);
        }
    });
}
