//! Working memory that kernels reuse: packed panels and partial sums.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::kernels::Real;

/// One cache line: the alignment of all scratch memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Most blocks that a thread keeps for its next kernels.
const KEPT_BLOCKS: usize = 8;

thread_local! {
    /// Blocks that this thread has given back. A list and not one block: a thread that waits
    /// for the pieces of one kernel may be lent to a piece of another.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// `len` floats of stale contents, aligned to a cache line, given back to the thread on drop.
pub(in crate::kernels) struct Scratch<T: Real> {
    block: Vec<Line>,
    len: usize,
    elements: PhantomData<T>,
}

impl<T: Real> Scratch<T> {
    /// Takes a block with room for `len` elements; only a larger need than any before allocates.
    pub(in crate::kernels) fn take(len: usize) -> Self {
        let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
        let mut block = FREE.with_borrow_mut(|free| {
            // The smallest block that fits, or else the largest, which is then grown.
            let fits = (0..free.len()).filter(|&i| free[i].len() >= lines);
            let best = fits.min_by_key(|&i| free[i].len());
            let best = best.or_else(|| (0..free.len()).max_by_key(|&i| free[i].len()));
            best.map(|i| free.swap_remove(i)).unwrap_or_default()
        });
        if block.len() < lines {
            // Dropped first, so that its stale contents are not copied.
            drop(block);
            block = vec![Line([0; 8]); lines];
        }
        Self { block, len, elements: PhantomData }
    }
}

impl<T: Real> Drop for Scratch<T> {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.block);
        // A thread that is ending has no list any more: the block is then freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT_BLOCKS {
                free.push(block);
            }
        });
    }
}

impl<T: Real> Deref for Scratch<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `take` made `block` at least `len` floats long, a line is stricter aligned than
        // a float, all its bytes are initialised, and any bits are a float.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().cast::<T>(), self.len) }
    }
}

impl<T: Real> DerefMut for Scratch<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and the block is borrowed mutably; any float is valid bits.
        unsafe { std::slice::from_raw_parts_mut(self.block.as_mut_ptr().cast::<T>(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back() {
        let address = {
            let mut a = Scratch::<f32>::take(1000);
            a[999] = 1.0;
            let b = Scratch::<f64>::take(10);
            assert_ne!(a.as_ptr().cast::<u8>(), b.as_ptr().cast::<u8>());
            a.as_ptr().cast::<u8>()
        };
        let again = Scratch::<f64>::take(500);
        assert_eq!(again.as_ptr().cast::<u8>(), address);
        assert_eq!(again.as_ptr() as usize % 64, 0);
        assert_eq!(again.len(), 500);
        assert_eq!(Scratch::<f32>::take(0).len(), 0);
    }
}
