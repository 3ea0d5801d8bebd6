//! Sums that go on while a rank computes: a thread with a way of its own between the ranks.
//!
//! The sums are taken one after the other, in the order in which they were begun, which is the same
//! on every rank; so they do not meet the collectives that go on meanwhile.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::Transport;

/// What the thread does with its transport.
type Job = Box<dyn FnOnce(&dyn Transport) + Send>;

/// The thread; it ends when this is dropped, after what it has begun.
pub(super) struct Background {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts the thread; `connect`, which every rank calls here, makes its way between them.
    pub(super) fn start<W: Transport + 'static>(
        connect: impl FnOnce() -> W + Send + 'static,
    ) -> Background {
        let ((jobs, todo), (ready, connected)) = (channel::<Job>(), channel());
        let thread = thread::spawn(move || {
            let transport = connect();
            ready.send(()).expect("the rank waits for it");
            todo.into_iter().for_each(|job| job(&transport));
        });
        // Not before all have the way: making it is a collective itself.
        connected.recv().expect("the ranks are connected");
        Background { jobs: Some(jobs), thread: Some(thread) }
    }

    /// Begins to compute something.
    pub(super) fn begin<R: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Transport) -> R + Send + 'static,
    ) -> Pending<R> {
        let (done, result) = channel();
        let job: Job = Box::new(move |transport| drop(done.send(work(transport))));
        let jobs = self.jobs.as_ref().expect("it is open until it is dropped");
        // Without its thread there is no result either, which whoever waits will see.
        drop(jobs.send(job));
        Pending::UnderWay(result)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.jobs = None;
        // What went wrong there has been told there.
        self.thread.take().map(JoinHandle::join);
    }
}

/// A result that may not be there yet.
#[derive(Debug)]
pub enum Pending<R> {
    /// It is.
    Done(R),
    /// It will come.
    UnderWay(Receiver<R>),
}

impl<R> Pending<R> {
    /// The result, as soon as it is there.
    ///
    /// # Panics
    /// If another rank has ended.
    #[track_caller]
    pub fn wait(self) -> R {
        match self {
            Pending::Done(result) => result,
            Pending::UnderWay(result) => match result.recv() {
                Ok(result) => result,
                Err(_) => panic!("wait: another rank has ended while this one waits for a sum"),
            },
        }
    }
}
