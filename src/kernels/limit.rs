//! What the processor could do at most: the measure that the benches hold kernels against.

use std::hint::black_box;

use super::Real;
use super::dispatch::{self, Kernel, Level};
use super::vector::Vector;

/// Independent sums: enough to hide the latency of a multiply-add, few enough for the registers.
const SUMS: usize = 12;

/// Does `rounds` multiply-adds in each lane of each of some registers, with no access to memory;
/// returns how many floating-point operations that were (a multiply-add is two).
pub fn multiply_adds<T: Real>(level: Level, rounds: usize) -> usize {
    dispatch::run::<T, _>(level, MultiplyAdds { rounds })
}

struct MultiplyAdds {
    rounds: usize,
}

impl<T: Real> Kernel<T> for MultiplyAdds {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<V: Vector<Scalar = T>>(self) -> usize {
        // SAFETY: this is the shell of `V`, and the array holds `LANES` values.
        unsafe {
            let (factor, start) = (V::splat(black_box(T::ZERO)), V::splat(black_box(T::ONE)));
            let mut sums = [start; SUMS];
            for _ in 0..self.rounds {
                for sum in &mut sums {
                    *sum = sum.mul_add(factor, start);
                }
            }
            let total = sums[1..].iter().fold(sums[0], |total, sum| total.add(*sum));
            let mut out = [T::ZERO; 16];
            assert!(V::LANES <= out.len(), "a register larger than the array");
            total.store(out.as_mut_ptr());
            black_box(out);
        }
        2 * SUMS * V::LANES * self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::dispatch::RegisterBlock;
    use crate::kernels::dispatch::tests::levels;

    #[test]
    fn operations_are_counted_by_lanes() {
        for level in levels() {
            let lanes = RegisterBlock::of::<f32>(level).lanes;
            assert_eq!(multiply_adds::<f32>(level, 3), 2 * SUMS * lanes * 3);
        }
    }
}
