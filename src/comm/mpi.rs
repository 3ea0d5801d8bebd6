//! Ranks that are processes started by an MPI launcher: the only place that knows an MPI library.
//!
//! The library ends the whole run if one of its calls fails, and the launcher ends it if a process
//! dies; so nothing here returns an error.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives};

use super::{Ranks, Slice, SliceMut, Transport};

/// How long a rank that waits with nothing to do sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// A process of an MPI run.
struct Mpi {
    rank: usize,
    size: usize,
    /// The library is left when this is dropped; its calls are made by one thread at a time.
    universe: Mutex<Universe>,
}

/// Enters the MPI library, which a process can do once: this process's rank.
///
/// # Panics
/// If the library has been entered before, or serves no program with several threads.
pub fn start() -> Ranks {
    let (universe, threading) = mpi::initialize_with_threading(Threading::Serialized)
        .expect("the MPI library is entered once");
    assert!(
        threading >= Threading::Serialized,
        "this MPI library serves programs with one thread only"
    );
    let world = universe.world();
    let (rank, size) = (world.rank() as usize, world.size() as usize);
    Ranks::new(Mpi { rank, size, universe: Mutex::new(universe) })
}

/// Ends the processes of all ranks, with this exit code.
pub fn abort(code: u8) -> ! {
    SimpleCommunicator::world().abort(i32::from(code))
}

impl Mpi {
    /// Calls the library, one thread at a time.
    fn call<R>(&self, run: impl FnOnce(&SimpleCommunicator) -> R) -> R {
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner);
        run(&universe.world())
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        self.call(|world| match (mine, all) {
            (Slice::F32(mine), SliceMut::F32(all)) => world.all_gather_into(mine, all),
            (Slice::F64(mine), SliceMut::F64(all)) => world.all_gather_into(mine, all),
            (Slice::Bytes(mine), SliceMut::Bytes(all)) => world.all_gather_into(mine, all),
            _ => panic!("all_gather: sent and received are of different types"),
        });
    }

    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        self.call(|world| match (mine, theirs) {
            (Slice::F32(mine), SliceMut::F32(theirs)) => world.all_to_all_into(mine, theirs),
            (Slice::F64(mine), SliceMut::F64(theirs)) => world.all_to_all_into(mine, theirs),
            (Slice::Bytes(mine), SliceMut::Bytes(theirs)) => world.all_to_all_into(mine, theirs),
            _ => panic!("all_to_all: sent and received are of different types"),
        });
    }

    fn wait(&self) {
        let mut barrier = Some(self.call(|world| world.immediate_barrier()));
        while let Some(open) = barrier.take() {
            match self.call(|_| open.test()) {
                Ok(_) => {}
                Err(open) => {
                    barrier = Some(open);
                    std::thread::sleep(NAP);
                }
            }
        }
    }
}
