//! Ranks that are processes started by an MPI launcher: the only place that knows an MPI library.
//!
//! The library ends the whole run if one of its calls fails, and the launcher ends it if a process
//! dies; so nothing here returns an error.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mpi::Threading;
use mpi::environment::Universe;
use mpi::request::{Request, Scope, scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Buffer, BufferMut, Communicator, CommunicatorCollectives};

use super::{Ranks, Slice, SliceMut, Transport};

/// How long a rank that waits with nothing to do sleeps before it looks again.
const NAP: Duration = Duration::from_millis(1);

/// The same for its background, which others will wait for.
const SHORT_NAP: Duration = Duration::from_micros(100);

/// The library, which is left when the last of these is dropped; its calls are made by one thread
/// at a time.
#[derive(Clone)]
struct Library(Arc<Mutex<Universe>>);

impl Library {
    /// Calls the library, on all processes together.
    fn call<R>(&self, run: impl FnOnce(&SimpleCommunicator) -> R) -> R {
        let universe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        run(&universe.world())
    }

    /// Looks whether something that was begun has ended, from time to time, and leaves the
    /// processor and the library to others in between.
    fn wait<'a, D: ?Sized, S: Scope<'a>>(&self, begun: Request<'a, D, S>, nap: Duration) {
        let mut open = Some(begun);
        while let Some(request) = open.take() {
            if let Err(request) = self.call(|_| request.test()) {
                open = Some(request);
                std::thread::sleep(nap);
            }
        }
    }
}

/// A process of an MPI run.
struct Mpi {
    rank: usize,
    size: usize,
    library: Library,
}

/// Its second way to the others, with messages that do not meet those of the first.
struct Beside {
    rank: usize,
    size: usize,
    // Freed before the library is left, on the background's thread: the rank waits for that thread
    // while it drops its last handle, so no other call is under way.
    others: SimpleCommunicator,
    library: Library,
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
    let library = Library(Arc::new(Mutex::new(universe)));
    let ranks = Ranks::new(Mpi { rank, size, library: library.clone() });
    if size == 1 {
        return ranks;
    }
    ranks.with_background(move || {
        let others = library.call(|world| world.duplicate());
        Beside { rank, size, others, library }
    })
}

/// Ends the processes of all ranks, with this exit code.
pub fn abort(code: u8) -> ! {
    SimpleCommunicator::world().abort(i32::from(code))
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        self.library.call(|world| match (mine, all) {
            (Slice::F32(mine), SliceMut::F32(all)) => world.all_gather_into(mine, all),
            (Slice::F64(mine), SliceMut::F64(all)) => world.all_gather_into(mine, all),
            (Slice::Bytes(mine), SliceMut::Bytes(all)) => world.all_gather_into(mine, all),
            _ => panic!("all_gather: sent and received are of different types"),
        });
    }

    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        self.library.call(|world| match (mine, theirs) {
            (Slice::F32(mine), SliceMut::F32(theirs)) => world.all_to_all_into(mine, theirs),
            (Slice::F64(mine), SliceMut::F64(theirs)) => world.all_to_all_into(mine, theirs),
            (Slice::Bytes(mine), SliceMut::Bytes(theirs)) => world.all_to_all_into(mine, theirs),
            _ => panic!("all_to_all: sent and received are of different types"),
        });
    }

    fn wait(&self) {
        self.library.wait(self.library.call(|world| world.immediate_barrier()), NAP);
    }
}

impl Beside {
    fn gather<S: Buffer + ?Sized, R: BufferMut + ?Sized>(&self, mine: &S, all: &mut R) {
        scope(|scope| {
            let begun =
                self.library.call(|_| self.others.immediate_all_gather_into(scope, mine, all));
            self.library.wait(begun, SHORT_NAP);
        });
    }

    fn exchange<S: Buffer + ?Sized, R: BufferMut + ?Sized>(&self, mine: &S, theirs: &mut R) {
        scope(|scope| {
            let begun =
                self.library.call(|_| self.others.immediate_all_to_all_into(scope, mine, theirs));
            self.library.wait(begun, SHORT_NAP);
        });
    }
}

impl Transport for Beside {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        match (mine, all) {
            (Slice::F32(mine), SliceMut::F32(all)) => self.gather(mine, all),
            (Slice::F64(mine), SliceMut::F64(all)) => self.gather(mine, all),
            (Slice::Bytes(mine), SliceMut::Bytes(all)) => self.gather(mine, all),
            _ => panic!("all_gather: sent and received are of different types"),
        }
    }

    fn all_to_all(&self, mine: Slice<'_>, theirs: SliceMut<'_>) {
        match (mine, theirs) {
            (Slice::F32(mine), SliceMut::F32(theirs)) => self.exchange(mine, theirs),
            (Slice::F64(mine), SliceMut::F64(theirs)) => self.exchange(mine, theirs),
            (Slice::Bytes(mine), SliceMut::Bytes(theirs)) => self.exchange(mine, theirs),
            _ => panic!("all_to_all: sent and received are of different types"),
        }
    }

    fn wait(&self) {
        self.library.wait(self.library.call(|_| self.others.immediate_barrier()), NAP);
    }
}
