//! Whether this process is one of several that an MPI launcher has started to train together.

use super::output;
use crate::comm::Ranks;
#[cfg(not(feature = "mpi"))]
use crate::error::Error;
use crate::error::Result;

/// Where launchers say how many processes they have started: Open MPI's, and those of MPICH's kind.
const SIZES: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// This process's rank; the only one, where no launcher has started it.
///
/// # Errors
/// `Usage` if there are several processes and this program cannot train on them.
pub(super) fn ranks() -> Result<Ranks> {
    let size = SIZES.into_iter().find_map(|name| std::env::var(name).ok()?.parse::<usize>().ok());
    match size {
        // A singleton would cost the start of the library and gain nothing.
        None | Some(0 | 1) => Ok(Ranks::alone()),
        Some(size) => several(size),
    }
}

#[cfg(feature = "mpi")]
fn several(_: usize) -> Result<Ranks> {
    let ranks = crate::comm::mpi::start();
    // The others would wait for ever for a rank that has panicked.
    let (told, before) = (format!("{ranks:?}"), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        output::progress(&format!("error: {told} has panicked; the run ends on all ranks"));
        crate::comm::mpi::abort(101)
    }));
    Ok(ranks)
}

#[cfg(not(feature = "mpi"))]
fn several(size: usize) -> Result<Ranks> {
    let reason = format!(
        "has started {size} processes, but this program was built without MPI: build it with \
         cargo build --release --features mpi"
    );
    Err(Error::usage("the launcher", reason))
}

/// Says a line to people, once for all ranks.
pub(super) fn say(ranks: &Ranks, line: &str) {
    if ranks.is_first() {
        output::progress(line);
    }
}
