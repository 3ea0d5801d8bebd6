//! 3×3 convolutions of stride 1 with a quarter of the multiplications: Winograd's F(4×4, 3×3).
//!
//! ```text
//! transform the weights: 36 matrices [source channels, target channels]
//! for each block of tiles, in parallel:
//!     transform the 6×6 inputs of each 4×4 tile: 36 matrices [tiles, source channels]
//!     multiply them: 36 matrices [tiles, target channels]
//!     transform each tile's 36 products to its 4×4 outputs
//! ```
//!
//! The input gradient is the same sum with the weights turned and transposed; the weight gradient
//! is in [`weight_grad`], the maps are in [`maps`].
//! What the code adds:
//! 1. A block of tiles stays in the second-level cache between its three steps.
//! 2. The transformed tiles `[point, tile, channel]` are read by the micro-kernel where they
//!    lie; weights are packed into its panels by their transform.
//! 3. Any height, width and padding: what of a tile lies outside is read as zero, and not
//!    written.
//! 4. Blocks are cut by the problem's size, so that the number of threads changes no bit.
//!
//! Rounding: see [`rounding`]. A value that is not finite reaches all outputs that it reaches by
//! the definition, and may reach others of the tiles that cover it.

pub(super) mod maps;
#[cfg(test)]
mod tests;
mod transform;
pub(super) mod weight_grad;

use std::ops::Range;

use super::Geometry;
use super::taps::Direction;
use crate::kernels::Real;
use crate::kernels::dispatch::{self, Level};
use crate::kernels::gemm::cut::{Cut, Panels, for_each};
use crate::kernels::gemm::microkernel::{MicroKernel, Segment, SharedMut, Store};
use crate::kernels::gemm::scratch::Scratch;
use crate::kernels::transpose::transpose;
use maps::{SIDE, TAPS, TILE};
use transform::{Square, Transform};

/// Products for each tile and pair of channels: points in two dimensions.
const POINTS: usize = SIDE * SIDE;
/// Steps of the inner dimension that are summed in registers at once.
const BLOCK_K: usize = 512;
/// Elements of a block of transformed tiles and of their products.
const BLOCK: usize = 256 * 1024;
/// Least tiles in a block: each block reads all the weights.
const LEAST_TILES: usize = 32;
/// Pieces that the work is cut into, if it has the size: where blocks are fewer, each is cut by
/// target channels, and its inputs are transformed again for each group of them.
const PIECES: usize = 4;

/// The error in f32 that is expected of sums over `terms` channels (for the weight gradient,
/// pixels), as a share of the largest output: `2e-7 · (4 + √terms)`.
///
/// This is what rounding at random does, with operands without a pattern: measured are 7e-7 at 8
/// channels and 4e-6 at 512, where the direct sums have up to 3e-6. No input can do worse than
/// `(C + 32) · u · 620 · C · max|x| · max|w|`, with `u = 6e-8`; the factor 620 is
/// `(max Σ |Aᵀ| (|G| 1) (|Bᵀ| 1))²`, where the definition has 9.
#[cfg(test)]
fn rounding(terms: usize) -> f64 {
    2e-7 * (4.0 + (terms as f64).sqrt())
}

/// A sum over taps, from `source [N, H, W, C]` to `target [N, H', W', C']`.
pub(super) struct Sum<'a, T> {
    level: Level,
    direction: Direction,
    images: usize,
    /// Height, width and channels of the source.
    from: [usize; 3],
    /// Height, width and channels of the target.
    to: [usize; 3],
    /// Rows and columns by which the first tap of an output lies before it.
    before: [isize; 2],
    source: &'a [T],
    weights: &'a [T],
}

impl<'a, T: Real> Sum<'a, T> {
    /// [`super::conv2d`], whose target is the output.
    pub(super) fn forward(level: Level, geometry: &Geometry, x: &'a [T], w: &'a [T]) -> Self {
        let (input, output) = sizes(geometry);
        Self {
            level,
            direction: Direction::Forward,
            images: geometry.n,
            from: input,
            to: output,
            before: geometry.padding.map(|p| p as isize),
            source: x,
            weights: w,
        }
    }

    /// [`super::conv2d_input_grad`], whose target is the input.
    pub(super) fn adjoint(level: Level, geometry: &Geometry, w: &'a [T], g: &'a [T]) -> Self {
        let (input, output) = sizes(geometry);
        Self {
            level,
            direction: Direction::Adjoint,
            images: geometry.n,
            from: output,
            to: input,
            before: geometry.padding.map(|p| TAPS as isize - 1 - p as isize),
            source: g,
            weights: w,
        }
    }

    /// Computes the whole target.
    ///
    /// Formula: winograd-1.
    pub(super) fn compute(self, target: &mut [T]) {
        let shape = MicroKernel::<T>::shape(self.level);
        let (steps, channels) = (self.from[2], self.to[2]);
        if target.is_empty() || steps == 0 {
            return target.fill(T::ZERO);
        }
        let tiles = Tiles::new(self.images, [self.to[0], self.to[1]]);
        let work = tiles.count() * POINTS * steps * channels;
        let panels = Panels::new(channels, shape);
        let packed = self.pack_weights(&panels, work);
        let most = BLOCK / (POINTS * (steps + channels));
        let most = most.max(LEAST_TILES).next_multiple_of(shape.rows);
        let blocks = Cut::at_most(tiles.count(), most);
        let groups = Cut::into_pieces(panels.count(), PIECES.div_ceil(blocks.pieces));
        let out = SharedMut::new(target);
        for_each(blocks.pieces * groups.pieces, work, |piece| {
            let group = Group { panels, range: groups.range(piece % groups.pieces) };
            self.block(&tiles, blocks.range(piece / groups.pieces), &group, &packed, &out);
        });
    }

    /// The transformed weights as `[point][panel][source channel][panel width]`.
    fn pack_weights(&self, panels: &Panels, work: usize) -> Scratch<T> {
        let (steps, channels) = (self.from[2], self.to[2]);
        let turned = match self.direction {
            Direction::Forward => None,
            Direction::Adjoint => Some(self.turn_weights()),
        };
        let weights = turned.as_deref().unwrap_or(self.weights);
        let plane = panels.padded() * steps;
        let mut packed = Scratch::<T>::take(POINTS * plane);
        let to = SharedMut::new(&mut packed);
        let groups = Cut::at_most(steps, 16);
        for_each(panels.count() * groups.pieces, work, |piece| {
            let panel = panels.get(piece % panels.count());
            let squares: Vec<_> = groups
                .range(piece / panels.count())
                .map(|step| {
                    let from = step * channels + panel.first;
                    let to = panel.first * steps + step * panel.width;
                    (Square::whole(from, TAPS), Square::whole(to, SIDE))
                })
                .collect();
            let from_strides = [TAPS, 1].map(|taps| taps * steps * channels);
            let to_strides = [SIDE * plane, plane];
            // SAFETY: each step of each panel has its own place.
            let transform = unsafe {
                Transform::<maps::Weights, T>::new(
                    weights,
                    from_strides,
                    to,
                    to_strides,
                    &squares,
                    panel.cols,
                )
            };
            dispatch::run(self.level, transform);
        });
        packed
    }

    /// The weights `[tap, C, O]` as the adjoint uses them: taps backwards, each as `[O, C]`.
    fn turn_weights(&self) -> Scratch<T> {
        let (steps, channels) = (self.from[2], self.to[2]);
        let len = steps * channels;
        let mut turned = Scratch::<T>::take(self.weights.len());
        for (tap, to) in turned.chunks_exact_mut(len).rev().enumerate() {
            transpose(&self.weights[tap * len..][..len], &[steps, channels], &[1, steps], to);
        }
        turned
    }

    /// Computes a group of target channels of a block of tiles.
    fn block(
        &self,
        tiles: &Tiles,
        block: Range<usize>,
        group: &Group,
        packed: &[T],
        out: &SharedMut<'_, T>,
    ) {
        let shape = MicroKernel::<T>::shape(self.level);
        let [height, width, steps] = self.from;
        let inputs = Points::new(block.len(), steps, shape.lanes);
        let products = Points::new(block.len(), group.channels().len(), shape.lanes);
        let mut x = Scratch::<T>::take(inputs.len());
        let mut y = Scratch::<T>::take(products.len());

        let squares: Vec<_> = block
            .clone()
            .enumerate()
            .map(|(i, tile)| {
                let [image, row, col] = tiles.at(tile);
                let first = [row as isize - self.before[0], col as isize - self.before[1]];
                let from = square(image, first, [height, width], steps, SIDE);
                (from, Square::whole(i * inputs.stride, SIDE))
            })
            .collect();
        let to = SharedMut::new(&mut x);
        let strides = [width * steps, steps];
        // SAFETY: the scratch is this block's own, and each tile has its own place.
        let transform = unsafe {
            Transform::<maps::Input, T>::new(
                self.source,
                strides,
                to,
                inputs.strides(),
                &squares,
                steps,
            )
        };
        dispatch::run(self.level, transform);

        self.multiply(block.len(), [&inputs, &products], group, packed, &x, &mut y);

        let [height, width, channels] = self.to;
        let squares: Vec<_> = block
            .enumerate()
            .map(|(i, tile)| {
                let [image, row, col] = tiles.at(tile);
                let first = [row as isize, col as isize];
                let mut to = square(image, first, [height, width], channels, TILE);
                to.origin += group.channels().start;
                (Square::whole(i * products.stride, SIDE), to)
            })
            .collect();
        let strides = [width * channels, channels];
        // SAFETY: each tile has its own pixels of the target.
        let transform = unsafe {
            Transform::<maps::Output, T>::new(
                &y,
                products.strides(),
                *out,
                strides,
                &squares,
                group.channels().len(),
            )
        };
        dispatch::run(self.level, transform);
    }

    /// The products of a block at all points.
    fn multiply(
        &self,
        tiles: usize,
        [inputs, products]: [&Points; 2],
        group: &Group,
        packed: &[T],
        x: &[T],
        y: &mut [T],
    ) {
        let shape = MicroKernel::<T>::shape(self.level);
        let steps = self.from[2];
        let rows = Cut::at_most(tiles, shape.rows);
        let passes = Cut::at_most(steps, BLOCK_K);
        let y = SharedMut::new(y);
        for point in 0..POINTS {
            let x = &x[point * inputs.plane..][..inputs.plane];
            let packed = &packed[point * group.panels.padded() * steps..];
            for pass in 0..passes.pieces {
                let store = if pass == 0 { Store::Set } else { Store::Add };
                let start = passes.start(pass);
                let segments = &[Segment { a: start, b: start, len: passes.range(pass).len() }];
                for panel in group.range.clone().map(|i| group.panels.get(i)) {
                    let col = panel.first - group.channels().start;
                    let b = &packed[panel.first * steps..][..panel.width * steps];
                    for rows in (0..rows.pieces).map(|i| rows.range(i)) {
                        let offset = point * products.plane + rows.start * products.stride + col;
                        // SAFETY: this thread alone has the scratch.
                        let c =
                            unsafe { y.window(offset, rows.len(), panel.cols, products.stride) };
                        let a = &x[rows.start * inputs.stride..];
                        let (vectors, b_stride) = (panel.vectors, panel.width);
                        let a_strides = [inputs.stride, 1];
                        MicroKernel { vectors, a, a_strides, b, b_stride, segments, c, store }
                            .run_at(self.level);
                    }
                }
            }
        }
    }
}

/// Some of the panels of target channels.
struct Group {
    panels: Panels,
    range: Range<usize>,
}

impl Group {
    fn channels(&self) -> Range<usize> {
        let last = self.panels.get(self.range.end - 1);
        self.panels.get(self.range.start).first..last.first + last.cols
    }
}

/// Heights, widths and channels of input and output.
fn sizes(geometry: &Geometry) -> ([usize; 3], [usize; 3]) {
    let Geometry { h, w, c, o, .. } = *geometry;
    ([h, w, c], [geometry.out_h(), geometry.out_w(), o])
}

/// The 4×4 tiles of a batch of images.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    images: usize,
    /// Tiles down and across an image.
    grid: [usize; 2],
}

impl Tiles {
    fn new(images: usize, size: [usize; 2]) -> Self {
        Self { images, grid: size.map(|len| len.div_ceil(TILE)) }
    }

    fn count(&self) -> usize {
        self.images * self.grid[0] * self.grid[1]
    }

    /// Image, first row and first column of a tile.
    fn at(&self, tile: usize) -> [usize; 3] {
        let [down, across] = self.grid;
        let (image, within) = (tile / (down * across), tile % (down * across));
        [image, within / across * TILE, within % across * TILE]
    }
}

/// The square of `side` pixels of an image of `size` pixels whose first pixel is `first`.
fn square(
    image: usize,
    first: [isize; 2],
    size: [usize; 2],
    channels: usize,
    side: usize,
) -> Square {
    let span = |first: isize, len: usize| {
        let end = (len as isize - first).clamp(0, side as isize) as usize;
        ((-first).clamp(0, side as isize) as usize).min(end)..end
    };
    let row = (image * size[0]).wrapping_add_signed(first[0]);
    let pixel = row.wrapping_mul(size[1]).wrapping_add_signed(first[1]);
    Square {
        origin: pixel.wrapping_mul(channels),
        rows: span(first[0], size[0]),
        cols: span(first[1], size[1]),
    }
}

/// The layout of values at the points: `[point, square, channel]`, with some room between.
#[derive(Clone, Copy, Debug)]
struct Points {
    /// Elements from a square to the next.
    stride: usize,
    /// Elements from a point to the next.
    plane: usize,
}

impl Points {
    fn new(squares: usize, channels: usize, lanes: usize) -> Self {
        // Steps of many lines that are a power of two would meet in a few places of the cache.
        let apart = |len: usize| if len % 256 == 0 { len + lanes } else { len };
        let stride = apart(channels.next_multiple_of(lanes));
        Self { stride, plane: apart(squares * stride) }
    }

    fn len(&self) -> usize {
        POINTS * self.plane
    }

    fn strides(&self) -> [usize; 2] {
        [SIDE * self.plane, self.plane]
    }
}
