//! The two float types of the engine, behind one sealed trait.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use super::arch;
use super::vector::Vector;

mod sealed {
    use super::Vector;

    /// `C ← α A B + β C` as the crate matrixmultiply takes it: rows, steps and columns, then each
    /// matrix with its two strides after its factor.
    pub(super) type Gemm<T> = unsafe fn(
        usize,
        usize,
        usize,
        T,
        *const T,
        isize,
        isize,
        *const T,
        isize,
        isize,
        T,
        *mut T,
        isize,
        isize,
    );

    /// Closes [`super::Real`], and names the vectors of each level and the portable product for a
    /// float type.
    pub trait Sealed: Sized {
        type Scalar: Vector<Scalar = Self>;
        const GEMM: Gemm<Self>;
        /// The numbers as `f32`, if they are.
        fn singles(x: &[Self]) -> Option<&[f32]>;
        /// The numbers as `f32`, if they are.
        fn singles_mut(x: &mut [Self]) -> Option<&mut [f32]>;
        #[cfg(target_arch = "x86_64")]
        type Avx2: Vector<Scalar = Self>;
        #[cfg(avx512)]
        type Avx512: Vector<Scalar = Self>;
    }
}

impl sealed::Sealed for f32 {
    type Scalar = arch::scalar::Lanes<f32, 4>;
    const GEMM: sealed::Gemm<f32> = matrixmultiply::sgemm;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = arch::x86_64::F32x8;
    #[cfg(avx512)]
    type Avx512 = arch::avx512::F32x16;

    fn singles(x: &[f32]) -> Option<&[f32]> {
        Some(x)
    }
    fn singles_mut(x: &mut [f32]) -> Option<&mut [f32]> {
        Some(x)
    }
}

impl sealed::Sealed for f64 {
    type Scalar = arch::scalar::Lanes<f64, 2>;
    const GEMM: sealed::Gemm<f64> = matrixmultiply::dgemm;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = arch::x86_64::F64x4;
    #[cfg(avx512)]
    type Avx512 = arch::avx512::F64x8;

    fn singles(_: &[f64]) -> Option<&[f32]> {
        None
    }
    fn singles_mut(_: &mut [f64]) -> Option<&mut [f32]> {
        None
    }
}

/// A float that the engine computes with: `f32` (training) or `f64` (checks and references).
///
/// Sealed: kernels are chosen by type, so another type would have no kernels.
pub trait Real:
    sealed::Sealed
    + Copy
    + Default
    + PartialOrd
    + Debug
    + Display
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The largest finite value.
    const MAX: Self;

    /// The nearest value of this type.
    fn from_f64(x: f64) -> Self;
    /// The value as `f64`, exact for both types.
    fn to_f64(self) -> f64;
    /// The nearest value to a count.
    fn from_usize(n: usize) -> Self {
        Self::from_f64(n as f64)
    }
    /// `e^x`: for `f32` within 2 units in the last place.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// `ln(1 + x)`, with every digit of a small `x`.
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `self^exponent`.
    fn powf(self, exponent: Self) -> Self;
    /// Absolute value.
    fn abs(self) -> Self;
    /// The larger of two values; a NaN operand is ignored.
    fn max(self, other: Self) -> Self;
    /// The smaller of two values; a NaN operand is ignored.
    fn min(self, other: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Whether this is not a number.
    fn is_nan(self) -> bool;
}

macro_rules! real {
    ($t:ty, $exp:path) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MAX: Self = <$t>::MAX;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                self.ln_1p()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn powf(self, exponent: Self) -> Self {
                self.powf(exponent)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                self.max(other)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                self.min(other)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
        }
    };
}
real!(f32, super::exp::exp); // Vectorises, eight times the speed of the library's.
real!(f64, f64::exp);
