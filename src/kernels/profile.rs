//! Where time goes: calls, seconds and work of each kind of operation, for whoever asks.
//!
//! Off, an operation pays for one look at a flag. On or off, no result depends on it: spans only
//! read the clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What one kind of operation has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// How often it was called.
    pub calls: u64,
    /// In how much time, on the calling thread's clock.
    pub seconds: f64,
    /// Floating-point operations, counted nominally, of products and convolutions.
    pub flop: f64,
    /// Bytes that it has to read and write at least, of everything else.
    pub bytes: f64,
}

/// What a call has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Floating-point operations.
    Flop(usize),
    /// Bytes read and written.
    Bytes(usize),
}

static ON: AtomicBool = AtomicBool::new(false);
static COSTS: Mutex<BTreeMap<&'static str, Cost>> = Mutex::new(BTreeMap::new());

fn costs() -> MutexGuard<'static, BTreeMap<&'static str, Cost>> {
    COSTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to count, from nothing.
pub fn start() {
    costs().clear();
    ON.store(true, Ordering::Relaxed);
}

/// Stops counting; the costs since [`start`] of each operation, the one with most time first.
pub fn stop() -> Vec<(&'static str, Cost)> {
    ON.store(false, Ordering::Relaxed);
    let mut found: Vec<_> = std::mem::take(&mut *costs()).into_iter().collect();
    found.sort_by(|(_, a), (_, b)| b.seconds.total_cmp(&a.seconds));
    found
}

/// Counts one call of `name` until it is dropped.
#[must_use]
pub(crate) struct Span {
    call: Option<(&'static str, Work, Instant)>,
}

/// A call of `name` begins; spans do not nest.
#[inline]
pub(crate) fn span(name: &'static str, work: Work) -> Span {
    let on = ON.load(Ordering::Relaxed);
    Span { call: on.then(|| (name, work, Instant::now())) }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some((name, work, start)) = self.call.take() {
            let seconds = start.elapsed().as_secs_f64();
            let mut costs = costs();
            let cost = costs.entry(name).or_default();
            cost.calls += 1;
            cost.seconds += seconds;
            match work {
                Work::Flop(n) => cost.flop += n as f64,
                Work::Bytes(n) => cost.bytes += n as f64,
            }
        }
    }
}
