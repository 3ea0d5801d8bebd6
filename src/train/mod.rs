//! The training loop: from settings and images to a run folder with weights and scores.
//!
//! [`run`] starts a run and [`resume`] resumes one. A run is a pure function of its settings: every
//! draw is addressed by seed, epoch and image, so that an interrupted run, resumed on any number of
//! threads, ends with the same bits as an uninterrupted one. This module writes files but prints
//! nothing; an [`Observer`] receives progress events.

mod clock;
pub mod diverged;
pub mod estimate;
pub mod evaluate;
pub mod fine_tune;
pub mod images;
pub mod prefetch;
mod start;
pub mod team;
#[cfg(test)]
mod tests;
pub mod traffic;
mod trainer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use start::{Start, first_state, init_sha256, last_state};
pub use trainer::{Outcome, load, resume_on, run_on};

use crate::comm::Ranks;
use crate::config::RunConfig;
use crate::error::Result;
use crate::run::metrics::{EpochRecord, StepRecord, Summary};

/// Runs [`run_on`] with one rank.
///
/// # Errors
/// Those of [`run_on`].
pub fn run(
    config: &RunConfig,
    out: &Path,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Summary> {
    run_on(&Ranks::alone(), config, out, observer, stop)
}

/// Runs [`resume_on`] with one rank.
///
/// # Errors
/// Those of [`resume_on`].
pub fn resume(dir: &Path, observer: &mut dyn Observer, stop: &Stop) -> Result<Outcome> {
    resume_on(&Ranks::alone(), dir, observer, stop)
}

/// The extent of a run, reported before its first step.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The networks' parameters, and the mask's.
    pub parameters: usize,
    /// Training images.
    pub images: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Epochs in total.
    pub epochs: usize,
    /// Steps per epoch.
    pub steps_per_epoch: usize,
    /// Steps already done when the run resumes.
    pub steps_done: usize,
}

/// Receives progress events.
pub trait Observer {
    /// Training begins.
    fn begin(&mut self, plan: &Plan) {
        let _ = plan;
    }

    /// A step is done.
    fn step(&mut self, record: &StepRecord) {
        let _ = record;
    }

    /// An epoch is done.
    fn epoch(&mut self, record: &EpochRecord) {
        let _ = record;
    }

    /// A remark of one line.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// Ignores all events.
impl Observer for () {}

/// A request to stop a run, from a signal's handler or another thread.
///
/// The run then saves its state and ends with [`Error::Interrupted`](crate::Error::Interrupted).
#[derive(Clone, Debug, Default)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Requests the stop; the run's error reports `signal`.
    pub fn request(&self, signal: i32) {
        self.signal.store(signal as usize, Ordering::Relaxed);
    }

    /// The signal that requested the stop, if any.
    pub fn requested(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }

    /// The number that a signal handler sets to its signal; 0 before.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }
}
