//! Convolutions as products of patches that are copied out (im2col), a block of pixels at a time:
//! the way of level portable, whose product packs its operands itself.
//!
//! ```text
//! for each block of output pixels, in parallel:
//!     forward:      copy their patches [pixels, KH·KW·C];  y = patches · w
//!     weight grad:  copy their patches;                    dw += patchesᵀ · g
//! for each block of images, in parallel, for each block of output pixels:
//!     input grad:   patches = g · wᵀ;                      dx += patches, each where it came from
//! ```
//!
//! A block's patches stay in the caches. Taps in the padding are multiplied, by zero: a weight that
//! is not finite may reach outputs that it does not reach by the definition.

use std::ops::Range;

use super::Geometry;
use super::weight_grad::in_pieces;
use crate::kernels::Real;
use crate::kernels::gemm::cut::{Cut, for_each};
use crate::kernels::gemm::microkernel::{SharedMut, Store};
use crate::kernels::gemm::portable::{Matrix, multiply};
use crate::kernels::gemm::scratch::Scratch;

/// Pixels in a block: as many share what packing the weights costs.
const PIXELS: usize = 256;
/// Output channels in a group of the weight gradient.
const GROUP: usize = 128;
/// Pieces that a weight gradient is cut into, if it has the size.
const PIECES: usize = 16;

/// A convolution, and what of it one patch is.
struct Patches {
    geometry: Geometry,
    out: [usize; 2],
    /// Values in a patch: `KH · KW · C`.
    len: usize,
}

/// Computes [`super::conv2d`].
pub(super) fn forward<T: Real>(geometry: &Geometry, x: &[T], w: &[T], y: &mut [T]) {
    let (all, o) = (Patches::new(geometry), geometry.o);
    if y.is_empty() {
        return;
    }
    let (blocks, work, out) = (all.blocks(), y.len() * all.len, SharedMut::new(y));
    for_each(blocks.pieces, work, |block| {
        let block = blocks.range(block);
        let patches = all.copy(x, block.clone());
        // SAFETY: each block has its own pixels of the output.
        let y = unsafe { out.window(block.start * o, block.len(), o, o) };
        multiply(all.len, rows(&patches, all.len), rows(w, o), &y, Store::Set);
    });
}

/// Computes [`super::conv2d_weight_grad`].
pub(super) fn weight_grad<T: Real>(geometry: &Geometry, x: &[T], g: &[T], dw: &mut [T]) {
    let (all, o) = (Patches::new(geometry), geometry.o);
    if g.is_empty() || dw.is_empty() {
        return dw.fill(T::ZERO);
    }
    let (blocks, groups, work) = (all.blocks(), Cut::at_most(o, GROUP), g.len() * all.len);
    let pieces = Cut::into_pieces(blocks.pieces, PIECES.div_ceil(groups.pieces));
    in_pieces(pieces.pieces, groups.pieces, work, dw, |piece, group, sums, offset| {
        let channels = groups.range(group);
        // SAFETY: each piece has its own sums, and each group its own channels.
        let sum = unsafe { sums.window(offset + channels.start, all.len, channels.len(), o) };
        for (i, block) in pieces.range(piece).enumerate() {
            let store = if i == 0 { Store::Set } else { Store::Add };
            let block = blocks.range(block);
            let patches = all.copy(x, block.clone());
            let turned = Matrix { values: &patches, strides: [1, all.len] };
            let g = rows(&g[block.start * o + channels.start..], o);
            multiply(block.len(), turned, g, &sum, store);
        }
    });
}

/// Computes [`super::conv2d_input_grad`].
pub(super) fn input_grad<T: Real>(geometry: &Geometry, w: &[T], g: &[T], dx: &mut [T]) {
    let (all, o) = (Patches::new(geometry), geometry.o);
    let image = geometry.h * geometry.w * geometry.c;
    if g.is_empty() || dx.is_empty() {
        return dx.fill(T::ZERO);
    }
    let pixels = all.out[0] * all.out[1];
    let images = Cut::at_most(geometry.n, (PIXELS / pixels).max(1));
    let (work, out) = (g.len() * all.len, SharedMut::new(dx));
    for_each(images.pieces, work, |piece| {
        let images = images.range(piece);
        // SAFETY: each piece has its own images.
        let dx = unsafe { out.slice(images.start * image, images.len() * image) };
        dx.fill(T::ZERO);
        let blocks = Cut::at_most(images.len() * pixels, PIXELS);
        for block in (0..blocks.pieces).map(|i| blocks.range(i)) {
            let mut patches = Scratch::<T>::take(block.len() * all.len);
            let sums = SharedMut::new(&mut patches);
            // SAFETY: this thread alone has the scratch.
            let sums = unsafe { sums.window(0, block.len(), all.len, all.len) };
            let g = rows(&g[(images.start * pixels + block.start) * o..], o);
            multiply(o, g, Matrix { values: w, strides: [1, o] }, &sums, Store::Set);
            all.add(&patches, block, dx);
        }
    });
}

/// Rows of `len` values, one after the other.
fn rows<T>(values: &[T], len: usize) -> Matrix<'_, T> {
    Matrix { values, strides: [len, 1] }
}

impl Patches {
    fn new(geometry: &Geometry) -> Self {
        let out = [geometry.out_h(), geometry.out_w()];
        Self { geometry: *geometry, out, len: geometry.kh * geometry.kw * geometry.c }
    }

    /// The output pixels of all images in blocks.
    fn blocks(&self) -> Cut {
        Cut::at_most(self.geometry.n * self.out[0] * self.out[1], PIXELS)
    }

    /// The patches of some output pixels, with zeros outside the image.
    fn copy<T: Real>(&self, x: &[T], pixels: Range<usize>) -> Scratch<T> {
        let mut patches = Scratch::<T>::take(pixels.len() * self.len);
        if self.len == 0 {
            return patches;
        }
        let line = self.len / self.geometry.kh;
        for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(self.len)) {
            for (i, to) in patch.chunks_exact_mut(line).enumerate() {
                let (inside, from) = self.line(pixel, i);
                to[..inside.start].fill(T::ZERO);
                to[inside.end..].fill(T::ZERO);
                let from = &x[from..][..inside.len()];
                to[inside].copy_from_slice(from);
            }
        }
        patches
    }

    /// Adds the patches of some output pixels of images to those images.
    fn add<T: Real>(&self, patches: &[T], pixels: Range<usize>, images: &mut [T]) {
        let line = self.len / self.geometry.kh;
        for (pixel, patch) in pixels.zip(patches.chunks_exact(self.len)) {
            for (i, from) in patch.chunks_exact(line).enumerate() {
                let (inside, to) = self.line(pixel, i);
                let to = &mut images[to..][..inside.len()];
                to.iter_mut().zip(&from[inside]).for_each(|(to, from)| *to += *from);
            }
        }
    }

    /// Row `i` of the patch of an output pixel: which of its values are inside the image, and where
    /// they begin there.
    fn line(&self, pixel: usize, i: usize) -> (Range<usize>, usize) {
        let Geometry { h, w, c, kw, stride, padding, .. } = self.geometry;
        let [out_h, out_w] = self.out;
        let (row, col) = (pixel / out_w, pixel % out_w * stride[1]);
        let (image, row) = (row / out_h, row % out_h * stride[0] + i);
        if row < padding[0] || row >= padding[0] + h {
            return (0..0, 0);
        }
        let first = padding[1].saturating_sub(col).min(kw);
        let end = (padding[1] + w).saturating_sub(col).min(kw);
        if first >= end {
            return (0..0, 0);
        }
        let pixel = (image * h + row - padding[0]) * w + col + first - padding[1];
        (first * c..end * c, pixel * c)
    }
}
