//! The exponential without a table or a branch, so that the compiler vectorises loops over it.

/// `e^x` within 2 units in the last place.
///
/// With `n = round(x / ln 2)` and `r = x − n ln 2`, `e^x = 2ⁿ eʳ`, where `eʳ` is a polynomial.
/// Overflows to ∞, underflows through the subnormal numbers to 0, and keeps a NaN.
///
/// Formula: exp-1.
///
/// Source: the coefficients are those of S. L. Moshier's Cephes library, `expf`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // ln 2 in two parts, the first with so few bits that its product with n is exact.
    const LN2_HIGH: f32 = 355.0 / 512.0;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding it leaves no room for a fraction: the sum is rounded to an integer, whose bits are
    // the lowest of the sum.
    const ROUND: f32 = 12_582_912.0;
    // Beyond these the result is 0 or ∞; a NaN passes both comparisons.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };

    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + c;
    }
    let e_r = p * (r * r) + r + 1.0;
    // 2ⁿ in two factors: one alone would leave the range of exponents at both ends.
    let n = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    e_r * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Formula: exp-1.
    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        for i in -103_900..=88_700 {
            let x = i as f32 / 1000.0 + 0.000_37;
            let exact = f64::from(x).exp();
            // One unit in the last place, which no longer shrinks among the subnormal numbers.
            let unit = (exact * f64::from(f32::EPSILON) / 2.0).max(f64::from(f32::from_bits(1)));
            worst = worst.max((f64::from(exp(x)) - exact).abs() / unit);
        }
        assert!(worst <= 2.5, "{worst} half units");
    }

    #[test]
    fn exp_at_the_ends() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(89.5), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(f32::NAN).is_nan() && exp(-f32::NAN).is_nan());
    }
}
