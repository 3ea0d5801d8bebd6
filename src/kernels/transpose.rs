//! The permutations that change which axis is contiguous.
//!
//! ```text
//! for each position along the other axes:
//!     for j, for l:  y[j, l] = x[l, j]        j is contiguous in x, l is contiguous in y
//! ```
//!
//! What the fast version adds:
//! 1. the work is cut in blocks of `j` and `l` that stay in the cache, one piece of work each;
//! 2. a block goes through squares of 16 x 16 on the stack, so that each cache line of `x` is read
//!    once and each of `y` written once, even when a stride that is a power of two maps all lines
//!    of a column to the same few places of the cache.

use super::Real;
use super::layout::{Axis, Walk, coalesce, gather, strides};
use super::parallel::{GRAIN, SERIAL, for_each_chunk, range, row_grain};

/// Side of the squares that go through the stack: a cache line of `f32`.
const SIDE: usize = 16;
/// Elements of a block.
const BLOCK: usize = 4096;

/// Fills `y` with the pattern `shape`, `x_strides` of `x`, which must be a permutation of `x`.
pub(super) fn transpose<T: Real>(x: &[T], shape: &[usize], x_strides: &[usize], y: &mut [T]) {
    let y_strides = strides(shape);
    let axis = |i: usize| Axis { len: shape[i], strides: [x_strides[i], y_strides[i]] };
    let mut axes = coalesce((0..shape.len()).map(axis));
    let last = axes.len() - 1;
    let unit = axes.iter().position(|axis| axis.strides[0] == 1);
    let Some(unit) = unit.filter(|&unit| unit != last) else {
        return gather(x, shape, x_strides, y);
    };
    // The two axes that trade places, and the others around them.
    let l = axes.remove(last);
    let j = axes.remove(unit);
    let n_outer: usize = axes.iter().map(|axis| axis.len).product();

    let block_l = l.len.min((BLOCK / j.len.min(64)).max(1));
    let block_j = j.len.min((BLOCK / block_l).max(1));
    let (blocks_j, blocks_l) = (j.len.div_ceil(block_j), l.len.div_ceil(block_l));
    let n_blocks = n_outer * blocks_j * blocks_l;
    let grain = if y.len() < SERIAL { n_blocks } else { (GRAIN / (block_j * block_l)).max(1) };
    let y_start = Shared(y.as_mut_ptr());
    range(n_blocks, grain, |blocks| {
        for block in blocks {
            let (outer, block) = (block / (blocks_j * blocks_l), block % (blocks_j * blocks_l));
            let [x_at, y_at] = Walk::new(&axes, outer).offsets();
            let (j_from, l_from) = (block / blocks_l * block_j, block % blocks_l * block_l);
            let block = Block {
                x: &x[x_at + j_from + l_from * l.strides[0]..],
                x_step: l.strides[0],
                y_step: j.strides[1],
                n_j: block_j.min(j.len - j_from),
                n_l: block_l.min(l.len - l_from),
            };
            // SAFETY: the pattern visits each element of `y` exactly once, blocks are disjoint
            // parts of it, and this block's first element is `y[j_from, l_from]` at this outer
            // position.
            unsafe { block.write(y_start.get().add(y_at + j_from * j.strides[1] + l_from)) };
        }
    });
}

/// `y = x + xᵀ` of a matrix of `n` rows.
///
/// # Panics
/// If a length is not `n * n`.
#[track_caller]
pub fn plus_transposed<T: Real>(x: &[T], n: usize, y: &mut [T]) {
    let lens = [x.len(), y.len()];
    assert!(lens == [n * n; 2], "plus_transposed: [{n}, {n}] with {lens:?} elements");
    if y.is_empty() {
        return;
    }
    let grain = row_grain(n, n).next_multiple_of(SIDE);
    for_each_chunk(y, grain * n, |i, y| add_transposed(x, n, i * grain, y));
}

/// Some rows of `x + xᵀ`, from row `first` on.
///
/// Not compiled for wide registers, for which the compiler finds no shuffles to [`turn`] with.
fn add_transposed<T: Real>(x: &[T], n: usize, first: usize, y: &mut [T]) {
    let n_rows = y.len() / n;
    let (whole_i, whole_j) = (n_rows / SIDE * SIDE, n / SIDE * SIDE);
    for i in (0..whole_i).step_by(SIDE) {
        for j in (0..whole_j).step_by(SIDE) {
            let mut square = [[T::ZERO; SIDE]; SIDE];
            for (l, row) in square.iter_mut().enumerate() {
                row.copy_from_slice(&x[(j + l) * n + first + i..][..SIDE]);
            }
            for (l, turned) in turn(&square).into_iter().enumerate() {
                let x = &x[(first + i + l) * n + j..][..SIDE];
                let y = &mut y[(i + l) * n + j..][..SIDE];
                for ((y, &x), turned) in y.iter_mut().zip(x).zip(turned) {
                    *y = x + turned;
                }
            }
        }
    }
    for i in 0..n_rows {
        let rest = if i < whole_i { whole_j } else { 0 };
        for j in rest..n {
            y[i * n + j] = x[(first + i) * n + j] + x[j * n + first + i];
        }
    }
}

/// The transpose, by squares of 4 x 4, which the compiler turns into shuffles of registers.
#[inline(always)]
pub(super) fn turn<T: Real>(square: &[[T; SIDE]; SIDE]) -> [[T; SIDE]; SIDE] {
    let mut turned = [[T::ZERO; SIDE]; SIDE];
    for i in (0..SIDE).step_by(4) {
        for k in (0..SIDE).step_by(4) {
            let row = |n: usize| -> [T; 4] { std::array::from_fn(|m| square[i + n][k + m]) };
            let [p, q, r, s] = [row(0), row(1), row(2), row(3)];
            for m in 0..4 {
                turned[k + m][i..i + 4].copy_from_slice(&[p[m], q[m], r[m], s[m]]);
            }
        }
    }
    turned
}

/// The start of an output of which each piece of work writes its own elements.
struct Shared<T>(*mut T);
// SAFETY: the pointer is only written through at elements that no other thread touches.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

/// `n_j` by `n_l` elements `x[j + l x_step]` that go to `y[j y_step + l]`.
struct Block<'a, T> {
    x: &'a [T],
    x_step: usize,
    y_step: usize,
    n_j: usize,
    n_l: usize,
}

impl<T: Real> Block<'_, T> {
    /// # Safety
    /// `y[j y_step + l]` must be valid for writes for all `j < n_j`, `l < n_l`.
    unsafe fn write(&self, y: *mut T) {
        let (whole_j, whole_l) = (self.n_j / SIDE * SIDE, self.n_l / SIDE * SIDE);
        // Along j inside: the sixteen rows of x are then streams that the processor fetches ahead.
        for l in (0..whole_l).step_by(SIDE) {
            for j in (0..whole_j).step_by(SIDE) {
                // SAFETY: the square lies within the block.
                unsafe { self.write_square(j, l, y) };
            }
        }
        // SAFETY: the two strips lie within the block.
        unsafe {
            self.write_rest(whole_j..self.n_j, 0..self.n_l, y);
            self.write_rest(0..whole_j, whole_l..self.n_l, y);
        }
    }

    /// # Safety
    /// As for `write`, for the square of [`SIDE`] from `(j, l)` on.
    #[inline(always)]
    unsafe fn write_square(&self, j: usize, l: usize, y: *mut T) {
        let mut square = [[T::ZERO; SIDE]; SIDE];
        for (i, row) in square.iter_mut().enumerate() {
            row.copy_from_slice(&self.x[j + (l + i) * self.x_step..][..SIDE]);
        }
        let turned = turn(&square);
        for (i, row) in turned.into_iter().enumerate() {
            // SAFETY: row j + i of the square, SIDE elements from l on.
            unsafe { y.add((j + i) * self.y_step + l).cast::<[T; SIDE]>().write_unaligned(row) };
        }
    }

    /// # Safety
    /// As for `write`, for `j` and `l` in the ranges.
    #[inline(always)]
    unsafe fn write_rest(&self, j: std::ops::Range<usize>, l: std::ops::Range<usize>, y: *mut T) {
        let one = |j: usize, l: usize| {
            let x = self.x[j + l * self.x_step];
            // SAFETY: j and l are in the ranges.
            unsafe { y.add(j * self.y_step + l).write(x) };
        };
        // The longer range goes inside.
        if j.len() < l.len() {
            j.for_each(|j| l.clone().for_each(|l| one(j, l)));
        } else {
            l.for_each(|l| j.clone().for_each(|j| one(j, l)));
        }
    }
}
