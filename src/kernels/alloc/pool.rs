//! The pool behind all buffers: free memory by size class, behind one lock.
//!
//! Where a large class has nothing free, memory of twice its size is split, or of four times and so
//! on; two halves that are both free become one again. Networks halve the size of what they compute
//! again and again, so that what wide layers have freed serves narrow ones, and comes back. Where
//! that does not help either, memory of a somewhat larger class is lent as it is.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stats;
use crate::kernels::parallel::for_each_chunk;

/// Buffers of at most this many bytes come from the system allocator.
pub(super) const SMALL_BYTES: usize = 16 << 10;
/// A huge page; buffers of at least two are aligned to it.
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// The most that is asked for at once where less is wanted.
const CHUNK_BYTES: usize = 64 << 20;
/// Alignment of other pooled buffers: a cache line, and the widest vector register.
const LINE_BYTES: usize = 64;
/// Alignment of small buffers: what the system allocator gives without searching.
const SMALL_ALIGN: usize = 16;

pub(super) static POOL: Pool = Pool::new();

/// Buffers migrate between threads, so all threads share one.
pub(super) struct Pool(Mutex<Shelves>);

struct Shelves {
    /// One for each class met so far, sorted by size.
    shelves: Vec<Shelf>,
    /// The halves of split memory, lent or free, by place and size; each with the first of the two.
    halves: BTreeMap<(Memory, usize), Memory>,
    /// What was lent as memory of a smaller class.
    lent: BTreeMap<Memory, Layout>,
    /// Counts takes and gives: the clock of [`Shelf::used_at`].
    tick: u64,
    stats: Stats,
}

struct Shelf {
    layout: Layout,
    used_at: u64,
    free: Vec<Free>,
}

/// Memory without an owner.
struct Free {
    memory: Memory,
    /// Whether it has ever had values.
    is_touched: bool,
}

/// The start of memory that the pool knows of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Memory(NonNull<u8>);
// SAFETY: the pool only reads and writes free memory, to which nobody else refers.
unsafe impl Send for Memory {}

impl Pool {
    const fn new() -> Pool {
        Pool(Mutex::new(Shelves {
            shelves: Vec::new(),
            halves: BTreeMap::new(),
            lent: BTreeMap::new(),
            tick: 0,
            stats: Stats::NONE,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        // No code that can panic runs under the lock between two related writes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().stats
    }

    /// Memory of a class, with whatever values its last owner left.
    pub(super) fn take(&self, layout: Layout) -> NonNull<u8> {
        let mut pool = self.lock();
        let (Free { memory, is_touched }, layout, evicted) = pool.find(layout);
        pool.stats.pooled_bytes -= layout.size();
        pool.stats.live_bytes += layout.size();
        pool.stats.peak_bytes = pool.stats.peak_bytes.max(pool.stats.live_bytes);
        drop(pool);
        release(evicted);
        if !is_touched {
            touch(memory, layout);
        }
        memory.0
    }

    /// Takes back memory of a class, to which nobody refers any more.
    pub(super) fn give(&self, start: NonNull<u8>, layout: Layout) {
        let mut pool = self.lock();
        let layout = pool.lent.remove(&Memory(start)).unwrap_or(layout);
        pool.put(Free { memory: Memory(start), is_touched: true }, layout);
        pool.stats.live_bytes -= layout.size();
        pool.stats.pooled_bytes += layout.size();
        let evicted = pool.evict();
        drop(pool);
        release(evicted);
    }

    /// Gives all that is free back to the system, but for halves whose other half is lent.
    pub(super) fn trim(&self) {
        let mut pool = self.lock();
        let evicted = pool.evict_beyond(0);
        drop(pool);
        release(evicted);
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

    /// Free memory for a class, what it is in truth, and what goes back to the system for it.
    fn find(&mut self, layout: Layout) -> (Free, Layout, Vec<(Layout, Memory)>) {
        let shelf = self.shelf(layout);
        if let Some(free) = self.shelves[shelf].free.pop().or_else(|| self.split(layout)) {
            return (free, layout, Vec::new());
        }
        // Larger memory as it is, if it is not twice as large.
        let larger = self.shelves[shelf + 1..].iter_mut().find(|shelf| !shelf.free.is_empty());
        if let Some(shelf) = larger.filter(|shelf| shelf.layout.size() < 2 * layout.size()) {
            let free = shelf.free.pop().expect("it was looked for");
            self.lent.insert(free.memory, shelf.layout);
            return (free, shelf.layout, Vec::new());
        }
        let (free, evicted) = self.fresh(layout);
        (free, layout, evicted)
    }

    /// The first half of the smallest free memory that can be halved to this class; the other
    /// halves become free memory of their classes.
    fn split(&mut self, layout: Layout) -> Option<Free> {
        let whole = twice(layout)?;
        if whole.size() > self.shelves.last()?.layout.size() {
            return None;
        }
        let place = self.shelves.binary_search_by_key(&whole.size(), |s| s.layout.size());
        let free = place.ok().and_then(|place| self.shelves[place].free.pop());
        let Free { memory: first, is_touched } = free.or_else(|| self.split(whole))?;
        let second = second_half(first, layout);
        let size = layout.size();
        self.halves.extend([((first, size), first), ((second, size), first)]);
        let shelf = self.shelf(layout);
        self.shelves[shelf].free.push(Free { memory: second, is_touched });
        Some(Free { memory: first, is_touched })
    }

    /// Makes memory free; with its other half, if that is free too, the whole.
    fn put(&mut self, part: Free, layout: Layout) {
        let shelf = self.shelf(layout);
        let free = &mut self.shelves[shelf].free;
        if let Some(&first) = self.halves.get(&(part.memory, layout.size())) {
            let second = second_half(first, layout);
            let other = if part.memory == first { second } else { first };
            if let Some(at) = free.iter().position(|free| free.memory == other) {
                let is_touched = free.remove(at).is_touched && part.is_touched;
                self.halves.remove(&(first, layout.size()));
                self.halves.remove(&(second, layout.size()));
                let whole = Free { memory: first, is_touched };
                return self.put(whole, twice(layout).expect("it was split"));
            }
        }
        free.push(part);
    }

    /// Memory of a class from the system, counted as free, and what goes back for it.
    ///
    /// As large as the largest class so far is asked for, if that can be split: wide layers will
    /// want it whole when they are walked back. Of what nobody touches the system has no pages.
    fn fresh(&mut self, layout: Layout) -> (Free, Vec<(Layout, Memory)>) {
        let largest = self.shelves.last().map_or(0, |shelf| shelf.layout.size()).min(CHUNK_BYTES);
        let doubled = std::iter::successors(Some(layout), |&half| twice(half));
        let chunk = doubled.take_while(|chunk| chunk.size() <= largest).last().unwrap_or(layout);
        self.stats.n_fresh += 1;
        self.stats.pooled_bytes += chunk.size();
        let evicted = self.evict();
        let free = Free { memory: untouched(chunk), is_touched: false };
        if chunk == layout {
            return (free, evicted);
        }
        self.put(free, chunk);
        (self.split(layout).expect("it is a multiple"), evicted)
    }

    /// Takes memory out until the pool is within its bound, from the class unused for longest.
    fn evict(&mut self) -> Vec<(Layout, Memory)> {
        self.evict_beyond(Stats::most_bytes(self.stats.peak_bytes))
    }

    fn evict_beyond(&mut self, bound: usize) -> Vec<(Layout, Memory)> {
        let mut evicted = Vec::new();
        while self.stats.live_bytes + self.stats.pooled_bytes > bound {
            // A half cannot go alone.
            let whole = |shelf: &Shelf| {
                let is_half = |memory| self.halves.contains_key(&(memory, shelf.layout.size()));
                shelf.free.iter().rposition(|free| !is_half(free.memory))
            };
            let with_whole = self.shelves.iter().enumerate();
            let with_whole = with_whole.filter_map(|(i, shelf)| Some((i, whole(shelf)?)));
            let oldest = with_whole.min_by_key(|&(i, _)| self.shelves[i].used_at);
            let Some((shelf, at)) = oldest else { break };
            let Shelf { layout, free, .. } = &mut self.shelves[shelf];
            self.stats.pooled_bytes -= layout.size();
            evicted.push((*layout, free.remove(at).memory));
        }
        evicted
    }
}

/// What can be split into two of a class: large memory, whose halves begin at huge pages too.
fn twice(half: Layout) -> Option<Layout> {
    let fits = half.align() == HUGE_PAGE_BYTES && half.size() % HUGE_PAGE_BYTES == 0;
    fits.then(|| class_layout(2 * half.size())).flatten()
}

fn second_half(first: Memory, half: Layout) -> Memory {
    // SAFETY: the first half is as long, and followed by the second in the same allocation.
    Memory(unsafe { first.0.add(half.size()) })
}

/// The size class and alignment of memory for `bytes` bytes; nothing for no bytes.
pub(super) fn class_layout(bytes: usize) -> Option<Layout> {
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

/// Small memory from the system, zeroed.
pub(super) fn small(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has size 0.
    let start = unsafe { alloc_zeroed(layout) };
    NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Memory from the system, without values.
fn untouched(layout: Layout) -> Memory {
    // SAFETY: no layout here has size 0.
    let start = unsafe { alloc(layout) };
    let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
    if layout.align() == HUGE_PAGE_BYTES {
        advise_huge_pages(start, layout.size());
    }
    Memory(start)
}

/// Zeroes memory; the first touch of its pages is shared by the threads.
fn touch(Memory(start): Memory, layout: Layout) {
    let start = start.as_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: the caller lends the memory, and has not done so yet.
    let bytes = unsafe { std::slice::from_raw_parts_mut(start, layout.size()) };
    let zero = |page: &mut [MaybeUninit<u8>]| page.fill(MaybeUninit::new(0));
    if layout.size() < 2 * HUGE_PAGE_BYTES {
        zero(bytes);
    } else {
        for_each_chunk(bytes, HUGE_PAGE_BYTES, |_, page| zero(page));
    }
}

fn release(evicted: Vec<(Layout, Memory)>) {
    for (layout, Memory(start)) in evicted {
        // SAFETY: it came from `untouched` with the layout of its class; it has no owner, and is no
        // half of something.
        unsafe { dealloc(start.as_ptr(), layout) };
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

    #[test]
    fn a_freed_buffer_is_the_next_of_its_class() {
        let pool = Pool::new();
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
        let pool = Pool::new();
        let mut shelves = pool.lock();
        let mut put = |bytes: usize| {
            let layout = class_layout(bytes).unwrap();
            let memory = Memory(NonNull::dangling());
            shelves.put(Free { memory, is_touched: true }, layout);
            shelves.stats.pooled_bytes += layout.size();
            shelves.evict().iter().map(|(layout, _)| layout.size()).sum::<usize>()
        };
        let half = Stats::most_bytes(0) / 2;
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
    fn free_memory_serves_classes_of_half_its_size_and_becomes_whole_again() {
        let pool = Pool::new();
        let layout = |mebibytes: usize| class_layout(mebibytes << 20).unwrap();
        let whole = pool.take(layout(32));
        pool.give(whole, layout(32));
        // 16, 8 and 8 fill the whole.
        let parts = [16, 8, 8].map(|size| (pool.take(layout(size)), layout(size)));
        assert_eq!((pool.stats().live_bytes, pool.stats().pooled_bytes), (32 << 20, 0));
        assert_eq!(pool.stats().n_fresh, 1);
        let places = parts.map(|(start, _)| start.as_ptr() as usize - whole.as_ptr() as usize);
        assert_eq!(places, [0, 16 << 20, 24 << 20]);
        for (start, layout) in parts {
            let part = std::ptr::slice_from_raw_parts_mut(start.as_ptr(), layout.size());
            // SAFETY: lent to this test alone.
            unsafe { (*part).fill(1) };
        }
        // A half alone cannot go to the system, whatever the order.
        pool.give(parts[1].0, layout(8));
        pool.trim();
        assert_eq!((pool.stats().live_bytes, pool.stats().pooled_bytes), (24 << 20, 8 << 20));
        pool.give(parts[0].0, layout(16));
        pool.give(parts[2].0, layout(8));
        assert_eq!(pool.take(layout(32)), whole);
        assert_eq!(pool.stats().n_fresh, 1);
        pool.give(whole, layout(32));
        pool.trim();
        assert_eq!(pool.stats().pooled_bytes, 0);
        assert!(pool.lock().halves.is_empty());
    }

    #[test]
    fn where_a_part_is_wanted_the_system_is_asked_for_what_was_wanted_whole() {
        let pool = Pool::new();
        let layout = |mebibytes: usize| class_layout(mebibytes << 20).unwrap();
        let whole = pool.take(layout(32));
        let part = pool.take(layout(8));
        assert_eq!((pool.stats().live_bytes, pool.stats().pooled_bytes), (40 << 20, 24 << 20));
        pool.give(part, layout(8));
        assert_eq!(pool.take(layout(32)), part);
        assert_eq!(pool.stats().n_fresh, 2);
        [whole, part].into_iter().for_each(|start| pool.give(start, layout(32)));
        // A bound on what is asked for: nobody may ever want as much again.
        let huge = pool.take(layout(128));
        pool.give(huge, layout(128));
        pool.trim();
        let part = pool.take(layout(8));
        let asked = pool.stats().live_bytes + pool.stats().pooled_bytes;
        assert_eq!(asked, CHUNK_BYTES);
        pool.give(part, layout(8));
        pool.trim();
        assert_eq!(pool.stats().pooled_bytes, 0);
    }

    #[test]
    fn what_cannot_be_halved_is_lent_whole_or_not_at_all() {
        let pool = Pool::new();
        let layout = |kibibytes: usize| class_layout(kibibytes << 10).unwrap();
        let large = pool.take(layout(16 << 10));
        pool.give(large, layout(16 << 10));
        assert_eq!(pool.take(layout(9 << 10)), large);
        assert_eq!((pool.stats().live_bytes, pool.stats().pooled_bytes), (16 << 20, 0));
        pool.give(large, layout(9 << 10));
        assert_eq!(pool.take(layout(16 << 10)), large);
        pool.give(large, layout(16 << 10));
        assert_eq!(pool.stats().n_fresh, 1);
        pool.trim();
        for (size, half) in [(4 << 10, 2 << 10), (9 << 10, 4608), (12 << 10, 5 << 10)] {
            let start = pool.take(layout(size));
            pool.give(start, layout(size));
            let fresh = pool.stats().n_fresh;
            pool.give(pool.take(layout(half)), layout(half));
            assert_eq!(pool.stats().n_fresh, fresh + 1, "{size} KiB for {half}");
        }
        pool.trim();
        assert_eq!(pool.stats().pooled_bytes, 0);
    }
}
