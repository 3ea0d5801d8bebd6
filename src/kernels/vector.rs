//! What a vector register can do, and nothing about which register it is.

use super::Real;

/// A register of equal floats, lane by lane.
///
/// # Safety
/// The methods of an implementation may compile to instructions that not every processor has.
/// They are marked `#[inline(always)]` and must only be called from code that ends up inside
/// the `#[target_feature]` shell of their level ([`super::dispatch::run`] is the one that
/// enters it); pointers must be valid for reads, or writes, of `LANES` elements and need no
/// alignment.
#[allow(unreachable_pub)] // Rust 1.85 does not see that it bounds the types of `Sealed`.
pub trait Vector: Copy {
    /// The float of one lane.
    type Scalar: Real;
    /// Floats in one register.
    const LANES: usize;
    /// Rows of the largest register block of a product that the register file holds.
    const BLOCK_ROWS: usize;
    /// Registers in each row of that block.
    const BLOCK_VECTORS: usize;

    /// The same value in each lane.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn splat(x: Self::Scalar) -> Self;
    /// Reads `LANES` values.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn load(from: *const Self::Scalar) -> Self;
    /// Writes `LANES` values.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn store(self, to: *mut Self::Scalar);
    /// Reads `count < LANES` values and fills up with zeros; touches nothing behind them.
    ///
    /// # Safety
    /// `from` is valid for `count` values; and see the trait.
    unsafe fn load_first(from: *const Self::Scalar, count: usize) -> Self;
    /// Writes the first `count < LANES` values; touches nothing behind them.
    ///
    /// # Safety
    /// `to` is valid for `count` values; and see the trait.
    unsafe fn store_first(self, to: *mut Self::Scalar, count: usize);
    /// Asks for the cache line of an address, which may be any.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn prefetch(at: *const Self::Scalar);
    /// `self + other`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn add(self, other: Self) -> Self;
    /// `self − other`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self · other`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self · factor + addend`, rounded once or twice as the level does it best.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// Interleaves: `(a0 b0 a1 b1 …, …)`, first the lower halves, then the upper ones.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn zip(self, other: Self) -> (Self, Self);
}
