//! Matrix products by the processor's tile registers: operands rounded to bf16, sums in f32.
//!
//! ```text
//! pack A as [block of 32 rows][32 steps], B as [block of 32 columns][32 steps]
//! for each group of blocks of rows, for each group of blocks of columns, in parallel:
//!     for each block of columns, for each block of rows:
//!         four sums of 16 x 16 = Σ over the steps
//! ```

use super::Trans;
use super::cut::{Cut, for_each};
use super::microkernel::SharedMut;
use crate::kernels::amx::{BLOCK, PAIR, Packed, interleave, pack_rows, put, turn_pair};
use crate::kernels::arch::STEPS;
use crate::kernels::arch::amx::TileRegisters;
use crate::kernels::bf16::Bf16;

/// Blocks of rows that stay in the second-level cache while blocks of columns pass.
const ROW_BLOCKS: usize = 4;
/// Pieces that the work is cut into, if it has the size.
const PIECES: usize = 32;

/// One product of [`gemm`](super::gemm), of operands rounded to bf16.
pub(super) fn gemm(
    trans: Trans,
    m: usize,
    n: usize,
    k: usize,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
) {
    let (work, steps) = (m * n * k, k.div_ceil(STEPS));
    let a = match trans {
        Trans::Nn | Trans::Nt => pack_beside(a, m, k, Side::Left, work),
        Trans::Tn => pack_across(a, m, k, Side::Left, work),
    };
    let b = match trans {
        Trans::Nn | Trans::Tn => pack_across(b, n, k, Side::Right, work),
        Trans::Nt => pack_beside(b, n, k, Side::Right, work),
    };
    let rows = Cut::at_most(m.div_ceil(BLOCK), ROW_BLOCKS);
    let cols = Cut::into_pieces(n.div_ceil(BLOCK), PIECES.div_ceil(rows.pieces.max(1)));
    let out = SharedMut::new(c);
    for_each(rows.pieces * cols.pieces, work, |piece| {
        let mut registers = TileRegisters::new();
        for col in cols.range(piece % cols.pieces) {
            for row in rows.range(piece / cols.pieces) {
                registers.clear();
                for step in 0..steps {
                    let (a, b) = (a.pair(row * steps + step), b.pair(col * steps + step));
                    // SAFETY: blocks and steps are those that were packed.
                    unsafe { registers.add_product(a, b) };
                }
                let [first, left] = [row * BLOCK, col * BLOCK];
                let size = [(m - first).min(BLOCK), (n - left).min(BLOCK)];
                // SAFETY: each piece has its own rows and columns of the output.
                unsafe { put(&mut registers, &out, first * n + left, size, n) };
            }
        }
    });
}

/// Which operand of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Packs `len` rows (of the right operand: columns) of `k` steps beside each other.
fn pack_beside(x: &[f32], len: usize, k: usize, side: Side, work: usize) -> Packed {
    pack(len, k, work, |first, to| {
        pack_rows(&x[first * k..], k, (len - first).min(BLOCK), 1, k, to);
        if side == Side::Right {
            to.chunks_exact_mut(PAIR).for_each(turn_pair);
        }
    })
}

/// Packs `len` rows (of the right operand: columns) beside each other, of `k` steps.
fn pack_across(x: &[f32], len: usize, k: usize, side: Side, work: usize) -> Packed {
    pack(len, k, work, |first, to| {
        for (block, to) in to.chunks_exact_mut(PAIR).enumerate() {
            let step = block * STEPS;
            let size = [(k - step).min(STEPS), (len - first).min(BLOCK)];
            interleave(&x[step * len + first..], len, size[0], size[1], to);
            if side == Side::Left {
                turn_pair(to);
            }
        }
    })
}

/// Room for `len` rows of `k` steps, of which `fill` packs each block of 32, given its first row.
fn pack(len: usize, k: usize, work: usize, fill: impl Fn(usize, &mut [Bf16]) + Sync) -> Packed {
    let (blocks, block_len) = (len.div_ceil(BLOCK), k.div_ceil(STEPS) * PAIR);
    let mut packed = Packed::take(blocks * block_len);
    let to = packed.shared();
    for_each(blocks, work, |block| {
        // SAFETY: each block has its own part.
        let to = unsafe { to.slice(block * block_len, block_len) };
        fill(block * BLOCK, to);
    });
    packed
}
