//! Buffers that outlive their owners: memory is handed from one tensor to the next, not to the
//! system.
//!
//! Touching fresh memory for the first time costs more than ten passes over warm memory, so a
//! buffer that is dropped goes to a pool, keyed by size class, from which the next one of its
//! class is taken.
//!
//! - Up to 16 KiB the system allocator is quick and keeps its own lists: no pool.
//! - Size classes are an eighth of a power of two apart, so at most an eighth of a buffer is
//!   unused.
//! - From 4 MiB on, buffers are aligned to huge pages, and on Linux ask for them.
//! - Live and pooled bytes together stay within the highest live bytes so far and a quarter more
//!   (at least 256 MiB more): a program that repeats its steps finds every buffer in the
//!   pool, and its footprint is bounded by its own peak. The class unused for longest is given
//!   back to the system first.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::Real;
use super::parallel::SERIAL;

/// Buffers of at most this many bytes come from the system allocator.
const SMALL_BYTES: usize = 16 << 10;
/// The least that the pool may hold beyond the highest live bytes.
const SLACK_BYTES: usize = 256 << 20;
/// A huge page; buffers of at least two are aligned to it.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// Alignment of other pooled buffers: a cache line, and the widest vector register.
const LINE_BYTES: usize = 64;
/// Alignment of small buffers: what the system allocator gives without searching.
const SMALL_ALIGN: usize = 16;

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
            Some(layout) if bytes <= SMALL_BYTES => fresh(layout).cast(),
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
            let pieces = buffer.par_chunks_mut(SERIAL).zip(values.par_chunks(SERIAL));
            pieces.for_each(|(to, from)| to.copy_from_slice(from));
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
            buffer.par_chunks_mut(SERIAL).for_each(|piece| piece.fill(value));
        }
        buffer
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        let bytes = self.len * size_of::<T>();
        match class_layout(bytes) {
            None => {}
            // SAFETY: `start` came from `fresh` with this layout, and nothing refers to it any
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
    /// The most that live and pooled buffers together come to, if their owners' peak is
    /// `peak_bytes`.
    pub fn most_bytes(peak_bytes: usize) -> usize {
        peak_bytes + SLACK_BYTES.max(peak_bytes / 4)
    }
}

/// What the buffers of all threads hold now.
pub fn stats() -> Stats {
    POOL.lock().stats
}

/// Gives all pooled buffers back to the system.
pub fn trim() {
    POOL.trim();
}

static POOL: Pool = Pool(Mutex::new(Shelves { shelves: Vec::new(), tick: 0, stats: Stats::NONE }));

/// The free buffers of all classes, behind one lock: buffers migrate between threads.
struct Pool(Mutex<Shelves>);

struct Shelves {
    /// One for each class met so far, sorted by size.
    shelves: Vec<Shelf>,
    /// Counts takes and gives: the clock of [`Shelf::used_at`].
    tick: u64,
    stats: Stats,
}

struct Shelf {
    layout: Layout,
    used_at: u64,
    free: Vec<Memory>,
}

/// Memory without an owner.
struct Memory(NonNull<u8>);
// SAFETY: nobody refers to free memory, so any thread may take it.
unsafe impl Send for Memory {}

impl Stats {
    const NONE: Stats = Stats { live_bytes: 0, pooled_bytes: 0, peak_bytes: 0, n_fresh: 0 };
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // No code that can panic runs under the lock between two related writes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, layout: Layout) -> NonNull<u8> {
        let mut pool = self.lock();
        let shelf = pool.shelf(layout);
        let reused = pool.shelves[shelf].free.pop();
        pool.stats.live_bytes += layout.size();
        pool.stats.peak_bytes = pool.stats.peak_bytes.max(pool.stats.live_bytes);
        if let Some(Memory(start)) = reused {
            pool.stats.pooled_bytes -= layout.size();
            return start;
        }
        pool.stats.n_fresh += 1;
        let evicted = pool.evict();
        drop(pool);
        release(evicted);
        fresh(layout)
    }

    fn give(&self, start: NonNull<u8>, layout: Layout) {
        let mut pool = self.lock();
        let shelf = pool.shelf(layout);
        pool.shelves[shelf].free.push(Memory(start));
        pool.stats.live_bytes -= layout.size();
        pool.stats.pooled_bytes += layout.size();
        let evicted = pool.evict();
        drop(pool);
        release(evicted);
    }

    fn trim(&self) {
        let mut pool = self.lock();
        let shelves = std::mem::take(&mut pool.shelves);
        pool.stats.pooled_bytes = 0;
        drop(pool);
        release(shelves.into_iter().map(|shelf| (shelf.layout, shelf.free)).collect());
    }
}

impl Shelves {
    /// The place of a class, which is made if need be and marked as used.
    fn shelf(&mut self, layout: Layout) -> usize {
        self.tick += 1;
        let place = match self.shelves.binary_search_by_key(&layout.size(), |s| s.layout.size()) {
            Ok(place) => place,
            Err(place) => {
                self.shelves.insert(place, Shelf { layout, used_at: 0, free: Vec::new() });
                place
            }
        };
        self.shelves[place].used_at = self.tick;
        place
    }

    /// Takes buffers out until the pool is within its bound, from the class unused for longest.
    fn evict(&mut self) -> Vec<(Layout, Vec<Memory>)> {
        let bound = self.stats.peak_bytes + SLACK_BYTES.max(self.stats.peak_bytes / 4);
        let mut evicted = Vec::new();
        while self.stats.live_bytes + self.stats.pooled_bytes > bound {
            let occupied = self.shelves.iter_mut().filter(|shelf| !shelf.free.is_empty());
            let Some(shelf) = occupied.min_by_key(|shelf| shelf.used_at) else { break };
            let excess = self.stats.live_bytes + self.stats.pooled_bytes - bound;
            let n = excess.div_ceil(shelf.layout.size()).min(shelf.free.len());
            self.stats.pooled_bytes -= n * shelf.layout.size();
            evicted.push((shelf.layout, shelf.free.split_off(shelf.free.len() - n)));
        }
        evicted
    }
}

/// The size class and alignment of memory for `bytes` bytes; nothing for no bytes.
fn class_layout(bytes: usize) -> Option<Layout> {
    if bytes == 0 {
        return None;
    }
    let (size, align) = if bytes <= SMALL_BYTES {
        (bytes.next_multiple_of(SMALL_ALIGN), SMALL_ALIGN)
    } else {
        let size = bytes.next_multiple_of(bytes.next_power_of_two() / 16);
        // By the rounded size: all buffers of a class are aligned alike.
        (size, if size >= 2 * HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { LINE_BYTES })
    };
    let layout = Layout::from_size_align(size, align);
    Some(layout.expect("a buffer is smaller than the memory"))
}

/// Zeroed memory from the system.
///
/// The first touch of large memory is shared by the threads.
fn fresh(layout: Layout) -> NonNull<u8> {
    let is_huge = layout.align() == HUGE_PAGE_BYTES;
    // SAFETY: no layout here has size 0.
    let start = unsafe { if is_huge { alloc(layout) } else { alloc_zeroed(layout) } };
    let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
    if is_huge {
        advise_huge_pages(start, layout.size());
        // SAFETY: the memory was allocated just above with this size, for us alone.
        let bytes = unsafe {
            let start = start.as_ptr().cast::<MaybeUninit<u8>>();
            std::slice::from_raw_parts_mut(start, layout.size())
        };
        bytes.par_chunks_mut(HUGE_PAGE_BYTES).for_each(|page| page.fill(MaybeUninit::new(0)));
    }
    start
}

fn release(evicted: Vec<(Layout, Vec<Memory>)>) {
    for (layout, memory) in evicted {
        for Memory(start) in memory {
            // SAFETY: it came from `fresh` with the layout of its class and has no owner.
            unsafe { dealloc(start.as_ptr(), layout) };
        }
    }
}

/// Asks for 2 MiB pages, which make the first touch five times cheaper; a refusal does no harm.
#[cfg(target_os = "linux")]
fn advise_huge_pages(start: NonNull<u8>, bytes: usize) {
    use std::ffi::{c_int, c_void};
    unsafe extern "C" {
        fn madvise(start: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
    const MADV_HUGEPAGE: c_int = 14;
    // Whole pages only: the last part may share its page with another allocation.
    let whole = bytes / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
    // SAFETY: the range lies within one allocation of ours, and this advice changes no contents.
    unsafe { madvise(start.as_ptr().cast(), whole, MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_start: NonNull<u8>, _bytes: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Pool {
        Pool(Mutex::new(Shelves { shelves: Vec::new(), tick: 0, stats: Stats::NONE }))
    }

    #[test]
    fn a_freed_buffer_is_the_next_of_its_class() {
        let pool = pool();
        let layout = class_layout(100_000).unwrap();
        let first = pool.take(layout);
        assert_eq!(pool.lock().stats.live_bytes, layout.size());
        pool.give(first, layout);
        assert_eq!(pool.lock().stats.pooled_bytes, layout.size());
        assert_eq!(pool.take(class_layout(99_000).unwrap()), first);
        let stats = pool.lock().stats;
        assert_eq!((stats.live_bytes, stats.pooled_bytes), (layout.size(), 0));
        assert_eq!((stats.peak_bytes, stats.n_fresh), (layout.size(), 1));
        pool.give(first, layout);
        pool.trim();
        assert_eq!(pool.lock().stats.pooled_bytes, 0);
    }

    #[test]
    fn the_pool_is_bounded_and_forgets_the_oldest_class_first() {
        // Accounting alone: the memory of these classes is never touched.
        let mut shelves = Shelves { shelves: Vec::new(), tick: 0, stats: Stats::NONE };
        let mut put = |bytes: usize| {
            let layout = class_layout(bytes).unwrap();
            let shelf = shelves.shelf(layout);
            shelves.shelves[shelf].free.push(Memory(NonNull::dangling()));
            shelves.stats.pooled_bytes += layout.size();
            shelves.evict().iter().map(|(layout, freed)| layout.size() * freed.len()).sum::<usize>()
        };
        let half = SLACK_BYTES / 2;
        assert_eq!((put(half), put(half / 2), put(half / 2)), (0, 0, 0));
        assert_eq!(put(half / 4), half);
        assert_eq!(shelves.stats.pooled_bytes, half + half / 4);
    }

    #[test]
    fn classes_waste_at_most_an_eighth() {
        assert_eq!(class_layout(0), None);
        for bytes in (1..400).chain((SMALL_BYTES - 3)..(SMALL_BYTES + 3)) {
            let size = class_layout(bytes).unwrap().size();
            assert!(size >= bytes && size < bytes + bytes / 8 + SMALL_ALIGN, "{bytes}: {size}");
        }
        for bytes in (SMALL_BYTES..30 << 20).step_by(100_003) {
            let layout = class_layout(bytes).unwrap();
            assert!(layout.size() >= bytes && layout.size() <= bytes + bytes / 8, "{bytes}");
            assert_eq!(layout.align() == HUGE_PAGE_BYTES, layout.size() >= 2 * HUGE_PAGE_BYTES);
            // All sizes of a class find the same layout, or a buffer would be freed with another.
            assert_eq!(class_layout(layout.size()), Some(layout), "{bytes}");
        }
    }

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
