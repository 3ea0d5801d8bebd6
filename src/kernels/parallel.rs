//! Cutting work into pieces whose sizes depend on the problem alone, so that any number of threads
//! computes the same bits.
//!
//! Nothing here asks how many threads there are: a piece is what one call of the closure does,
//! rayon decides who runs it, and whoever combines results of pieces does so in the order of the
//! pieces.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;
use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

/// Makes the pool of all parallel loops, the calling thread among its threads.
///
/// A program does well to call it first, on the thread that computes: a loop then begins on the
/// thread that asks for it, where otherwise that thread hands it to another and sleeps until it is
/// woken again. `threads` is their number; absent, `RAYON_NUM_THREADS` or else the processor's.
///
/// One thread is a pool of its own, so that other threads can still have work done while the
/// calling one waits for them.
///
/// # Errors
/// If there is a pool already, or the system refuses threads.
pub fn start_pool(threads: Option<usize>) -> Result<(), ThreadPoolBuildError> {
    let count = threads.or_else(threads_of_environment).unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |processors| processors.get())
    });
    let pool = ThreadPoolBuilder::new().num_threads(count);
    if count > 1 { pool.use_current_thread().build_global() } else { pool.build_global() }
}

/// What `RAYON_NUM_THREADS` says, if it says a number that is not 0.
fn threads_of_environment() -> Option<usize> {
    let text = std::env::var("RAYON_NUM_THREADS").ok()?;
    text.parse().ok().filter(|&count| count > 0)
}

/// Elements in a piece of an elementwise loop: 64 KiB of `f32`, so that the few streams of one
/// piece stay in the second-level cache.
pub const GRAIN: usize = 16 * 1024;

/// Elements below which a loop is not worth waking another thread for.
pub const SERIAL: usize = 32 * 1024;

/// The piece length of an elementwise loop over `len` elements: all of it, or [`GRAIN`].
#[inline]
pub fn grain(len: usize) -> usize {
    if len < SERIAL { len.max(1) } else { GRAIN }
}

/// The rows in a piece of a loop over `rows` rows of `row_len` elements: all of them, or about
/// [`GRAIN`] elements' worth.
#[inline]
pub fn row_grain(rows: usize, row_len: usize) -> usize {
    if rows.saturating_mul(row_len) < SERIAL {
        rows.max(1)
    } else {
        (GRAIN / row_len.max(1)).max(1)
    }
}

/// Calls `f(i)` for each `i` below `n`, on all threads.
///
/// All parallel loops over pieces come here: `f` is erased, so that rayon's machinery is compiled
/// once, in this crate, and not again for each closure (it was an eighth of all code).
fn each(n: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().for_each(f);
}

/// [`each`] for few and long pieces: every piece may run on a thread of its own.
pub(super) fn each_alone(n: usize, f: &(dyn Fn(usize) + Sync)) {
    (0..n).into_par_iter().with_max_len(1).for_each(f);
}

/// The pieces of a slice, each for one call of a parallel loop.
struct Pieces<'a, T> {
    start: *mut T,
    len: usize,
    chunk: usize,
    of: PhantomData<&'a mut [T]>,
}

// SAFETY: `take` is called once for each piece, so that threads share no element.
unsafe impl<T: Send> Sync for Pieces<'_, T> {}

impl<'a, T> Pieces<'a, T> {
    #[inline]
    fn new(whole: &'a mut [T], chunk: usize) -> Self {
        Pieces { start: whole.as_mut_ptr(), len: whole.len(), chunk, of: PhantomData }
    }

    /// Piece `i`.
    ///
    /// # Safety
    /// At most once for each `i`.
    #[inline]
    unsafe fn take(&self, i: usize) -> &'a mut [T] {
        let start = i * self.chunk;
        assert!(start < self.len, "piece {i} is outside");
        let len = self.chunk.min(self.len - start);
        // SAFETY: the piece lies within the slice, and nothing else refers to it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// Calls `f(piece_idx, piece)` for each piece of `chunk` elements of `out` (the last may be
/// shorter).
///
/// One piece runs on the caller's thread.
///
/// # Panics
/// If `chunk` is 0.
pub fn for_each_chunk<T: Send>(out: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    assert!(chunk > 0, "for_each_chunk: a piece of 0 elements");
    if out.len() <= chunk {
        if !out.is_empty() {
            f(0, out);
        }
    } else {
        let n = out.len().div_ceil(chunk);
        let out = Pieces::new(out, chunk);
        // SAFETY: each index comes once.
        each(n, &|i| f(i, unsafe { out.take(i) }));
    }
}

/// [`for_each_chunk`] over two outputs at once: `f(piece_idx, a_piece, b_piece)`.
///
/// # Panics
/// If a piece length is 0 or the numbers of pieces differ.
pub fn for_each_chunk2<A: Send, B: Send>(
    a: &mut [A],
    a_chunk: usize,
    b: &mut [B],
    b_chunk: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync,
) {
    assert!(a_chunk > 0 && b_chunk > 0, "for_each_chunk2: a piece of 0 elements");
    let n = a.len().div_ceil(a_chunk);
    assert_eq!(
        n,
        b.len().div_ceil(b_chunk),
        "for_each_chunk2: the outputs have different numbers of pieces"
    );
    if n <= 1 {
        if n == 1 {
            f(0, a, b);
        }
    } else {
        let (a, b) = (Pieces::new(a, a_chunk), Pieces::new(b, b_chunk));
        // SAFETY: each index comes once.
        each(n, &|i| unsafe { f(i, a.take(i), b.take(i)) });
    }
}

/// [`for_each_chunk`] over three outputs of one length: `f(piece_idx, pieces)`.
///
/// # Panics
/// If `chunk` is 0 or the lengths differ.
pub fn for_each_chunk3<T: Send>(
    out: [&mut [T]; 3],
    chunk: usize,
    f: impl Fn(usize, [&mut [T]; 3]) + Sync,
) {
    let len = out[0].len();
    assert!(chunk > 0, "for_each_chunk3: a piece of 0 elements");
    assert!(out.iter().all(|out| out.len() == len), "for_each_chunk3: the lengths differ");
    if len <= chunk {
        if len > 0 {
            f(0, out);
        }
    } else {
        let out = out.map(|out| Pieces::new(out, chunk));
        // SAFETY: each index comes once.
        each(len.div_ceil(chunk), &|i| f(i, out.each_ref().map(|out| unsafe { out.take(i) })));
    }
}

/// Calls `f(start..end)` for consecutive ranges of `grain` items that cover `0..n_items`.
///
/// One range runs on the caller's thread.
///
/// # Panics
/// If `grain` is 0.
pub fn range(n_items: usize, grain: usize, f: impl Fn(Range<usize>) + Sync) {
    assert!(grain > 0, "range: a piece of 0 items");
    let n_pieces = n_items.div_ceil(grain);
    if n_pieces <= 1 {
        if n_items > 0 {
            f(0..n_items);
        }
    } else {
        each(n_pieces, &|i| f(i * grain..((i + 1) * grain).min(n_items)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a plain loop over the pieces leaves: the piece's number and its length, in each place.
    fn marks(len: usize, chunk: usize) -> Vec<(usize, usize)> {
        let mut marks = vec![(0, 0); len];
        for (i, piece) in marks.chunks_mut(chunk).enumerate() {
            mark(i, piece);
        }
        marks
    }

    /// Adds, so that a place which two calls get is wrong.
    fn mark(i: usize, piece: &mut [(usize, usize)]) {
        let len = piece.len();
        piece.iter_mut().for_each(|place| *place = (place.0 + i + 1, place.1 + len));
    }

    #[test]
    fn pieces_are_those_of_a_plain_loop_each_once() {
        let zeros = |len: usize| vec![(0, 0); len];
        for (len, chunk) in [(0, 3), (1, 3), (3, 3), (4, 3), (9, 3), (1001, 10), (64, 1)] {
            let mut out = zeros(len);
            for_each_chunk(&mut out, chunk, mark);
            assert_eq!(out, marks(len, chunk), "{len} by {chunk}");

            // The second output has pieces of twice the length.
            let (mut a, mut b) = (zeros(len), zeros(2 * len));
            for_each_chunk2(&mut a, chunk, &mut b, 2 * chunk, |i, a, b| {
                mark(i, a);
                mark(i, b);
            });
            assert_eq!((a, b), (marks(len, chunk), marks(2 * len, 2 * chunk)));

            let mut out = [0; 3].map(|_| zeros(len));
            for_each_chunk3(out.each_mut().map(|out| &mut out[..]), chunk, |i, pieces| {
                pieces.into_iter().for_each(|piece| mark(i, piece));
            });
            assert_eq!(out, [0; 3].map(|_| marks(len, chunk)));

            let ranges = std::sync::Mutex::new(Vec::new());
            range(len, chunk, |range| ranges.lock().unwrap().push(range));
            let mut ranges = ranges.into_inner().unwrap();
            ranges.sort_by_key(|range| range.start);
            let expected = (0..len).step_by(chunk).map(|i| i..(i + chunk).min(len));
            assert_eq!(ranges, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "for_each_chunk2: the outputs have different numbers of pieces")]
    fn outputs_of_different_numbers_of_pieces_are_refused() {
        for_each_chunk2(&mut [0; 9], 3, &mut [0; 6], 3, |_, _, _| {});
    }

    #[test]
    #[should_panic(expected = "for_each_chunk3: the lengths differ")]
    fn outputs_of_different_lengths_are_refused() {
        for_each_chunk3([&mut [0; 9], &mut [0; 9], &mut [0; 6]], 3, |_, _| {});
    }
}
