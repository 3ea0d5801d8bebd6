//! What several processes that train one model do together: collectives over *ranks*.
//!
//! A [`Communicator`] has a few operations that every rank calls at the same place of the same
//! program, each with its own numbers. Sums are taken in the order of the ranks, whatever the
//! network does, so that a run repeats to the same bits at the same number of ranks, and every rank
//! comes to the same bits as the others.
//!
//! [`Ranks`] is the one implementation: the collectives' algorithms and a count of what they
//! exchange, over a [`Transport`] that moves slices. There are three: [`alone`](Ranks::alone), one
//! rank; [`on_threads`](Ranks::on_threads), ranks that are threads of this process, which is how
//! every law is tested without any library; and, with the feature `mpi`, processes that an MPI
//! library has started (`mpi.rs`, the only place that knows it).
//!
//! This module knows numbers and no shapes, and does not know what is exchanged or why.
//! A rank that ends while others wait for it is no event that a collective returns: with threads
//! the others panic, naming it; with MPI the whole run is ended.

mod background;
mod buckets;
#[cfg(feature = "mpi")]
pub mod mpi;
mod threads;
mod transport;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernels::Real;
use background::Background;
pub use background::Pending;
pub use buckets::{BUCKET, Buckets};
pub use transport::{Number, Slice, SliceMut, Transport};

/// Collectives over numbers of one type: every rank calls the same one, with equally many numbers.
///
/// # Panics
/// All of them if a length does not fit, or if another rank has ended.
pub trait Communicator<T>: fmt::Debug + Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Everybody's numbers, one rank after the other: `all` is `size` times as long as `mine`.
    fn all_gather(&self, mine: &[T], all: &mut [T]);

    /// Replaces each number by its sum over the ranks, taken in the order of the ranks.
    fn all_reduce_sum(&self, values: &mut [T]);

    /// Begins such a sum and goes on; other collectives may come before its end.
    fn start_sum(&self, values: Vec<T>) -> Pending<Vec<T>>;
}

/// A communicator that graphs and networks can hold.
pub type Comm<T> = Arc<dyn Communicator<T>>;

/// What this rank has received from others since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of numbers.
    pub bytes: u64,
    /// Exchanges, of which a sum over many ranks takes two.
    pub exchanges: u64,
}

/// One of several ranks; cloning shares it.
#[derive(Clone)]
pub struct Ranks {
    // Before the transport, whose library may be left with it.
    background: Option<Arc<Background>>,
    transport: Arc<dyn Transport + Send + Sync>,
    received: Arc<Received>,
}

/// The count of what has come from others.
#[derive(Default)]
struct Received {
    bytes: AtomicU64,
    exchanges: AtomicU64,
}

/// Elements that a rank may receive in a sum by one exchange; sums of more take two, which move
/// less.
const ONE_EXCHANGE: usize = 16 * 1024;

/// Whether a sum of `len` numbers over `size` ranks takes one exchange.
fn takes_one_exchange(len: usize, size: usize) -> bool {
    size == 2 || len * size <= ONE_EXCHANGE
}

/// What a rank receives for [`Communicator::all_gather`] of `len` numbers of `width` bytes each.
///
/// # Panics
/// If there are no ranks.
#[track_caller]
pub fn traffic_of_gather(len: usize, width: usize, size: usize) -> Traffic {
    assert!(size > 0, "traffic_of_gather: there are no ranks");
    let bytes = ((size - 1) * len * width) as u64;
    Traffic { bytes, exchanges: u64::from(size > 1) }
}

/// What a rank receives for [`Communicator::all_reduce_sum`] of `len` numbers of `width` bytes
/// each: `(size - 1) len` of them in one exchange, or else `2 (size - 1) ⌈len / size⌉` in two.
///
/// # Panics
/// If there are no ranks.
#[track_caller]
pub fn traffic_of_sum(len: usize, width: usize, size: usize) -> Traffic {
    assert!(size > 0, "traffic_of_sum: there are no ranks");
    match takes_one_exchange(len, size) {
        _ if size == 1 => Traffic::default(),
        true => traffic_of_gather(len, width, size),
        false => {
            let bytes = (2 * (size - 1) * len.div_ceil(size) * width) as u64;
            Traffic { bytes, exchanges: 2 }
        }
    }
}

impl Ranks {
    /// The ranks that a transport connects.
    pub fn new(transport: impl Transport + Send + Sync + 'static) -> Ranks {
        let transport = Arc::new(transport);
        Ranks { background: None, transport, received: Arc::default() }
    }

    /// The same ranks with a second way between them, on which sums go on beside everything else;
    /// `connect` makes it, on the thread that will use it. Without it they are taken at once.
    pub fn with_background<W: Transport + 'static>(
        mut self,
        connect: impl FnOnce() -> W + Send + 'static,
    ) -> Ranks {
        self.background = Some(Arc::new(Background::start(connect)));
        self
    }

    /// The only rank of a process that trains alone.
    pub fn alone() -> Ranks {
        Ranks::new(transport::Alone)
    }

    /// Runs `work` on `size` ranks that are threads of this process: what each returns, in order.
    ///
    /// # Panics
    /// If one of them panics: the others then do too, where they wait for it.
    pub fn on_threads<R: Send>(size: usize, work: impl Fn(Ranks) -> R + Sync) -> Vec<R> {
        let ways = threads::connect(size).into_iter().zip(threads::connect(size));
        std::thread::scope(|scope| {
            let work = &work;
            let start = |(way, second)| {
                scope.spawn(move || work(Ranks::new(way).with_background(|| second)))
            };
            let threads: Vec<_> = ways.map(start).collect();
            let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            let unwrap = |result: Result<R, _>| {
                result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            results.into_iter().map(unwrap).collect()
        })
    }

    /// This rank, from 0.
    pub fn rank(&self) -> usize {
        self.transport.rank()
    }

    /// How many ranks there are.
    pub fn size(&self) -> usize {
        self.transport.size()
    }

    /// Whether this is rank 0, which speaks and writes for all.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank for numbers of one type.
    pub fn comm<T: Number>(&self) -> Comm<T> {
        Arc::new(self.clone())
    }

    /// Everybody's bytes, in the order of the ranks; they need not be equally many.
    pub fn gather_bytes(&self, mine: &[u8]) -> Vec<Vec<u8>> {
        let lengths = self.gather_alike((mine.len() as u64).to_le_bytes());
        let lengths: Vec<usize> =
            lengths.into_iter().map(|length| u64::from_le_bytes(length) as usize).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let mut all = vec![0; longest * self.size()];
        if longest > 0 {
            let mut padded = mine.to_vec();
            padded.resize(longest, 0);
            self.gather(Slice::Bytes(&padded), SliceMut::Bytes(&mut all));
        }
        let cut = |(rank, &length): (usize, &usize)| all[rank * longest..][..length].to_vec();
        lengths.iter().enumerate().map(cut).collect()
    }

    /// Everybody's bytes, in the order of the ranks, where all have equally many.
    pub fn gather_alike<const N: usize>(&self, mine: [u8; N]) -> Vec<[u8; N]> {
        let mut all = vec![0; N * self.size()];
        self.gather(Slice::Bytes(&mine), SliceMut::Bytes(&mut all));
        all.chunks_exact(N).map(|piece| piece.try_into().expect("pieces of N bytes")).collect()
    }

    /// Rank 0's bytes, for every rank; what the others give is not looked at.
    pub fn from_first(&self, mine: &[u8]) -> Vec<u8> {
        let given = if self.is_first() { mine } else { &[] };
        self.gather_bytes(given).swap_remove(0)
    }

    /// Waits until every rank has come here, however long that takes, without using a processor.
    pub fn wait(&self) {
        self.transport.wait();
    }

    /// What this rank has received from others since it began.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            bytes: self.received.bytes.load(Ordering::Relaxed),
            exchanges: self.received.exchanges.load(Ordering::Relaxed),
        }
    }

    fn gather(&self, mine: Slice<'_>, all: SliceMut<'_>) {
        self.received.gather(&*self.transport, mine, all);
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

impl Received {
    fn add(&self, bytes: usize, size: usize) {
        if size > 1 {
            self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.exchanges.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn gather(&self, transport: &dyn Transport, mine: Slice<'_>, all: SliceMut<'_>) {
        self.add(mine.bytes() * (transport.size() - 1), transport.size());
        transport.all_gather(mine, all);
    }

    /// [`Communicator::all_reduce_sum`] over a transport.
    fn sum<T: Number>(&self, transport: &dyn Transport, values: &mut [T]) {
        let (len, size) = (values.len(), transport.size());
        if len == 0 || size == 1 {
            return;
        }
        if takes_one_exchange(len, size) {
            let mut all = vec![T::ZERO; len * size];
            self.gather(transport, T::slice(values), T::slice_mut(&mut all));
            return sum_pieces(&all, values);
        }
        // Each rank adds up one piece of everybody's numbers and hands the sums round.
        let piece = len.div_ceil(size);
        let mut padded = vec![T::ZERO; piece * size];
        padded[..len].copy_from_slice(values);
        let mut theirs = vec![T::ZERO; piece * size];
        self.add((size - 1) * piece * size_of::<T>(), size);
        transport.all_to_all(T::slice(&padded), T::slice_mut(&mut theirs));
        let mut sum = vec![T::ZERO; piece];
        sum_pieces(&theirs, &mut sum);
        self.gather(transport, T::slice(&sum), T::slice_mut(&mut padded));
        values.copy_from_slice(&padded[..len]);
    }
}

/// `sum[i] ← Σ over the equal pieces of all, in their order`.
fn sum_pieces<T: Real>(all: &[T], sum: &mut [T]) {
    let mut pieces = all.chunks_exact(sum.len());
    sum.copy_from_slice(pieces.next().expect("there is a rank"));
    for piece in pieces {
        sum.iter_mut().zip(piece).for_each(|(sum, &x)| *sum += x);
    }
}

impl<T: Number> Communicator<T> for Ranks {
    fn rank(&self) -> usize {
        Ranks::rank(self)
    }

    fn size(&self) -> usize {
        Ranks::size(self)
    }

    #[track_caller]
    fn all_gather(&self, mine: &[T], all: &mut [T]) {
        let (len, size, n) = (mine.len(), Ranks::size(self), all.len());
        assert!(n == len * size, "all_gather: {len} numbers of each of {size} ranks into {n}");
        if len > 0 {
            self.gather(T::slice(mine), T::slice_mut(all));
        }
    }

    fn all_reduce_sum(&self, values: &mut [T]) {
        self.received.sum(&*self.transport, values);
    }

    fn start_sum(&self, mut values: Vec<T>) -> Pending<Vec<T>> {
        match &self.background {
            None => {
                self.all_reduce_sum(&mut values);
                Pending::Done(values)
            }
            Some(background) => {
                let received = Arc::clone(&self.received);
                background.begin(move |transport| {
                    received.sum(transport, &mut values);
                    values
                })
            }
        }
    }
}
