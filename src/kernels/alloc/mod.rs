//! Buffers that outlive their owners: memory is handed from one tensor to the next, not to the
//! system.
//!
//! Touching fresh memory for the first time costs more than ten passes over warm memory, so a
//! buffer that is dropped goes to a pool, keyed by size class, from which the next one of its
//! class is taken.
//!
//! - Up to 16 KiB the system allocator is quick and keeps its own lists: no pool.
//! - Size classes are an eighth of a power of two apart, so at most an eighth of a buffer is
//!   unused. A large buffer that is free also serves as two of half its size.
//! - From 4 MiB on, buffers are aligned to huge pages, and on Linux ask for them.
//! - Live and pooled bytes together stay within the highest live bytes so far and a quarter more
//!   (at least 256 MiB more): a program that repeats its steps finds every buffer in the
//!   pool, and its footprint is bounded by its own peak. The class unused for longest is given
//!   back to the system first; a half whose other half has an owner stays, whatever the bound.

mod pool;

use std::alloc::dealloc;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::Real;
use super::parallel::{SERIAL, for_each_chunk};
use pool::{POOL, SMALL_BYTES, class_layout, small};

/// The least that the pool may hold beyond the highest live bytes.
const SLACK_BYTES: usize = 256 << 20;

/// Element types for which any bytes that an earlier owner left are valid values.
///
/// # Safety
/// Every bit pattern must be a value, and the type must have no drop glue.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}
// SAFETY: `Real` is sealed over f32 and f64, of which every bit pattern is a value.
unsafe impl<T: Real> Plain for T {}
// SAFETY: every bit pattern of an integer is a value.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u8 {}

/// `len` elements of pooled memory; derefs to a slice, and returns to the pool on drop.
pub struct Buffer<T: Plain> {
    start: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: a buffer owns its memory alone, as `Vec` does, and its elements may be sent and shared.
unsafe impl<T: Plain> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    /// `len` elements with whatever values their last owner left: for outputs that are fully
    /// overwritten.
    pub fn stale(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).expect("a buffer is smaller than the memory");
        let start = match class_layout(bytes) {
            None => NonNull::dangling(),
            Some(layout) if bytes <= SMALL_BYTES => small(layout).cast(),
            Some(layout) => POOL.take(layout).cast(),
        };
        Buffer { start, len, owns: PhantomData }
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[T]) -> Self {
        let mut buffer = Self::stale(values.len());
        if values.len() < SERIAL {
            buffer.copy_from_slice(values);
        } else {
            for_each_chunk(&mut buffer, SERIAL, |i, to| {
                to.copy_from_slice(&values[i * SERIAL..][..to.len()]);
            });
        }
        buffer
    }

    /// The elements of a vector, copied into pooled memory.
    pub fn from_vec(values: Vec<T>) -> Self {
        Self::from_slice(&values)
    }
}

impl<T: Plain + Default> Buffer<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        Self::full(len, T::default())
    }
}

impl<T: Plain> Buffer<T> {
    /// `len` times the same value.
    pub fn full(len: usize, value: T) -> Self {
        let mut buffer = Self::stale(len);
        if len < SERIAL {
            buffer.fill(value);
        } else {
            for_each_chunk(&mut buffer, SERIAL, |_, piece| piece.fill(value));
        }
        buffer
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        let bytes = self.len * size_of::<T>();
        match class_layout(bytes) {
            None => {}
            // SAFETY: `start` came from `small` with this layout, and nothing refers to it any
            // more.
            Some(layout) if bytes <= SMALL_BYTES => unsafe {
                dealloc(self.start.as_ptr().cast(), layout)
            },
            Some(layout) => POOL.give(self.start.cast(), layout),
        }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: `start` is valid for `len` initialised elements (fresh memory is zeroed) while
        // `self` is.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only way to the elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Plain> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}

/// What pooled buffers hold; those of at most 16 KiB are not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes in buffers that someone owns.
    pub live_bytes: usize,
    /// Bytes in buffers that wait in the pool.
    pub pooled_bytes: usize,
    /// The highest `live_bytes` so far.
    pub peak_bytes: usize,
    /// How many buffers came from the system so far: constant once a program repeats its steps.
    pub n_fresh: usize,
}

impl Stats {
    const NONE: Stats = Stats { live_bytes: 0, pooled_bytes: 0, peak_bytes: 0, n_fresh: 0 };

    /// The most that live and pooled buffers together come to, if their owners' peak is
    /// `peak_bytes`.
    pub fn most_bytes(peak_bytes: usize) -> usize {
        peak_bytes + SLACK_BYTES.max(peak_bytes / 4)
    }
}

/// What the buffers of all threads hold now.
pub fn stats() -> Stats {
    POOL.stats()
}

/// Gives pooled buffers back to the system; what is part of a larger one that has still an owner
/// stays.
pub fn trim() {
    POOL.trim();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_hold_what_they_were_given() {
        for len in [0, 1, 5, 4096, 4097, 50_000, 1_200_000] {
            let zeros = Buffer::<f32>::zeroed(len);
            assert!(zeros.len() == len && zeros.iter().all(|&x| x == 0.0));
            drop(zeros);
            let values: Vec<u32> = (0..len as u32).collect();
            let buffer = Buffer::from_vec(values.clone());
            assert_eq!(buffer.clone()[..], values[..]);
            let sevens = Buffer::full(len, 7u8);
            assert!(sevens.iter().all(|&x| x == 7));
            assert_eq!(buffer[..], values[..]);
        }
    }

    #[test]
    fn buffers_migrate_between_threads() {
        let handles: Vec<_> = (0..8u32)
            .map(|i| std::thread::spawn(move || Buffer::full(30_000 + i as usize, i)))
            .collect();
        let buffers: Vec<Buffer<u32>> = handles.into_iter().map(|h| h.join().unwrap()).collect();
        for (i, buffer) in buffers.iter().enumerate() {
            assert!(buffer.iter().all(|&x| x as usize == i));
        }
        assert!(stats().peak_bytes >= 8 * 120_000);
    }
}
