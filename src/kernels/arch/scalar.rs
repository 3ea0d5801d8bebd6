//! Plain arrays: what a processor without a level of its own runs.
//!
//! Sixteen bytes wide and without fused arithmetic, so that the compiler finds the registers
//! that every 64-bit processor has (`f32::mul_add` would call a library function there).

use crate::kernels::Real;
use crate::kernels::vector::Vector;

/// `N` floats in an array.
#[derive(Clone, Copy)]
pub struct Lanes<T, const N: usize>([T; N]);

impl<T: Real, const N: usize> Vector for Lanes<T, N> {
    type Scalar = T;
    const LANES: usize = N;
    const BLOCK_ROWS: usize = 4;
    const BLOCK_VECTORS: usize = 2;

    #[inline(always)]
    unsafe fn splat(x: T) -> Self {
        Self([x; N])
    }
    #[inline(always)]
    unsafe fn load(from: *const T) -> Self {
        // SAFETY: the caller vouches for `N = LANES` readable elements.
        Self(unsafe { from.cast::<[T; N]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut T) {
        // SAFETY: the caller vouches for `N = LANES` writable elements.
        unsafe { to.cast::<[T; N]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn load_first(from: *const T, count: usize) -> Self {
        // SAFETY: the caller vouches for `count` readable elements.
        let read = |i| if i < count { unsafe { *from.add(i) } } else { T::ZERO };
        Self(std::array::from_fn(read))
    }
    #[inline(always)]
    unsafe fn store_first(self, to: *mut T, count: usize) {
        for i in 0..count.min(N) {
            // SAFETY: the caller vouches for `count` writable elements.
            unsafe { *to.add(i) = self.0[i] };
        }
    }
    #[inline(always)]
    unsafe fn prefetch(_at: *const T) {}
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * factor.0[i] + addend.0[i]))
    }
    #[inline(always)]
    unsafe fn zip(self, other: Self) -> (Self, Self) {
        let pair = |i: usize| if i % 2 == 0 { self.0[i / 2] } else { other.0[i / 2] };
        (Self(std::array::from_fn(pair)), Self(std::array::from_fn(|i| pair(N + i))))
    }
}
