//! Operands of the tile registers of AMX: numbers in bf16, packed as the registers read them.
//!
//! ```text
//! of the left operand:  [block of 32 rows][32 steps]     16 rows of 32 steps, then 16 more
//! of the right operand: [block of 32 columns][32 steps]  16 rows of 16 pairs of steps, then those
//!                                                        of 16 columns more
//! ```
//!
//! Operands lie either with their steps beside each other or with their rows or columns beside each
//! other, and each side takes both: [`pack_rows`] and [`interleave`] copy, and [`turn_pair`] makes
//! the one form of the other, because a register of pairs is a square.

use super::arch::amx::TileRegisters;
use super::arch::{REGISTER, ROWS, STEPS};
use super::bf16::Bf16;
use super::dispatch::wide;
use super::gemm::microkernel::SharedMut;
use super::gemm::scratch::Scratch;
use super::transpose::turn;

/// Rows, columns and steps of a block: two tile registers of rows or columns each.
pub(super) const BLOCK: usize = 2 * ROWS;
/// Numbers of two tile registers, which hold a block of rows or columns and one of steps.
pub(super) const PAIR: usize = 2 * REGISTER;

/// Room for numbers in bf16, of stale contents.
pub(super) struct Packed(Scratch<f32>);

impl Packed {
    #[inline]
    pub(super) fn take(len: usize) -> Self {
        Self(Scratch::take(len.div_ceil(2)))
    }

    #[inline]
    fn len(&self) -> usize {
        2 * self.0.len()
    }

    #[inline]
    pub(super) fn shared(&mut self) -> SharedMut<'_, Bf16> {
        let len = self.len();
        // SAFETY: two numbers in bf16 have the size of one in f32, a smaller alignment, and any
        // bits; the memory stays borrowed.
        SharedMut::new(unsafe {
            std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<Bf16>(), len)
        })
    }

    /// Where pair `i` begins.
    #[inline(always)]
    pub(super) fn pair(&self, i: usize) -> *const Bf16 {
        debug_assert!((i + 1) * PAIR <= self.len());
        self.0.as_ptr().cast::<Bf16>().wrapping_add(i * PAIR)
    }
}

/// Writes the sums that exist as rows and columns of `out` from `offset` on, rows `stride` apart.
///
/// # Safety
/// Nobody else touches these elements meanwhile.
pub(super) unsafe fn put(
    registers: &mut TileRegisters,
    out: &SharedMut<'_, f32>,
    offset: usize,
    [rows, columns]: [usize; 2],
    stride: usize,
) {
    assert!(offset + (rows - 1) * stride + columns <= out.len(), "a register beyond the target");
    if (rows, columns) == (BLOCK, BLOCK) {
        // SAFETY: inside by the assertion, the caller's alone by its promise.
        unsafe { registers.store(out.start().add(offset), stride) };
        return;
    }
    let mut sums = [0.0; BLOCK * BLOCK];
    // SAFETY: 32 rows of 32 numbers.
    unsafe { registers.store(sums.as_mut_ptr(), BLOCK) };
    for (row, sums) in sums.chunks_exact(BLOCK).take(rows).enumerate() {
        // SAFETY: as above.
        let to = unsafe { out.slice(offset + row * stride, columns) };
        to.copy_from_slice(&sums[..columns]);
    }
}

/// Turns two registers of 16 rows of 16 pairs: what [`pack_rows`] leaves becomes an operand on the
/// right, what [`interleave`] leaves one on the left.
pub(super) fn turn_pair(pair: &mut [Bf16]) {
    pair.chunks_exact_mut(REGISTER).for_each(turn_register);
}

fn turn_register(register: &mut [Bf16]) {
    // SAFETY: a pair of numbers in bf16 has the size of an f32, and any bits are one; only moved,
    // they stay as they are. The tile register has as many pairs as the square numbers.
    unsafe {
        let from = register[..REGISTER].as_mut_ptr().cast::<[[f32; ROWS]; ROWS]>();
        from.write_unaligned(turn(&from.read_unaligned()));
    }
}

wide! {
    /// Packs up to 32 rows, `stride` apart, of `times` times `steps` steps that lie beside each
    /// other, as `[time][block of 32 steps]`.
    pub(super) fn pack_rows[](
        from: &[f32], stride: usize, rows: usize, times: usize, steps: usize, to: &mut [Bf16],
    ) {
        let blocks = steps.div_ceil(STEPS);
        for row in 0..BLOCK {
            let of_row = if row < rows { &from[row * stride..][..times * steps] } else { &[] };
            for time in 0..times {
                for block in 0..blocks {
                    let to = &mut to[(time * blocks + block) * PAIR + row * STEPS..][..STEPS];
                    let n = (steps - block * STEPS).min(STEPS);
                    if of_row.is_empty() {
                        to.fill(Bf16::default());
                        continue;
                    }
                    let from = &of_row[time * steps + block * STEPS..][..n];
                    for i in 0..n {
                        to[i] = Bf16::new(from[i]);
                    }
                    to[n..].fill(Bf16::default());
                }
            }
        }
    }

    /// Packs up to 32 steps, `stride` apart, of up to 32 columns that lie beside each other.
    pub(super) fn interleave[](
        from: &[f32], stride: usize, steps: usize, columns: usize, to: &mut [Bf16],
    ) {
        let mut rows = [[0.0f32; BLOCK]; 2];
        for pair in 0..ROWS {
            for (parity, row) in rows.iter_mut().enumerate() {
                let step = 2 * pair + parity;
                row.fill(0.0);
                if step < steps {
                    row[..columns].copy_from_slice(&from[step * stride..][..columns]);
                }
            }
            let [even, odd] = &rows;
            for half in 0..2 {
                let to = &mut to[half * REGISTER + pair * STEPS..][..STEPS];
                for i in 0..ROWS {
                    to[2 * i] = Bf16::new(even[half * ROWS + i]);
                    to[2 * i + 1] = Bf16::new(odd[half * ROWS + i]);
                }
            }
        }
    }
}
