//! The tile registers of x86-64 (AMX): eight of 16 rows of 64 bytes, and products of matrices in
//! bf16 that are summed in f32.
//!
//! The compiler has no stable names for the instructions, but its assembler knows them. A product
//! of two registers does 16,384 multiplications and additions in 16 cycles, 16 times the rate of
//! AVX-512 in `f32`; here two and two registers make four sums, so that each one that is read is
//! used twice.

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, _xgetbv};
use std::sync::OnceLock;

use super::{REGISTER, ROWS, STEPS};
use crate::kernels::bf16::Bf16;

/// Whether this process may use tile registers: the processor has them and the system grants them.
pub(crate) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_tile_registers() && ask_for_tile_registers())
}

/// Whether processor and system know tile registers, their products in bf16, and AVX-512.
fn has_tile_registers() -> bool {
    /// Bits of register `edx` of leaf 7: products in bf16, and tile registers.
    const PRODUCTS_AND_REGISTERS: u32 = 1 << 22 | 1 << 24;
    /// Bits of the register that says what the system saves of a thread: both kinds of tile data.
    const REGISTER_STATE: u64 = 1 << 17 | 1 << 18;
    #[allow(unused_unsafe)] // The instruction is `unsafe` in Rust 1.89, and not in 1.95.
    // SAFETY: every processor of x86-64 has the instruction.
    let [first, seventh] = [0, 7].map(|leaf| unsafe { __cpuid_count(leaf, 0) });
    is_x86_feature_detected!("avx512f")
        && first.eax >= 7
        && seventh.edx & PRODUCTS_AND_REGISTERS == PRODUCTS_AND_REGISTERS
        && saved_state() & REGISTER_STATE == REGISTER_STATE
}

fn saved_state() -> u64 {
    #[target_feature(enable = "xsave")]
    unsafe fn read() -> u64 {
        // SAFETY: register 0 exists wherever the instruction does.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: AVX-512, which is asked for before, is not found unless the system uses XSAVE.
    unsafe { read() }
}

/// Asks Linux to save the tile registers of this process's threads, which it does on demand only.
#[cfg(target_os = "linux")]
fn ask_for_tile_registers() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let result: i64;
    // SAFETY: the call changes nothing but the permission; the system overwrites `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Other systems are not asked: their tile registers stay unused.
#[cfg(not(target_os = "linux"))]
fn ask_for_tile_registers() -> bool {
    false
}

/// Shapes of the eight tile registers, as the processor reads them.
#[repr(C, align(64))]
struct Shapes([u8; 64]);

/// The tile registers of this thread, at full size until it is dropped; the first four are sums.
pub(crate) struct TileRegisters {
    /// Registers belong to a thread.
    _of_thread: std::marker::PhantomData<*mut ()>,
}

impl TileRegisters {
    /// # Panics
    /// If tile registers are not available.
    pub(crate) fn new() -> Self {
        assert!(is_available(), "this processor has no tile registers");
        let mut shapes = [0; 64];
        shapes[0] = 1; // The palette of eight registers.
        shapes[16..32].copy_from_slice(&[64, 0].repeat(8)); // Bytes in a row, for each.
        shapes[48..56].fill(ROWS as u8);
        let shapes = Shapes(shapes);
        // SAFETY: the instruction exists, and reads 64 bytes that describe legal tile registers.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &shapes, options(nostack, readonly)) };
        Self { _of_thread: std::marker::PhantomData }
    }

    /// Sets the four sums to zero.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        // SAFETY: tile registers are set up while `self` lives.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem),
            );
        }
    }

    /// Sets the four sums to the `32 x 32` numbers at `from`, whose rows are `stride` apart.
    ///
    /// # Safety
    /// They can be read.
    #[inline(always)]
    pub(crate) unsafe fn load(&mut self, from: *const f32, stride: usize) {
        // SAFETY: tile registers are set up while `self` lives; the caller vouches for the memory.
        unsafe {
            asm!(
                "tileloadd tmm0, [{a} + {s}*1]", "tileloadd tmm1, [{b} + {s}*1]",
                "tileloadd tmm2, [{c} + {s}*1]", "tileloadd tmm3, [{d} + {s}*1]",
                a = in(reg) from,
                b = in(reg) from.add(ROWS),
                c = in(reg) from.add(ROWS * stride),
                d = in(reg) from.add(ROWS * stride + ROWS),
                s = in(reg) stride * size_of::<f32>(),
                options(nostack, readonly),
            );
        }
    }

    /// Writes the four sums as `32 x 32` numbers to `to`, rows `stride` apart.
    ///
    /// # Safety
    /// They can be written.
    #[inline(always)]
    pub(crate) unsafe fn store(&mut self, to: *mut f32, stride: usize) {
        // SAFETY: tile registers are set up while `self` lives; the caller vouches for the memory.
        unsafe {
            asm!(
                "tilestored [{a} + {s}*1], tmm0", "tilestored [{b} + {s}*1], tmm1",
                "tilestored [{c} + {s}*1], tmm2", "tilestored [{d} + {s}*1], tmm3",
                a = in(reg) to,
                b = in(reg) to.add(ROWS),
                c = in(reg) to.add(ROWS * stride),
                d = in(reg) to.add(ROWS * stride + ROWS),
                s = in(reg) stride * size_of::<f32>(),
                options(nostack),
            );
        }
    }

    /// Adds the product of two registers at `a` (32 rows of 32 steps) with two at `b` (16 pairs of
    /// steps of 16 columns, then those of 16 more) to the sums.
    ///
    /// # Safety
    /// Two whole tile registers can be read at each.
    #[inline(always)]
    pub(crate) unsafe fn add_product(&mut self, a: *const Bf16, b: *const Bf16) {
        // SAFETY: tile registers are set up while `self` lives; the caller vouches for the memory.
        // The sums stay in their registers between the calls: the compiler uses none of them.
        unsafe {
            asm!(
                "tileloadd tmm4, [{a} + {s}*1]", "tileloadd tmm6, [{b} + {s}*1]",
                "tileloadd tmm5, [{a2} + {s}*1]", "tileloadd tmm7, [{b2} + {s}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                a = in(reg) a,
                a2 = in(reg) a.add(REGISTER),
                b = in(reg) b,
                b2 = in(reg) b.add(REGISTER),
                s = in(reg) STEPS * size_of::<Bf16>(),
                options(nostack, readonly),
            );
        }
    }
}

impl Drop for TileRegisters {
    fn drop(&mut self) {
        // SAFETY: registers were set up by `new`. Unused ones make a change of threads cheaper.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}
