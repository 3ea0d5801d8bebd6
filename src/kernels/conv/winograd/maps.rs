//! The five linear maps of Winograd's algorithm F(4×4, 3×3), one dimension of each.
//!
//! Three taps slide over six inputs to four outputs. With polynomials in place of the sequences,
//! the outputs follow from products at six points, here `0, ±1/√2, ±√2, ∞`:
//!
//! ```text
//! y = Aᵀ [(G w) ⊙ (Bᵀ x)]          p   the row of Bᵀ: coefficients of Π (t − q), q ≠ p
//!                                      the row of G:  1, p, p² over Π (p − q), q ≠ p
//!                                      the row of A:  1, p, p², p³
//! ```
//!
//! In two dimensions each map is applied to the columns and to the rows. The sum
//! `Σ y·g = Σ (G w Gᵀ) ⊙ (Bᵀ x B) ⊙ (A g Aᵀ)` is symmetric in its three factors, so that the
//! weight gradient needs the maps `A`, for the incoming gradient, and `Gᵀ`, for the result.
//!
//! The points decide the rounding: with `0, ±1, ±2, ∞`, whose matrices have small integers, the
//! error at 512 channels is 1.8e-5 of the largest output, with these 3.7e-6.
//! They are chosen for `(1/√2)² · (√2)² = 1`, which keeps all factors near one.
//!
//! Source: Winograd 1980, *Arithmetic Complexity of Computations*; Lavin and Gray 2015,
//! arXiv 1509.09308; on points, Barabasz et al. 2018, arXiv 1803.10986.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::kernels::Real;
use crate::kernels::vector::Vector;

/// The side of the largest square that a map reads or writes.
pub(super) const SIDE: usize = 6;
/// The side of a tile of outputs.
pub(super) const TILE: usize = 4;
/// The taps of a kernel row.
pub(super) const TAPS: usize = 3;

/// One dimension of a map from `FROM` to `TO` values; what stands behind them in the arrays is
/// neither used nor meant.
pub(super) trait Map {
    /// Values that are read.
    const FROM: usize;
    /// Values that are written.
    const TO: usize;

    /// The map of one line.
    ///
    /// # Safety
    /// Only inside the shell of `V`.
    unsafe fn line<V: Vector>(x: [V; SIDE]) -> [V; SIDE];
}

/// The same value in each lane.
#[inline(always)]
unsafe fn all<V: Vector>(x: f64) -> V {
    // SAFETY: the caller is inside the shell of `V`.
    unsafe { V::splat(V::Scalar::from_f64(x)) }
}

/// `Bᵀ`: a square of inputs.
pub(super) struct Input;

impl Map for Input {
    const FROM: usize = SIDE;
    const TO: usize = SIDE;

    #[inline(always)]
    unsafe fn line<V: Vector>([x0, x1, x2, x3, x4, x5]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller is inside the shell of `V`.
        unsafe {
            let (half, two, five_halves) = (all::<V>(-0.5), all::<V>(-2.0), all::<V>(-2.5));
            let (even_a, odd_a) = (x2.mul_add(two, x4), x1.mul_add(two, x3));
            let (even_b, odd_b) = (x2.mul_add(half, x4), x1.mul_add(half, x3));
            [
                x2.mul_add(five_halves, x0.add(x4)),
                odd_a.mul_add(all(FRAC_1_SQRT_2), even_a),
                odd_a.mul_add(all(-FRAC_1_SQRT_2), even_a),
                odd_b.mul_add(all(SQRT_2), even_b),
                odd_b.mul_add(all(-SQRT_2), even_b),
                x3.mul_add(five_halves, x1.add(x5)),
            ]
        }
    }
}

/// `G`: the taps.
pub(super) struct Weights;

impl Map for Weights {
    const FROM: usize = TAPS;
    const TO: usize = SIDE;

    #[inline(always)]
    unsafe fn line<V: Vector>([w0, w1, w2, ..]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller is inside the shell of `V`.
        unsafe {
            // Divided by −3/2 at ±1/√2 and by 6 at ±√2.
            let even_a = w2.mul_add(all(-1.0 / 3.0), w0.mul(all(-2.0 / 3.0)));
            let even_b = w2.mul_add(all(1.0 / 3.0), w0.mul(all(1.0 / 6.0)));
            let (a, b) = (FRAC_1_SQRT_2 * 2.0 / 3.0, SQRT_2 / 6.0);
            [
                w0,
                w1.mul_add(all(-a), even_a),
                w1.mul_add(all(a), even_a),
                w1.mul_add(all(b), even_b),
                w1.mul_add(all(-b), even_b),
                w2,
            ]
        }
    }
}

/// `Aᵀ`: products to a tile of outputs.
pub(super) struct Output;

impl Map for Output {
    const FROM: usize = SIDE;
    const TO: usize = TILE;

    #[inline(always)]
    unsafe fn line<V: Vector>([m0, m1, m2, m3, m4, m5]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller is inside the shell of `V`.
        unsafe {
            let (even_a, odd_a) = (m1.add(m2), m1.sub(m2));
            let (even_b, odd_b) = (m3.add(m4), m3.sub(m4));
            let y1 = odd_a.mul_add(all(FRAC_1_SQRT_2), odd_b.mul(all(SQRT_2)));
            let y2 = even_a.mul_add(all(0.5), even_b.add(even_b));
            let y3 = odd_b.mul_add(all(2.0 * SQRT_2), m5);
            let y3 = odd_a.mul_add(all(0.5 * FRAC_1_SQRT_2), y3);
            [m0.add(even_a).add(even_b), y1, y2, y3, y3, y3]
        }
    }
}

/// `A`: a tile of the incoming gradient.
pub(super) struct Gradient;

impl Map for Gradient {
    const FROM: usize = TILE;
    const TO: usize = SIDE;

    #[inline(always)]
    unsafe fn line<V: Vector>([g0, g1, g2, g3, ..]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller is inside the shell of `V`.
        unsafe {
            let (even_a, odd_a) = (g2.mul_add(all(0.5), g0), g3.mul_add(all(0.5), g1));
            let (even_b, odd_b) = (g2.mul_add(all(2.0), g0), g3.mul_add(all(2.0), g1));
            [
                g0,
                odd_a.mul_add(all(FRAC_1_SQRT_2), even_a),
                odd_a.mul_add(all(-FRAC_1_SQRT_2), even_a),
                odd_b.mul_add(all(SQRT_2), even_b),
                odd_b.mul_add(all(-SQRT_2), even_b),
                g3,
            ]
        }
    }
}

/// `Gᵀ`: sums of products to the gradient of the taps.
pub(super) struct WeightGradient;

impl Map for WeightGradient {
    const FROM: usize = SIDE;
    const TO: usize = TAPS;

    #[inline(always)]
    unsafe fn line<V: Vector>([s0, s1, s2, s3, s4, s5]: [V; SIDE]) -> [V; SIDE] {
        // SAFETY: the caller is inside the shell of `V`.
        unsafe {
            let (even_a, odd_a) = (s1.add(s2), s1.sub(s2));
            let (even_b, odd_b) = (s3.add(s4), s3.sub(s4));
            let w0 = even_b.mul_add(all(1.0 / 6.0), s0);
            let w0 = even_a.mul_add(all(-2.0 / 3.0), w0);
            let w1 = odd_b.mul(all(SQRT_2 / 6.0));
            let w1 = odd_a.mul_add(all(-FRAC_1_SQRT_2 * 2.0 / 3.0), w1);
            let w2 = even_b.mul_add(all(1.0 / 3.0), s5);
            let w2 = even_a.mul_add(all(-1.0 / 3.0), w2);
            [w0, w1, w2, w2, w2, w2]
        }
    }
}
