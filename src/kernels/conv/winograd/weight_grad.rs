//! The weight gradient by Winograd's algorithm.
//!
//! ```text
//! for each piece of the tiles, each group of input and of output channels, in parallel:
//!     for each block of the piece:
//!         transform inputs and gradients: 36 matrices [tiles, C'] and [tiles, O'] of the groups
//!         add their products: 36 sums [C', O']
//!     transform each pair's 36 sums to its 3×3 taps
//! add the pieces in order
//! ```
//!
//! What the code adds:
//! 1. The sums of a piece stay in the second-level cache until they are transformed, so that
//!    36 values for each pair of channels never reach memory; each group transforms its own
//!    channels again, which costs less than sharing them would.
//! 2. The number of pieces depends on the sizes only; their sums are added in a fixed order.

use std::ops::Range;

use super::maps::{SIDE, TAPS, TILE};
use super::transform::{Square, Transform};
use super::{POINTS, Points, Tiles, maps, sizes, square};
use crate::kernels::Real;
use crate::kernels::conv::Geometry;
use crate::kernels::conv::weight_grad::in_pieces;
use crate::kernels::dispatch::{self, Level, RegisterBlock};
use crate::kernels::gemm::cut::{Cut, Panels};
use crate::kernels::gemm::microkernel::{MicroKernel, Segment, SharedMut, Store};
use crate::kernels::gemm::scratch::Scratch;

/// Input channels in a group.
const GROUP_C: usize = 64;
/// Output channels in a group, about.
const GROUP_O: usize = 64;
/// Tiles in a block.
const BLOCK: usize = 32;
/// Pieces that the work is cut into, if it has the size.
const PIECES: usize = 16;

struct WeightGrad<'a, T> {
    level: Level,
    geometry: Geometry,
    tiles: Tiles,
    shape: RegisterBlock,
    panels: Panels,
    x: &'a [T],
    g: &'a [T],
}

/// Computes [`super::super::conv2d_weight_grad`] at a level.
///
/// Formula: winograd-2.
pub(in crate::kernels::conv) fn weight_grad<T: Real>(
    level: Level,
    geometry: &Geometry,
    x: &[T],
    g: &[T],
    dw: &mut [T],
) {
    if g.is_empty() || dw.is_empty() {
        return dw.fill(T::ZERO);
    }
    let Geometry { n, c, o, .. } = *geometry;
    let shape = MicroKernel::<T>::shape(level);
    let tiles = Tiles::new(n, [geometry.out_h(), geometry.out_w()]);
    let panels = Panels::new(o, shape);
    let problem = WeightGrad { level, geometry: *geometry, tiles, shape, panels, x, g };
    let groups_c = Cut::at_most(c, GROUP_C);
    let groups_o = Cut::into_pieces(panels.count(), o.div_ceil(GROUP_O));
    let groups = groups_c.pieces * groups_o.pieces;
    let blocks = Cut::at_most(tiles.count(), BLOCK);
    let pieces = Cut::into_pieces(blocks.pieces, PIECES.div_ceil(groups));
    let work = tiles.count() * POINTS * c * o;
    in_pieces(pieces.pieces, groups, work, dw, |piece, group, sums, offset| {
        let channels = groups_c.range(group / groups_o.pieces);
        let panels = groups_o.range(group % groups_o.pieces);
        let blocks = pieces.range(piece).map(|i| blocks.range(i));
        problem.piece(blocks, channels, panels, sums, offset);
    });
}

impl<T: Real> WeightGrad<'_, T> {
    /// Computes the terms of some blocks of tiles for a group of channels.
    fn piece(
        &self,
        blocks: impl Iterator<Item = Range<usize>>,
        channels: Range<usize>,
        panels: Range<usize>,
        out: &SharedMut<'_, T>,
        offset: usize,
    ) {
        let Geometry { c, o, .. } = self.geometry;
        let first_o = self.panels.get(panels.start).first;
        let last = self.panels.get(panels.end - 1);
        let width = last.first + last.cols - first_o;
        let layout = Points::new(channels.len(), width, self.shape.lanes);
        let mut sums = Scratch::<T>::take(layout.len());
        for (i, block) in blocks.enumerate() {
            let store = if i == 0 { Store::Set } else { Store::Add };
            self.block(
                block,
                &channels,
                &panels,
                first_o..first_o + width,
                &layout,
                &mut sums,
                store,
            );
        }
        let squares: Vec<_> = channels
            .enumerate()
            .map(|(i, channel)| {
                let to = offset + channel * o + first_o;
                (Square::whole(i * layout.stride, SIDE), Square::whole(to, TAPS))
            })
            .collect();
        let to_strides = [TAPS * c * o, c * o];
        // SAFETY: each piece has its own sums, and each group its own channels.
        let transform = unsafe {
            Transform::<maps::WeightGradient, T>::new(
                &sums,
                layout.strides(),
                *out,
                to_strides,
                &squares,
                width,
            )
        };
        dispatch::run(self.level, transform);
    }

    /// Adds the products of a block of tiles.
    fn block(
        &self,
        block: Range<usize>,
        channels: &Range<usize>,
        panels: &Range<usize>,
        outputs: Range<usize>,
        layout: &Points,
        sums: &mut [T],
        store: Store,
    ) {
        let (input, output) = sizes(&self.geometry);
        let before = self.geometry.padding.map(|p| p as isize);
        let (x, x_layout) = self.points::<maps::Input>(
            self.x,
            input,
            before,
            SIDE,
            block.clone(),
            channels.clone(),
        );
        let first_o = outputs.start;
        let (g, g_layout) =
            self.points::<maps::Gradient>(self.g, output, [0; 2], TILE, block.clone(), outputs);
        let sums = SharedMut::new(sums);
        let rows = Cut::at_most(channels.len(), self.shape.rows);
        let segments = &[Segment { a: 0, b: 0, len: block.len() }];
        for point in 0..POINTS {
            let x = &x[point * x_layout.plane..][..x_layout.plane];
            let g = &g[point * g_layout.plane..][..g_layout.plane];
            for panel in panels.clone().map(|i| self.panels.get(i)) {
                let b = &g[panel.first - first_o..];
                for rows in (0..rows.pieces).map(|i| rows.range(i)) {
                    let offset =
                        point * layout.plane + rows.start * layout.stride + panel.first - first_o;
                    // SAFETY: this thread alone has the scratch.
                    let c = unsafe { sums.window(offset, rows.len(), panel.cols, layout.stride) };
                    let a = &x[rows.start..];
                    let (vectors, b_stride) = (panel.vectors, g_layout.stride);
                    let a_strides = [1, x_layout.stride];
                    MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store }
                        .run_at(self.level);
                }
            }
        }
    }

    /// Some channels of a block of squares at the points, and their layout.
    fn points<M: maps::Map>(
        &self,
        from: &[T],
        [height, width, depth]: [usize; 3],
        before: [isize; 2],
        side: usize,
        block: Range<usize>,
        channels: Range<usize>,
    ) -> (Scratch<T>, Points) {
        let layout = Points::new(block.len(), channels.len(), self.shape.lanes);
        let mut points = Scratch::<T>::take(layout.len());
        let squares: Vec<_> = block
            .enumerate()
            .map(|(i, tile)| {
                let [image, row, col] = self.tiles.at(tile);
                let first = [row as isize - before[0], col as isize - before[1]];
                let mut from = square(image, first, [height, width], depth, side);
                from.origin = from.origin.wrapping_add(channels.start);
                (from, Square::whole(i * layout.stride, SIDE))
            })
            .collect();
        let strides = [width * depth, depth];
        let to = SharedMut::new(&mut points);
        // SAFETY: the scratch is this block's own, and each tile has its own place.
        let transform = unsafe {
            Transform::<M, T>::new(from, strides, to, layout.strides(), &squares, channels.len())
        };
        dispatch::run(self.level, transform);
        (points, layout)
    }
}
