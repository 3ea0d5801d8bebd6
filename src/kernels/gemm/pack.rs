//! Copies of operands in the order in which the micro-kernel reads them.

use std::ops::Range;

use crate::kernels::Real;
use crate::kernels::dispatch::Kernel;
use crate::kernels::vector::Vector;

/// Transposes: `to[t, i] = from[i, t]` for `i < rows`, and zero up to `width`.
///
/// `from` is `rows` runs of `steps` elements with `stride` between their starts; `to` is
/// `[steps, width]`.
pub(in crate::kernels) struct Interleave<'a, T> {
    pub(in crate::kernels) from: &'a [T],
    pub(in crate::kernels) stride: usize,
    pub(in crate::kernels) rows: usize,
    pub(in crate::kernels) steps: usize,
    pub(in crate::kernels) to: &'a mut [T],
    pub(in crate::kernels) width: usize,
}

impl<T: Real> Kernel<T> for Interleave<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>>(self) {
        let Self { from, stride, rows, steps, to, width } = self;
        if steps == 0 || rows == 0 {
            return to[..steps * width].fill(T::ZERO);
        }
        assert!((rows - 1) * stride + steps <= from.len(), "rows beyond the operand");
        assert!(rows <= width && to.len() == steps * width, "wrong size of a packed panel");
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        let mut row = 0;
        while row < rows {
            let count = V::LANES.min(rows - row);
            let room = steps * width - row;
            // SAFETY: by the assertions, `count` rows of `steps` elements exist from `row` on, and
            // the panel has `room` elements from there; `interleave` stays in both.
            unsafe {
                let (from, to) = (from.add(row * stride), to.add(row));
                let size = [count, steps, room];
                // Whole registers may be stored if what they hold beyond the rows falls in the
                // padding of the panel or, in its first columns, where later steps overwrite it.
                match V::LANES {
                    _ if count == 4 && width == 4 => {
                        interleave::<V, 4>(from, stride, to, width, size);
                    }
                    _ if count == 8 && width == 8 => {
                        interleave::<V, 8>(from, stride, to, width, size);
                    }
                    lanes if count < 3 || (row > 0 && row + lanes > width) => {
                        interleave::<V, 1>(from, stride, to, width, size);
                    }
                    2 => interleave::<V, 2>(from, stride, to, width, size),
                    4 => interleave::<V, 4>(from, stride, to, width, size),
                    8 => interleave::<V, 8>(from, stride, to, width, size),
                    16 => interleave::<V, 16>(from, stride, to, width, size),
                    _ => interleave::<V, 1>(from, stride, to, width, size),
                }
            }
            row += count;
        }
        for t in 0..steps {
            for i in rows..width {
                // SAFETY: `t < steps` and `i < width`: inside the panel.
                unsafe { *to.add(t * width + i) = T::ZERO };
            }
        }
    }
}

/// [`Interleave`] for at most `R` rows, in `R` registers: a power of two that is the width of
/// the panel or the number of lanes.
///
/// `R` registers of one row each are `R · LANES` elements in the order `(row, step)`; zipping
/// register `i` with register `i + R/2` moves the top bit of the row below the bits of the step,
/// so that after `log2 R` rounds the order is `(step, row)`. Of fewer rows than `R`, registers
/// are stored with zeros at their end, step after step, which the next steps overwrite.
///
/// # Safety
/// `from` has `rows` rows of `steps` elements and `to` has `room` elements, with
/// `[rows, steps, room] = size` and `room >= (steps - 1) · width + rows`. What lies behind the rows
/// of a step is padding, or belongs to later steps.
#[inline(always)]
unsafe fn interleave<V: Vector, const R: usize>(
    from: *const V::Scalar,
    stride: usize,
    to: *mut V::Scalar,
    width: usize,
    size: [usize; 3],
) {
    let [rows, steps, room] = size;
    let mut t = 0;
    if R > 1 && R <= V::LANES {
        let held = V::LANES / R;
        while t + V::LANES <= steps && (t + V::LANES - held) * width + V::LANES <= room {
            // SAFETY: rows up to `rows` have the steps up to `t + LANES`; the last register is
            // stored at step `t + LANES - held`, and ends within the room.
            unsafe {
                let mut block = [V::splat(V::Scalar::ZERO); R];
                for i in 0..R {
                    if i < rows {
                        block[i] = V::load(from.add(i * stride + t));
                    }
                }
                let mut rounds = 1;
                while rounds < R {
                    let old = block;
                    for i in 0..R / 2 {
                        (block[2 * i], block[2 * i + 1]) = old[i].zip(old[i + R / 2]);
                    }
                    rounds *= 2;
                }
                // Each register now holds `held` whole steps.
                for i in 0..R {
                    block[i].store(to.add((t + i * held) * width));
                }
            }
            t += V::LANES;
        }
    }
    for t in t..steps {
        for i in 0..rows {
            // SAFETY: row `i` has step `t` on both sides.
            unsafe { *to.add(t * width + i) = *from.add(i * stride + t) };
        }
    }
}

/// Rows that are dealt together: few enough that all their lots find them in the first cache.
const TOGETHER: usize = 16;

/// Some columns of an operand, and where their panel lies.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernels) struct Lot {
    /// First column.
    pub(in crate::kernels) first: usize,
    /// Columns that exist.
    pub(in crate::kernels) cols: usize,
    /// Columns of the packed panel; those that do not exist are zero.
    pub(in crate::kernels) width: usize,
    /// Where the panel begins.
    pub(in crate::kernels) to: usize,
}

/// Deals the columns of `steps` rows to panels: row `t` of `from` becomes step `first + t · spread`
/// of each panel, `to[lot.to + (first + t · spread) · lot.width + j] = from[t, lot.first + j]`.
///
/// Row `t` begins at `t · stride`. All lots of a few rows are copied before the next rows, so that
/// each line of the operand comes from memory once.
pub(in crate::kernels) struct Deal<'a, T> {
    pub(in crate::kernels) from: &'a [T],
    pub(in crate::kernels) stride: usize,
    pub(in crate::kernels) steps: usize,
    pub(in crate::kernels) lots: &'a [Lot],
    pub(in crate::kernels) first: usize,
    pub(in crate::kernels) spread: usize,
    pub(in crate::kernels) to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Deal<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>>(self) {
        let Self { from, stride, steps, lots, first, spread, to } = self;
        if steps == 0 {
            return;
        }
        for lot in lots {
            let end = (steps - 1) * stride + lot.first + lot.cols;
            assert!(lot.cols <= lot.width && end <= from.len(), "columns beyond the operand");
            let end = lot.to + (first + (steps - 1) * spread + 1) * lot.width;
            assert!(end <= to.len(), "a lot beyond the packed panels");
        }
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        let mut start = 0;
        while start < steps {
            let end = steps.min(start + TOGETHER);
            for lot in lots {
                // SAFETY: rows are below `steps`, and the assertions bound the last row of each
                // lot on both sides.
                unsafe {
                    let from = from.add(lot.first);
                    let to = to.add(lot.to + first * lot.width);
                    let step = spread * lot.width;
                    match lot.cols {
                        4 => copy::<V, 4>(from, stride, to, step, start..end),
                        5 => copy::<V, 5>(from, stride, to, step, start..end),
                        6 => copy::<V, 6>(from, stride, to, step, start..end),
                        8 => copy::<V, 8>(from, stride, to, step, start..end),
                        16 => copy::<V, 16>(from, stride, to, step, start..end),
                        24 => copy::<V, 24>(from, stride, to, step, start..end),
                        32 => copy::<V, 32>(from, stride, to, step, start..end),
                        48 => copy::<V, 48>(from, stride, to, step, start..end),
                        cols => {
                            for t in start..end {
                                let (from, to) = (from.add(t * stride), to.add(t * step));
                                (0..cols).for_each(|j| *to.add(j) = *from.add(j));
                                (cols..lot.width).for_each(|j| *to.add(j) = T::ZERO);
                            }
                            continue;
                        }
                    }
                    for t in start..end {
                        let to = to.add(t * step);
                        (lot.cols..lot.width).for_each(|j| *to.add(j) = T::ZERO);
                    }
                }
            }
            start = end;
        }
    }
}

/// Copies rows of `N` values.
///
/// # Safety
/// Both sides have the rows.
#[inline(always)]
unsafe fn copy<V: Vector, const N: usize>(
    from: *const V::Scalar,
    from_step: usize,
    to: *mut V::Scalar,
    to_step: usize,
    rows: Range<usize>,
) {
    for t in rows {
        // Rows far from each other are no stream that the processor would foresee.
        for j in (0..N).step_by(64 / size_of::<V::Scalar>()) {
            // SAFETY: a hint may point anywhere.
            unsafe { V::prefetch(from.wrapping_add((t + TOGETHER) * from_step + j)) };
        }
        // SAFETY: the promise of the caller.
        unsafe {
            let row = from.add(t * from_step).cast::<[V::Scalar; N]>().read_unaligned();
            to.add(t * to_step).cast::<[V::Scalar; N]>().write_unaligned(row);
        }
    }
}
