//! The vector registers of AVX2 with FMA (16 of 256 bits), and the macros that AVX-512 shares.
//!
//! A register block takes rows × vectors accumulators, one register for each vector of B, one for
//! the broadcast of A, and of 16 registers a spare one: a 4 × 3 block needs them all, and was
//! measured at half the speed, because the compiler kept one sum in memory.

use std::arch::x86_64::*;

use crate::kernels::vector::Vector;

macro_rules! vector {
    (
        $(#[$doc:meta])* $name:ident($register:ty) of $scalar:ty, $lanes:literal lanes,
        block $rows:literal x $vectors:literal,
        $splat:ident $load:ident $store:ident $load_first:ident $store_first:ident
        $add:ident $sub:ident $mul:ident $fma:ident $zip:ident
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name($register);

        // SAFETY of the bodies: the caller is inside the shell of this level (the processor has
        // the instructions) and vouches for `LANES` readable or writable elements.
        impl Vector for $name {
            type Scalar = $scalar;
            const LANES: usize = $lanes;
            const BLOCK_ROWS: usize = $rows;
            const BLOCK_VECTORS: usize = $vectors;

            #[inline(always)]
            unsafe fn splat(x: $scalar) -> Self {
                // SAFETY: see above.
                unsafe { Self($splat(x)) }
            }
            #[inline(always)]
            unsafe fn load(from: *const $scalar) -> Self {
                // SAFETY: see above.
                unsafe { Self($load(from)) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $scalar) {
                // SAFETY: see above.
                unsafe { $store(to, self.0) }
            }
            #[inline(always)]
            unsafe fn load_first(from: *const $scalar, count: usize) -> Self {
                // SAFETY: see above.
                unsafe { Self($load_first(from, count)) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $scalar, count: usize) {
                // SAFETY: see above.
                unsafe { $store_first(self.0, to, count) }
            }
            #[inline(always)]
            unsafe fn prefetch(at: *const $scalar) {
                // SAFETY: a hint, which does not fault.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: see above.
                unsafe { Self($add(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                // SAFETY: see above.
                unsafe { Self($sub(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                // SAFETY: see above.
                unsafe { Self($mul(self.0, other.0)) }
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                // SAFETY: see above.
                unsafe { Self($fma(self.0, factor.0, addend.0)) }
            }
            #[inline(always)]
            unsafe fn zip(self, other: Self) -> (Self, Self) {
                // SAFETY: see above.
                let (low, high) = unsafe { $zip(self.0, other.0) };
                (Self(low), Self(high))
            }
        }
    };
}
#[cfg(avx512)]
pub(super) use vector;

vector! {
    /// Eight `f32`.
    F32x8(__m256) of f32, 8 lanes, block 6 x 2,
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps load_first_f32x8 store_first_f32x8
    _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_fmadd_ps zip_f32x8
}
vector! {
    /// Four `f64`.
    F64x4(__m256d) of f64, 4 lanes, block 6 x 2,
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd load_first_f64x4 store_first_f64x4
    _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_fmadd_pd zip_f64x4
}

/// The two accesses to the first lanes of a register: masked lanes are not touched.
macro_rules! first {
    (
        $scalar:ident, $register:ident, $load_first:ident $store_first:ident,
        $mask:ident $load:ident $store:ident
    ) => {
        #[inline(always)]
        unsafe fn $load_first(from: *const $scalar, count: usize) -> $register {
            // SAFETY: the caller is inside the shell of the level and vouches for `count` elements.
            unsafe { $load($mask(count), from) }
        }
        #[inline(always)]
        unsafe fn $store_first(x: $register, to: *mut $scalar, count: usize) {
            // SAFETY: the caller is inside the shell of the level and vouches for `count` elements.
            unsafe { $store(to, $mask(count), x) }
        }
    };
}
#[cfg(avx512)]
pub(super) use first;

first! {
    f32, __m256, load_first_f32x8 store_first_f32x8, mask_f32x8 maskload_ps _mm256_maskstore_ps
}
first! {
    f64, __m256d, load_first_f64x4 store_first_f64x4, mask_f64x4 maskload_pd _mm256_maskstore_pd
}

#[inline(always)]
unsafe fn mask_f32x8(count: usize) -> __m256i {
    // SAFETY: the caller is inside the shell of AVX2.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes)
    }
}

#[inline(always)]
unsafe fn mask_f64x4(count: usize) -> __m256i {
    // SAFETY: the caller is inside the shell of AVX2.
    unsafe {
        let lanes = _mm256_setr_epi64x(0, 1, 2, 3);
        _mm256_cmpgt_epi64(_mm256_set1_epi64x(count as i64), lanes)
    }
}

#[inline(always)]
unsafe fn maskload_ps(mask: __m256i, from: *const f32) -> __m256 {
    // SAFETY: the caller is inside the shell of AVX2; masked elements are not read.
    unsafe { _mm256_maskload_ps(from, mask) }
}

#[inline(always)]
unsafe fn maskload_pd(mask: __m256i, from: *const f64) -> __m256d {
    // SAFETY: the caller is inside the shell of AVX2; masked elements are not read.
    unsafe { _mm256_maskload_pd(from, mask) }
}

#[inline(always)]
unsafe fn zip_f32x8(a: __m256, b: __m256) -> (__m256, __m256) {
    // SAFETY: the caller is inside the shell of AVX2.
    unsafe {
        // The unpack instructions work within halves of 128 bits; the permutes put those in order.
        let (even, odd) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        (_mm256_permute2f128_ps::<0x20>(even, odd), _mm256_permute2f128_ps::<0x31>(even, odd))
    }
}

#[inline(always)]
unsafe fn zip_f64x4(a: __m256d, b: __m256d) -> (__m256d, __m256d) {
    // SAFETY: the caller is inside the shell of AVX2.
    unsafe {
        let (even, odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        (_mm256_permute2f128_pd::<0x20>(even, odd), _mm256_permute2f128_pd::<0x31>(even, odd))
    }
}
