//! Each kernel against its definition, its laws, and itself on other numbers of threads.

mod elementwise;
mod layout;
mod levels;
mod norm;
mod norm_tails;
mod reduce;

use std::cell::RefCell;
use std::hash::{DefaultHasher, Hasher};

use super::Real;
use super::dispatch::tests::at;
use super::dispatch::{Level, level};

thread_local! {
    /// The bits that [`assert_close_to`] saw on this thread.
    static SEEN: RefCell<DefaultHasher> = RefCell::default();
}

/// Lengths around every vector width and piece length.
const LENGTHS: [usize; 13] = [0, 1, 7, 8, 9, 31, 32, 33, 101, 16_384, 32_767, 32_768, 70_001];

/// The same `len` values in (−1, 1) for the same seed.
fn random<T: Real>(seed: u64, len: usize) -> Vec<T> {
    let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x2545_f491_4f6c_dd1d);
    xorshift(state, len)
}

/// `len` values in (−1, 1) from a state that is not 0.
pub(super) fn xorshift<T: Real>(mut state: u64, len: usize) -> Vec<T> {
    let mut next = || {
        // Marsaglia's xorshift, of which the upper bits are used.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    (0..len).map(|_| next()).collect()
}

/// Positions below `bound`.
fn random_indices(seed: u64, len: usize, bound: usize) -> Vec<u32> {
    let unit = random::<f64>(seed, len).into_iter().map(|x| (x + 1.0) / 2.0);
    unit.map(|x| ((x * bound as f64) as u32).min(bound as u32 - 1)).collect()
}

/// Rounding of sums of thousands of values of size 1.
fn tolerance<T: Real>() -> f64 {
    if size_of::<T>() == size_of::<f32>() { 2e-4 } else { 1e-12 }
}

/// Equal up to `tolerance` relative to the larger of 1 and the expected value.
#[track_caller]
fn assert_close_to<T: Real>(actual: &[T], expected: &[T], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        let (a, e) = (a.to_f64(), e.to_f64());
        SEEN.with_borrow_mut(|seen| seen.write_u64(a.to_bits()));
        let close = (a - e).abs() <= tolerance * e.abs().max(1.0);
        assert!(close || (a.is_nan() && e.is_nan()) || a == e, "element {i}: {a}, expected {e}");
    }
}

#[track_caller]
fn assert_close<T: Real>(actual: &[T], expected: &[T]) {
    assert_close_to(actual, expected, tolerance::<T>());
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `f` must return the same bits on any number of threads.
#[track_caller]
fn assert_same_on_all_threads<T: Real>(f: impl Fn() -> Vec<T> + Sync) {
    // Not equality of floats: a NaN must be the same NaN too.
    let bits = || f().into_iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
    let expected = at(level(), 1, bits);
    for n_threads in [2, 3, 7] {
        assert_eq!(at(level(), n_threads, bits), expected, "{n_threads} threads");
    }
}
