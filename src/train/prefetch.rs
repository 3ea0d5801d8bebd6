//! Views made ahead of the steps that need them.
//!
//! One thread asks for the views of the batches in their order and waits while one is ready and not
//! taken; the work itself is done by the threads that compute steps, in the gaps that these leave.
//! Views are addressed by seed, epoch and image, so that who makes them, and when, changes nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rayon::Yield;

use super::images::Images;
use crate::data::{batches, epoch_order};
use crate::error::{Error, Result};
use crate::tensor::Tensor;

/// How long a thread that has nothing to do waits before it looks again.
const NAP: Duration = Duration::from_micros(50);

/// Which views a run needs.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// Of the draws.
    pub seed: u64,
    /// Images a step.
    pub batch_size: usize,
    /// Which of several equal parts of each batch is needed, and of how many.
    pub part: [usize; 2],
    /// Steps that are done already.
    pub from: usize,
    /// Steps in all.
    pub steps: usize,
}

/// The views of a run's steps, in their order.
#[derive(Debug)]
pub struct Prefetch {
    /// Absent only while this is dropped.
    views: Option<Receiver<Result<Tensor>>>,
    thread: Option<JoinHandle<()>>,
}

impl Prefetch {
    /// Begins to make the views of `course`.
    ///
    /// # Errors
    /// `Io` if the system refuses a thread.
    pub fn new(images: Arc<Images>, course: Course) -> Result<Prefetch> {
        // One ready, one in the making, one in use.
        let (sender, views) = sync_channel(1);
        let work = move || {
            let Course { seed, batch_size, part: [part, parts], from, steps } = course;
            let own = batch_size / parts;
            let per_epoch = images.train.len() / batch_size;
            let mut step = from;
            while step < steps {
                let epoch = (step / per_epoch) as u64;
                let order = epoch_order(images.train.len(), seed, epoch);
                for batch in batches(&order, batch_size).skip(step % per_epoch) {
                    let views = images.pair(&batch[part * own..][..own], epoch, seed);
                    let failed = views.is_err();
                    // Nobody takes them any more: the run has ended early.
                    if sender.send(views).is_err() || failed {
                        return;
                    }
                    step += 1;
                }
            }
        };
        let thread = Builder::new().name("views".into()).spawn(work);
        let thread = thread.map_err(|error| Error::io("the thread that makes views", error))?;
        Ok(Prefetch { views: Some(views), thread: Some(thread) })
    }

    /// The views of the next step.
    ///
    /// # Errors
    /// `Io` if images cannot be read.
    ///
    /// # Panics
    /// If there is no next step, or one of the views could not be made for a bug.
    pub fn take(&mut self) -> Result<Tensor> {
        let views = self.views.as_ref().expect("there until it is dropped");
        loop {
            match views.try_recv() {
                Ok(ready) => return ready,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => panic!("views are made for every step"),
            }
            // A thread of the pool does the pool's work meanwhile, of which the views are a part.
            match rayon::yield_now() {
                Some(Yield::Executed) => {}
                Some(Yield::Idle) => std::thread::sleep(NAP),
                None => return views.recv().expect("views are made for every step"),
            }
        }
    }
}

impl Drop for Prefetch {
    fn drop(&mut self) {
        // In this order: without a receiver the thread stops at its next batch.
        drop(Option::take(&mut self.views));
        if let Some(thread) = Option::take(&mut self.thread) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::run::tests::{TempDir, write_cifar};

    #[test]
    fn views_made_ahead_are_those_made_on_demand_from_any_step_on() {
        let dir = TempDir::new("prefetch");
        write_cifar(dir.path());
        let mut config = RunConfig::preset("small").unwrap();
        config.data.path = dir.path().display().to_string();
        config.batch_size = 8;
        let images = Arc::new(Images::load(&config).unwrap());
        let per_epoch = images.train.len() / 8;
        for from in [0, 3, per_epoch + 1] {
            let course =
                Course { seed: 5, batch_size: 8, part: [0, 1], from, steps: 2 * per_epoch };
            let mut ahead = Prefetch::new(Arc::clone(&images), course).unwrap();
            let second = Course { part: [1, 2], ..course };
            let mut second = Prefetch::new(Arc::clone(&images), second).unwrap();
            for step in from..2 * per_epoch {
                let epoch = (step / per_epoch) as u64;
                let order = epoch_order(images.train.len(), 5, epoch);
                let batch = &order[step % per_epoch * 8..][..8];
                let expected = images.pair(batch, epoch, 5).unwrap();
                let found = ahead.take().unwrap();
                assert_eq!(found.as_slice(), expected.as_slice(), "step {step}");
                // A part has its images' rows of both views.
                let row = expected.len() / 16;
                let rows = |rows: std::ops::Range<usize>| {
                    &found.as_slice()[row * rows.start..row * rows.end]
                };
                let own = [rows(4..8), rows(12..16)].concat();
                assert_eq!(second.take().unwrap().as_slice(), own, "step {step}");
            }
        }
        // A run that stops early ends the thread.
        let course = Course { seed: 5, batch_size: 8, part: [0, 1], from: 0, steps: 1000 };
        drop(Prefetch::new(images, course).unwrap());
    }
}
