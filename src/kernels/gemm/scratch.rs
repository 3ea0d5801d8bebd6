//! Working memory that kernels reuse: packed panels and partial sums.
//!
//! Small blocks stay with their thread; large ones come from the pool of all buffers.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::kernels::Real;
use crate::kernels::alloc::Buffer;

/// One cache line: the alignment of all scratch memory.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Most blocks that a thread keeps for its next kernels.
const KEPT_BLOCKS: usize = 8;
/// Bytes from which on a block is not kept: others can use it meanwhile.
const LARGE_BYTES: usize = 4 << 20;

thread_local! {
    /// Blocks that this thread has given back. A list and not one block: a thread that waits
    /// for the pieces of one kernel may be lent to a piece of another.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// `len` floats of stale contents, aligned to a cache line, given back on drop.
pub(in crate::kernels) struct Scratch<T: Real> {
    block: Block<T>,
    len: usize,
}

enum Block<T: Real> {
    OfThread(Vec<Line>),
    OfPool(Buffer<T>),
}

impl<T: Real> Scratch<T> {
    /// Takes a block with room for `len` elements.
    #[inline]
    pub(in crate::kernels) fn take(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        let block = if bytes < LARGE_BYTES {
            Block::OfThread(take_lines(bytes.div_ceil(size_of::<Line>())))
        } else {
            Block::OfPool(Buffer::stale(len))
        };
        Self { block, len }
    }
}

/// Only a larger need than any before allocates.
fn take_lines(lines: usize) -> Vec<Line> {
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
    block
}

impl<T: Real> Drop for Scratch<T> {
    fn drop(&mut self) {
        let Block::OfThread(block) = &mut self.block else { return };
        let block = std::mem::take(block);
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
        match &self.block {
            // SAFETY: `take` made `block` at least `len` floats long, a line is stricter aligned
            // than a float, all its bytes are initialised, and any bits are a float.
            Block::OfThread(block) => unsafe {
                std::slice::from_raw_parts(block.as_ptr().cast::<T>(), self.len)
            },
            Block::OfPool(buffer) => buffer,
        }
    }
}

impl<T: Real> DerefMut for Scratch<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.block {
            // SAFETY: as in `deref`, and the block is borrowed mutably; any float is valid bits.
            Block::OfThread(block) => unsafe {
                std::slice::from_raw_parts_mut(block.as_mut_ptr().cast::<T>(), self.len)
            },
            Block::OfPool(buffer) => buffer,
        }
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
        let mut large = Scratch::<f64>::take(LARGE_BYTES / 8);
        large[LARGE_BYTES / 8 - 1] = 1.0;
        assert_eq!(large.as_ptr() as usize % 64, 0);
    }
}
