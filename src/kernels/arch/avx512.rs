//! The vector registers of AVX-512F (32 of 512 bits). Rust has their instructions since 1.89; the
//! build script says whether this compiler does.

use std::arch::x86_64::*;

use super::x86_64::{first, vector};
use crate::kernels::vector::Vector;

vector! {
    /// Sixteen `f32`.
    F32x16(__m512) of f32, 16 lanes, block 8 x 3,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps load_first_f32x16 store_first_f32x16
    _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_fmadd_ps zip_f32x16
}
vector! {
    /// Eight `f64`.
    F64x8(__m512d) of f64, 8 lanes, block 8 x 3,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd load_first_f64x8 store_first_f64x8
    _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_fmadd_pd zip_f64x8
}

first! {
    f32, __m512, load_first_f32x16 store_first_f32x16,
    mask_f32x16 _mm512_maskz_loadu_ps _mm512_mask_storeu_ps
}
first! {
    f64, __m512d, load_first_f64x8 store_first_f64x8,
    mask_f64x8 _mm512_maskz_loadu_pd _mm512_mask_storeu_pd
}

#[inline(always)]
fn mask_f32x16(count: usize) -> __mmask16 {
    ((1u32 << count) - 1) as __mmask16
}

#[inline(always)]
fn mask_f64x8(count: usize) -> __mmask8 {
    ((1u32 << count) - 1) as __mmask8
}

#[inline(always)]
unsafe fn zip_f32x16(a: __m512, b: __m512) -> (__m512, __m512) {
    // SAFETY: the caller is inside the shell of AVX-512.
    unsafe {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        (_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b))
    }
}

#[inline(always)]
unsafe fn zip_f64x8(a: __m512d, b: __m512d) -> (__m512d, __m512d) {
    // SAFETY: the caller is inside the shell of AVX-512.
    unsafe {
        let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
        (_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b))
    }
}
