//! Numbers in bf16: an `f32` of which eight bits of the significand are kept.

use super::Real;
use super::elementwise;
use super::gemm::scratch::Scratch;

/// What matrix products and convolutions multiply; sums have the operands' type in any case.
///
/// Rounding is differentiated as the identity: a derivative is again a product of such operands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// The operands as they are.
    #[default]
    Full,
    /// `f32` operands rounded to bf16, `f64` operands as they are.
    Bf16,
}

impl Precision {
    /// Whether operands of type `T` are rounded.
    pub(super) fn rounds<T: Real>(self) -> bool {
        self == Precision::Bf16 && T::singles(&[]).is_some()
    }
}

/// The upper half of the bits of an `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(u16);

impl Bf16 {
    /// The nearest number, of two equally near ones the even one. NaN stays NaN.
    #[inline(always)]
    pub fn new(x: f32) -> Self {
        let bits = x.to_bits();
        let even = (bits >> 16) & 1;
        let rounded = bits.wrapping_add(0x7fff + even) >> 16;
        // Rounding would carry a NaN's bits out of the number.
        Self(if x.is_nan() { 0x7fc0 } else { rounded as u16 })
    }

    /// The same number as an `f32`.
    #[inline(always)]
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// The numbers rounded to bf16.
///
/// # Panics
/// If they are not `f32`.
pub(super) fn rounded<T: Real>(x: &[T]) -> Scratch<T> {
    let mut y = Scratch::take(x.len());
    let numbers = T::singles(x).zip(T::singles_mut(&mut y));
    let (x, to) = numbers.expect("only f32 is rounded");
    elementwise::map(x, to, |x| Bf16::new(x).to_f32());
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_to_the_nearest_and_to_even() {
        let step = 2f32.powi(-7); // Between numbers from 1 to 2.
        let cases = [
            (1.0 + step, 1.0 + step),
            (1.0 + 0.49 * step, 1.0),
            (1.0 + 0.5 * step, 1.0),
            (1.0 + 0.51 * step, 1.0 + step),
            (1.0 + 1.5 * step, 1.0 + 2.0 * step),
            (-0.0, -0.0),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ];
        let rounded = rounded(&cases.map(|(x, _)| x));
        for (got, (x, want)) in rounded.iter().zip(cases) {
            assert_eq!(got.to_bits(), want.to_bits(), "{x} became {got} and not {want}");
        }
        for bits in [0x7f80_0001, 0x7fc0_0000, 0xffff_ffff] {
            assert!(Bf16::new(f32::from_bits(bits)).to_f32().is_nan());
        }
    }
}
