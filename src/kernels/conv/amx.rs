//! Convolutions by the processor's tile registers: operands rounded to bf16, sums in f32.
//!
//! ```text
//! pack the weights as [panel of 32 target channels][tap][32 source channels]
//! pack the source as [block of 32 images][row][column][32 source channels]
//! for each block of images, for each band of target rows, in parallel:
//!     for each panel, for each target pixel of the band:
//!         tile register [32 images, 32 channels] = Σ over the taps inside the image
//! ```
//!
//! As in [`taps`](super::taps) the rows of a register are the same pixel of several images:
//! padding is not multiplied, a stride leaves taps out, and the input gradient is the same loop.
//! For the weights' gradient the images are the steps of the products, and the rows of a register
//! are source channels.
//!
//! Known limits: a block has room for 32 images and 32 channels, whether they exist or not.

use std::ops::Range;

use super::axis::Run;
use super::taps::{Direction, TapSum};
use super::{Geometry, Path};
use crate::kernels::Real;
use crate::kernels::amx::{BLOCK, PAIR, Packed, interleave, pack_rows, put, turn_pair};
use crate::kernels::arch::STEPS;
use crate::kernels::arch::amx::TileRegisters;
use crate::kernels::bf16::Bf16;
use crate::kernels::gemm::cut::{Cut, for_each};
use crate::kernels::gemm::microkernel::SharedMut;
use crate::kernels::gemm::scratch::Scratch;

/// Pieces that the work is cut into, if it has the size.
const PIECES: usize = 32;
/// Target pixels whose operands stay in the second-level cache while all taps read them.
const BAND: usize = 128;

impl<T: Real> TapSum<'_, T> {
    /// Computes the whole target by one of two paths.
    pub(super) fn along(self, path: Path, target: &mut [T]) {
        if path == Path::Taps {
            return self.compute(target);
        }
        let Self { level, direction, images, from, channels, rows, cols, source, weights } = self;
        let numbers = T::singles(source).zip(T::singles(weights)).zip(T::singles_mut(target));
        let ((source, weights), target) = numbers.expect("AMX is for f32");
        TapSum { level, direction, images, from, channels, rows, cols, source, weights }
            .compute_by_amx(target);
    }
}

impl TapSum<'_, f32> {
    /// Computes the whole target by tile registers.
    pub(super) fn compute_by_amx(self, target: &mut [f32]) {
        let [height, width, channels] = self.from;
        let rows = self.rows.runs.len();
        let (blocks, steps) = (self.images.div_ceil(BLOCK), channels.div_ceil(STEPS));
        let panels = self.channels.div_ceil(BLOCK);
        let panel_len = self.rows.order.len() * self.cols.order.len() * steps;
        let work = target.len() * panel_len * STEPS;

        let mut weights = Packed::take(panels * panel_len * PAIR);
        let to = weights.shared();
        for_each(panels, work, |panel| {
            // SAFETY: each panel has its own part.
            let to = unsafe { to.slice(panel * panel_len * PAIR, panel_len * PAIR) };
            self.pack_panel(panel, to);
        });
        let mut source = Packed::take(blocks * height * width * steps * PAIR);
        let to = source.shared();
        let row_len = width * steps * PAIR;
        for_each(blocks * height, work, |i| {
            let (block, row) = (i / height, i % height);
            // SAFETY: each row of each block has its own part.
            let to = unsafe { to.slice(i * row_len, row_len) };
            let first = block * BLOCK;
            let from = &self.source[(first * height + row) * width * channels..];
            let images = (self.images - first).min(BLOCK);
            pack_rows(from, height * width * channels, images, width, channels, to);
        });
        let bands = Cut::into_pieces(rows, PIECES.div_ceil(blocks.max(1)));
        let out = SharedMut::new(target);
        for_each(blocks * bands.pieces, work, |piece| {
            let band = bands.range(piece % bands.pieces);
            self.band_by_amx(piece / bands.pieces, band, &source, &weights, &out);
        });
    }

    /// Packs the weights of 32 target channels as `[tap][32 source channels]`: pairs of source
    /// channels beside each other.
    fn pack_panel(&self, panel: usize, to: &mut [Bf16]) {
        let (steps, taps) = (self.from[2], self.cols.order.len());
        let first = panel * BLOCK;
        let columns = (self.channels - first).min(BLOCK);
        let tap_len = steps.div_ceil(STEPS) * PAIR;
        for (row, i) in self.rows.order.iter().enumerate() {
            for (col, j) in self.cols.order.iter().enumerate() {
                let from = &self.weights[(i * taps + j) * steps * self.channels..];
                let to = &mut to[(row * taps + col) * tap_len..][..tap_len];
                if self.direction == Direction::Adjoint {
                    pack_rows(&from[first * steps..], steps, columns, 1, steps, to);
                    to.chunks_exact_mut(PAIR).for_each(turn_pair);
                    continue;
                }
                for (block, to) in to.chunks_exact_mut(PAIR).enumerate() {
                    let from = &from[block * STEPS * self.channels + first..];
                    let n = (steps - block * STEPS).min(STEPS);
                    interleave(from, self.channels, n, columns, to);
                }
            }
        }
    }

    /// Computes the target rows `rows` of a block of images.
    fn band_by_amx(
        &self,
        block: usize,
        rows: Range<usize>,
        source: &Packed,
        weights: &Packed,
        out: &SharedMut<'_, f32>,
    ) {
        let [height, width, channels] = self.from;
        let (cols, taps) = (self.cols.runs.len(), self.cols.order.len());
        let steps = channels.div_ceil(STEPS);
        let panel_len = self.rows.order.len() * taps * steps;
        let first = block * BLOCK;
        let images = (self.images - first).min(BLOCK);
        let image_len = self.rows.runs.len() * cols * self.channels;
        let mut registers = TileRegisters::new();
        for panel in 0..self.channels.div_ceil(BLOCK) {
            let columns = (self.channels - panel * BLOCK).min(BLOCK);
            for row in rows.clone() {
                let Run { source: from, tap, len } = self.rows.runs[row];
                for col in 0..cols {
                    let across = self.cols.runs[col];
                    registers.clear();
                    for i in 0..len {
                        let a = ((block * height + from + i) * width + across.source) * steps;
                        let b = panel * panel_len + ((tap + i) * taps + across.tap) * steps;
                        for k in 0..across.len * steps {
                            // SAFETY: runs stay inside the source, and taps inside the panel.
                            unsafe {
                                registers.add_product(source.pair(a + k), weights.pair(b + k))
                            };
                        }
                    }
                    let offset = first * image_len + (row * cols + col) * self.channels;
                    let offset = offset + panel * BLOCK;
                    // SAFETY: each piece has its own images and rows of the target.
                    unsafe { put(&mut registers, out, offset, [images, columns], image_len) };
                }
            }
        }
    }
}

/// The weights' gradient: for each tap `dw[c, o] = Σ x[n, at the tap, c] g[n, h, w, o]`.
pub(super) fn weight_grad(geometry: &Geometry, x: &[f32], g: &[f32], dw: &mut [f32]) {
    let Geometry { n, h, w, c, kh, kw, o, .. } = *geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let work = g.len() * kh * kw * c;
    let blocks = n.div_ceil(BLOCK);
    let sources = pack_images(x, n, [h, w, c], Turn::Rows, work);
    let targets = pack_images(g, n, [out_h, out_w, o], Turn::Steps, work);
    let [panels_c, panels_o] = [c, o].map(|channels| channels.div_ceil(BLOCK));
    let pairs = panels_c * panels_o;
    let square = BLOCK * BLOCK;
    let chunks = Cut::into_pieces(blocks, PIECES.div_ceil(pairs.max(1)));
    let mut partial = Scratch::<f32>::take(chunks.pieces * pairs * kh * kw * square);
    let to = SharedMut::new(&mut partial);
    for_each(chunks.pieces * pairs, work, |piece| {
        let (chunk, pair) = (piece / pairs, piece % pairs);
        // SAFETY: each piece has its own part.
        let sums = unsafe { to.slice(piece * kh * kw * square, kh * kw * square) };
        let panels = [pair / panels_o, pair % panels_o];
        sum_taps(geometry, chunks.range(chunk), panels, [&sources, &targets], sums);
    });
    // The parts of the images in order, whoever summed them.
    let (out, partial) = (SharedMut::new(dw), &partial[..]);
    for_each(pairs * kh * kw, work, |i| {
        let (pair, tap) = (i / (kh * kw), i % (kh * kw));
        let [first_c, first_o] = [pair / panels_o, pair % panels_o].map(|panel| panel * BLOCK);
        for row in 0..(c - first_c).min(BLOCK) {
            let at = (tap * c + first_c + row) * o + first_o;
            // SAFETY: each pair and tap has its own part of the rows.
            let to = unsafe { out.slice(at, (o - first_o).min(BLOCK)) };
            to.fill(0.0);
            for chunk in 0..chunks.pieces {
                let from = (chunk * pairs * kh * kw + i) * square + row * BLOCK;
                to.iter_mut().zip(&partial[from..]).for_each(|(to, &part)| *to += part);
            }
        }
    });
}

/// The sums over some blocks of images for one panel of source channels and one of target
/// channels, `[tap][32][32]`.
fn sum_taps(
    geometry: &Geometry,
    blocks: Range<usize>,
    panels: [usize; 2],
    [sources, targets]: [&Packed; 2],
    sums: &mut [f32],
) {
    let Geometry { h, w, c, kw, o, stride, padding, .. } = *geometry;
    let (out_h, out_w) = (geometry.out_h(), geometry.out_w());
    let [panels_c, panels_o] = [c, o].map(|channels| channels.div_ceil(BLOCK));
    sums.fill(0.0);
    let mut registers = TileRegisters::new();
    let bands = Cut::at_most(out_h, (BAND / out_w.max(1)).max(1));
    for block in blocks {
        for band in (0..bands.pieces).map(|i| bands.range(i)) {
            for (tap, sums) in sums.chunks_exact_mut(BLOCK * BLOCK).enumerate() {
                let (i, j) = (tap / kw, tap % kw);
                let rows = inside(band.clone(), i, stride[0], padding[0], h);
                let cols = inside(0..out_w, j, stride[1], padding[1], w);
                if rows.is_empty() || cols.is_empty() {
                    continue;
                }
                // SAFETY: the sums of a tap are 32 rows of 32 numbers.
                unsafe { registers.load(sums.as_ptr(), BLOCK) };
                for row in rows {
                    let from = (block * h + row * stride[0] + i - padding[0]) * w;
                    for col in cols.clone() {
                        let a = (from + col * stride[1] + j - padding[1]) * panels_c + panels[0];
                        let b = ((block * out_h + row) * out_w + col) * panels_o + panels[1];
                        // SAFETY: both pixels are inside their images.
                        unsafe { registers.add_product(sources.pair(a), targets.pair(b)) };
                    }
                }
                // SAFETY: as above.
                unsafe { registers.store(sums.as_mut_ptr(), BLOCK) };
            }
        }
    }
}

/// Those of `targets` at which tap `tap` sees one of `len` sources.
fn inside(
    targets: Range<usize>,
    tap: usize,
    stride: usize,
    padding: usize,
    len: usize,
) -> Range<usize> {
    let start = padding.saturating_sub(tap).div_ceil(stride).max(targets.start);
    let end = (len + padding).saturating_sub(tap).div_ceil(stride).min(targets.end);
    start..end.max(start)
}

/// What the images of a block are in a product: steps always, beside rows or columns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Rows are channels: for the left operand.
    Rows,
    /// Pairs of images beside each other: for the right operand.
    Steps,
}

/// Packs images as `[block of 32 images][pixel][32 channels]`, images along the steps.
fn pack_images(x: &[f32], n: usize, size: [usize; 3], turn: Turn, work: usize) -> Packed {
    let [height, width, channels] = size;
    let panels = channels.div_ceil(BLOCK);
    let (blocks, image_len) = (n.div_ceil(BLOCK), height * width * channels);
    let mut packed = Packed::take(blocks * height * width * panels * PAIR);
    let to = packed.shared();
    let row_len = width * panels * PAIR;
    for_each(blocks * height, work, |i| {
        let (block, row) = (i / height, i % height);
        // SAFETY: each row of each block has its own part.
        let to = unsafe { to.slice(i * row_len, row_len) };
        let images = (n - block * BLOCK).min(BLOCK);
        for (j, to) in to.chunks_exact_mut(PAIR).enumerate() {
            let (col, first) = (j / panels, j % panels * BLOCK);
            let at = block * BLOCK * image_len + (row * width + col) * channels + first;
            let columns = (channels - first).min(BLOCK);
            interleave(&x[at..], image_len, images, columns, to);
            if turn == Turn::Rows {
                turn_pair(to);
            }
        }
    });
    packed
}
