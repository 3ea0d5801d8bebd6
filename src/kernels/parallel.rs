//! Cutting work into pieces whose sizes depend on the problem alone, so that any number of threads
//! computes the same bits.
//!
//! Nothing here asks how many threads there are: a piece is what one call of the closure does,
//! rayon decides who runs it, and whoever combines results of pieces does so in the order of the
//! pieces.

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
pub fn grain(len: usize) -> usize {
    if len < SERIAL { len.max(1) } else { GRAIN }
}

/// The rows in a piece of a loop over `rows` rows of `row_len` elements: all of them, or about
/// [`GRAIN`] elements' worth.
pub fn row_grain(rows: usize, row_len: usize) -> usize {
    if rows.saturating_mul(row_len) < SERIAL {
        rows.max(1)
    } else {
        (GRAIN / row_len.max(1)).max(1)
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
        out.par_chunks_mut(chunk).enumerate().for_each(|(i, piece)| f(i, piece));
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
    assert_eq!(
        a.len().div_ceil(a_chunk),
        b.len().div_ceil(b_chunk),
        "for_each_chunk2: the outputs have different numbers of pieces"
    );
    if a.len() <= a_chunk {
        if !a.is_empty() {
            f(0, a, b);
        }
    } else {
        a.par_chunks_mut(a_chunk)
            .zip(b.par_chunks_mut(b_chunk))
            .enumerate()
            .for_each(|(i, (a, b))| f(i, a, b));
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
    let piece = |i: usize| i * grain..((i + 1) * grain).min(n_items);
    if n_pieces <= 1 {
        if n_items > 0 {
            f(0..n_items);
        }
    } else {
        (0..n_pieces).into_par_iter().for_each(|i| f(piece(i)));
    }
}
