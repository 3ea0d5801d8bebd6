//! Ranks that are threads of one process.
//!
//! A meeting place: each rank puts a copy of its slice there, waits until all have, takes what is
//! for it, and waits until all have taken.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::{Slice, SliceMut, Transport};

/// What a rank has put down.
#[derive(Clone, Debug)]
enum Held {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bytes(Vec<u8>),
}

impl Held {
    fn of(slice: Slice<'_>) -> Held {
        match slice {
            Slice::F32(x) => Held::F32(x.to_vec()),
            Slice::F64(x) => Held::F64(x.to_vec()),
            Slice::Bytes(x) => Held::Bytes(x.to_vec()),
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    /// What each rank has put down.
    held: Vec<Option<Held>>,
    /// How many have come to the current barrier.
    here: usize,
    /// How many barriers have been passed.
    passed: u64,
    /// The first rank that has gone.
    gone: Option<usize>,
}

#[derive(Debug)]
struct Place {
    table: Mutex<Table>,
    changed: Condvar,
}

/// One of the ranks.
#[derive(Debug)]
pub(super) struct Threads {
    rank: usize,
    size: usize,
    place: Arc<Place>,
}

/// As many ranks that share a meeting place.
pub(super) fn connect(size: usize) -> Vec<Threads> {
    let table = Table { held: vec![None; size], ..Table::default() };
    let place = Arc::new(Place { table: Mutex::new(table), changed: Condvar::new() });
    (0..size).map(|rank| Threads { rank, size, place: Arc::clone(&place) }).collect()
}

impl Threads {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A rank that panics does not hold the table while it does.
        self.place.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Returns when all ranks have come.
    fn meet(&self) {
        let mut table = self.table();
        table.here += 1;
        if table.here == self.size {
            table.here = 0;
            table.passed += 1;
            self.place.changed.notify_all();
            return;
        }
        let passed = table.passed;
        while table.passed == passed && table.gone.is_none() {
            let woken = self.place.changed.wait(table);
            table = woken.unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        let gone = table.gone.filter(|_| table.passed == passed);
        drop(table);
        if let Some(gone) = gone {
            panic!("rank {gone} has ended while rank {} waits for it", self.rank);
        }
    }

    /// Puts `mine` down; what `range` of each rank's slice says goes to `out`, in their order.
    fn exchange(
        &self,
        mine: Slice<'_>,
        out: SliceMut<'_>,
        range: impl Fn(usize) -> std::ops::Range<usize>,
    ) {
        self.table().held[self.rank] = Some(Held::of(mine));
        self.meet();
        let held = self.table().held.clone();
        // Nobody puts the next thing down before all have taken this one.
        self.meet();
        macro_rules! take {
            ($variant:ident, $out:expr) => {{
                let mut rest = $out;
                for held in &held {
                    let Some(Held::$variant(theirs)) = held else {
                        panic!("an exchange: ranks send numbers of different types")
                    };
                    let piece = &theirs[range(theirs.len())];
                    let (place, after) = rest.split_at_mut(piece.len());
                    place.copy_from_slice(piece);
                    rest = after;
                }
                assert!(rest.is_empty(), "an exchange: ranks send too few numbers");
            }};
        }
        match out {
            SliceMut::F32(out) => take!(F32, out),
            SliceMut::F64(out) => take!(F64, out),
            SliceMut::Bytes(out) => take!(Bytes, out),
        }
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        self.exchange(mine, all, |len| 0..len);
    }

    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        self.exchange(mine, theirs, |len| {
            let piece = len / self.size;
            self.rank * piece..(self.rank + 1) * piece
        });
    }

    fn wait(&self) {
        self.meet();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.table().gone.get_or_insert(self.rank);
        self.place.changed.notify_all();
    }
}
