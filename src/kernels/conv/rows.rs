//! Convolutions whose register blocks are neighbouring pixels: for few input channels or images.
//!
//! ```text
//! for each band of output rows of each image, in parallel:
//!     copy its input rows, with zeros on both sides
//!     for each panel of output channels, output row and run of its pixels:
//!         register block [pixels, panel width] = Σ over the kernel rows: input run · weights
//! ```
//!
//! In a row with its padding, what a pixel sees of a kernel row is one run of `KW · C` values,
//! and the next pixel's run begins `stride · C` further on. So the micro-kernel reads both
//! operands where they lie: nothing is unfolded or interleaved. The weight gradient reads the
//! same rows the other way, `KW · C` sums for a kernel row, pixel by pixel.
//!
//! Kernel rows in the padding are left out, columns in the padding are multiplied: that is what
//! [`super::taps`] saves, and why it is the faster one where its register blocks are full.

use std::ops::Range;

use super::Geometry;
use super::weight_grad::in_pieces;
use crate::kernels::Real;
use crate::kernels::dispatch::{self, Level, RegisterBlock};
use crate::kernels::gemm::cut::{Cut, Panels, for_each};
use crate::kernels::gemm::microkernel::{MicroKernel, Segment, SharedMut, Store};
use crate::kernels::gemm::pack::Deal;
use crate::kernels::gemm::scratch::Scratch;

/// Elements of the copied input of a band: a quarter of a second-level cache.
const BAND: usize = 64 * 1024;
/// Elements of the output's gradient in a band, which with its input stays in that cache.
const BAND_G: usize = 64 * 1024;
/// Elements of weights that stay in the first-level cache: half of it.
const FIRST: usize = 4 * 1024;
/// Panels of weights that are packed together.
const PACKED_TOGETHER: usize = 8;
/// Pieces that a weight gradient is cut into, if it has the size.
const PIECES: usize = 32;

/// A convolution and how its images are cut.
struct Rows<'a, T> {
    level: Level,
    geometry: Geometry,
    out: [usize; 2],
    /// Pixels of an input row with its padding, a whole number of strides.
    width: usize,
    /// Output rows of an image.
    bands: Cut,
    x: &'a [T],
}

/// Computes [`super::conv2d`] at a level.
pub(super) fn forward<T: Real>(
    level: Level,
    geometry: &Geometry,
    x: &[T],
    weights: &[T],
    y: &mut [T],
) {
    if y.is_empty() {
        return;
    }
    let Geometry { n, c, kh, kw, o, .. } = *geometry;
    let steps = kh * kw * c;
    let work = y.len() * steps;
    let panels = Panels::new(o, RegisterBlock::of::<T>(level));
    let packed = packed_panels(level, &panels, weights, o, steps, work);
    let problem = Rows::new(level, geometry, x, BAND);
    let out = SharedMut::new(y);
    for_each(n * problem.bands.pieces, work, |piece| {
        problem.forward_band(piece, &panels, &packed, &out);
    });
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
    let row = geometry.out_w() * geometry.o;
    // Input rows are shorter in memory than the gradient's if there are few input channels.
    let input = geometry.stride[0] * (geometry.w + 2 * geometry.padding[1]) * geometry.c;
    let problem = Rows::new(level, geometry, x, BAND.min((BAND_G / row).max(1) * input));
    let panels = Panels::new(geometry.o, RegisterBlock::of::<T>(level));
    let bands = geometry.n * problem.bands.pieces;
    let pieces = Cut::into_pieces(bands, PIECES);
    let work = g.len() * geometry.kh * geometry.kw * geometry.c;
    in_pieces(pieces.pieces, 1, work, dw, |piece, _, sums, offset| {
        for (i, band) in pieces.range(piece).enumerate() {
            let store = if i == 0 { Store::Set } else { Store::Add };
            problem.weight_grad_band(band, &panels, g, store, sums, offset);
        }
    });
}

/// `[steps, channels]` as `[panel][step][width]`.
fn packed_panels<T: Real>(
    level: Level,
    panels: &Panels,
    from: &[T],
    channels: usize,
    steps: usize,
    work: usize,
) -> Scratch<T> {
    let mut packed = Scratch::<T>::take(panels.padded() * steps);
    let parts = SharedMut::new(&mut packed);
    let groups = Cut::at_most(panels.count(), PACKED_TOGETHER);
    for_each(groups.pieces, work, |i| {
        let group = groups.range(i);
        let (first, width) = (panels.get(group.start).first, panels.width(group.clone()));
        // SAFETY: each group of panels has its own part.
        let to = unsafe { parts.slice(first * steps, width * steps) };
        let lots = &panels.lots(group, steps);
        let (stride, first, spread) = (channels, 0, 1);
        dispatch::run(level, Deal { from, stride, steps, lots, first, spread, to });
    });
    packed
}

/// The copied input rows of a band.
struct Band<T: Real> {
    image: usize,
    /// Output rows.
    rows: Range<usize>,
    /// Input rows that are copied, counted from the padding's first.
    sources: Range<usize>,
    values: Scratch<T>,
}

impl<'a, T: Real> Rows<'a, T> {
    /// Cuts the images into bands whose input has at most `band` elements, if they can.
    fn new(level: Level, geometry: &Geometry, x: &'a [T], band: usize) -> Self {
        let Geometry { c, kh, kw, stride, .. } = *geometry;
        let out = [geometry.out_h(), geometry.out_w()];
        let width = ((out[1] - 1) * stride[1] + kw).next_multiple_of(stride[1]);
        let sources = band / (width * c).max(1);
        let rows = (sources.saturating_sub(kh) / stride[0]).max(1);
        Self { level, geometry: *geometry, out, width, bands: Cut::at_most(out[0], rows), x }
    }

    /// Copies the input rows of a band, each with its padding.
    fn band(&self, piece: usize) -> Band<T> {
        let Geometry { h, w, c, kh, stride, padding, .. } = self.geometry;
        let (image, rows) =
            (piece / self.bands.pieces, self.bands.range(piece % self.bands.pieces));
        let sources = rows.start * stride[0]..(rows.end - 1) * stride[0] + kh;
        let sources = sources.start.max(padding[0])..sources.end.min(padding[0] + h);
        let row_len = self.width * c;
        let mut values = Scratch::<T>::take(sources.len() * row_len);
        // The input's columns may end before the padded row does, or the other way round.
        let before = (padding[1] * c).min(row_len);
        let inside = (w * c).min(row_len - before);
        for (source, to) in sources.clone().zip(values.chunks_exact_mut(row_len)) {
            let from = &self.x[(image * h + source - padding[0]) * w * c..];
            to[..before].fill(T::ZERO);
            to[before..before + inside].copy_from_slice(&from[..inside]);
            to[before + inside..].fill(T::ZERO);
        }
        Band { image, rows, sources, values }
    }

    fn forward_band(&self, piece: usize, panels: &Panels, packed: &[T], out: &SharedMut<'_, T>) {
        let Geometry { c, kh, kw, o, stride, .. } = self.geometry;
        let Band { image, rows, sources, values } = self.band(piece);
        let steps = kw * c;
        let runs = Cut::at_most(self.out[1], RegisterBlock::of::<T>(self.level).rows);
        let together =
            Cut::at_most(panels.count(), (FIRST / (panels.get(0).width * kh * steps)).max(1));
        let mut segments = Vec::with_capacity(kh);
        for group in (0..together.pieces).map(|i| together.range(i)) {
            for row in rows.clone() {
                segments.clear();
                for i in (0..kh).filter(|i| sources.contains(&(row * stride[0] + i))) {
                    let a = (row * stride[0] + i - sources.start) * self.width * c;
                    segments.push(Segment { a, b: i * steps, len: steps });
                }
                for run in (0..runs.pieces).map(|i| runs.range(i)) {
                    let pixel = (image * self.out[0] + row) * self.out[1] + run.start;
                    let a = values.get(run.start * stride[1] * c..).unwrap_or_default();
                    for panel in group.clone().map(|i| panels.get(i)) {
                        let b = &packed[panel.first * kh * steps..][..panel.width * kh * steps];
                        let start = pixel * o + panel.first;
                        // SAFETY: each band has its own rows of the output.
                        let c_ = unsafe { out.window(start, run.len(), panel.cols, o) };
                        let (vectors, b_stride) = (panel.vectors, panel.width);
                        let (a_strides, c, store) = ([stride[1] * c, 1], c_, Store::Set);
                        let segments = &segments[..];
                        dispatch::run(
                            self.level,
                            MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store },
                        );
                    }
                }
            }
        }
    }

    /// Adds the terms of a band to the sums that begin at `offset`.
    fn weight_grad_band(
        &self,
        piece: usize,
        panels: &Panels,
        g: &[T],
        store: Store,
        sums: &SharedMut<'_, T>,
        offset: usize,
    ) {
        let Geometry { c, kh, kw, o, stride, .. } = self.geometry;
        let Band { image, rows, sources, values } = self.band(piece);
        let pixels = rows.len() * self.out[1];
        let g = &g[(image * self.out[0] + rows.start) * self.out[1] * o..][..pixels * o];
        // Whole registers can be read where they lie.
        let ragged = panels.padded() > o;
        let packed = ragged.then(|| packed_panels(self.level, panels, g, o, pixels, 0));
        let blocks = Cut::at_most(kw * c, RegisterBlock::of::<T>(self.level).rows);
        for i in 0..kh {
            let mut segments = Vec::with_capacity(rows.len());
            for row in rows.clone().filter(|row| sources.contains(&(row * stride[0] + i))) {
                let a = (row * stride[0] + i - sources.start) * (self.width / stride[1]);
                let b = (row - rows.start) * self.out[1];
                segments.push(Segment { a, b, len: self.out[1] });
            }
            if segments.is_empty() && store == Store::Add {
                continue;
            }
            for panel in (0..panels.count()).map(|i| panels.get(i)) {
                let (b, b_stride) = match &packed {
                    Some(packed) => (&packed[panel.first * pixels..], panel.width),
                    None => (&g[panel.first..], o),
                };
                for block in (0..blocks.pieces).map(|i| blocks.range(i)) {
                    let start = offset + (i * kw * c + block.start) * o + panel.first;
                    // SAFETY: each piece has its own sums.
                    let c_ = unsafe { sums.window(start, block.len(), panel.cols, o) };
                    let a = values.get(block.start..).unwrap_or_default();
                    let (vectors, segments) = (panel.vectors, &segments[..]);
                    let (a_strides, c) = ([1, stride[1] * c], c_);
                    dispatch::run(
                        self.level,
                        MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store },
                    );
                }
            }
        }
    }
}
