//! A training run: from settings and images to a folder with weights, records and a judgement.
//!
//! [`run`] starts one and [`resume`] goes on with one. A run is a pure function of its settings:
//! every draw is addressed by seed, epoch and image, so that a run which stops and goes on, on any
//! number of threads, comes to the same bits as one that never stopped. This module writes files
//! but prints nothing; an [`Observer`] is told what happens.

mod clock;
pub mod container;
pub mod diverged;
pub mod estimate;
pub mod evaluate;
pub mod fine_tune;
pub mod folder;
pub mod images;
pub mod metrics;
pub mod model;
pub mod prefetch;
mod run;
pub mod settings;
mod start;
pub mod team;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_effect;
#[cfg(test)]
mod tests_ranks;
#[cfg(test)]
mod tests_resume;
#[cfg(test)]
pub(crate) mod tests_support;
pub mod traffic;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use run::{Outcome, load, resume_on, run_on};
pub use start::{Start, first_state, init_sha256, last_state};

use crate::comm::Ranks;
use crate::config::RunConfig;
use crate::error::Result;
use metrics::{EpochRecord, StepRecord, Summary};

/// [`run_on`] one rank.
///
/// # Errors
/// As there.
pub fn run(
    config: &RunConfig,
    out: &Path,
    observer: &mut dyn Observer,
    stop: &Stop,
) -> Result<Summary> {
    run_on(&Ranks::alone(), config, out, observer, stop)
}

/// [`resume_on`] one rank.
///
/// # Errors
/// As there.
pub fn resume(dir: &Path, observer: &mut dyn Observer, stop: &Stop) -> Result<Outcome> {
    resume_on(&Ranks::alone(), dir, observer, stop)
}

/// What a run is about to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The networks' parameters, and the mask's.
    pub parameters: usize,
    /// Training images.
    pub images: usize,
    /// Images a step.
    pub batch_size: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps an epoch.
    pub steps_per_epoch: usize,
    /// Steps that an earlier part of the run has done.
    pub steps_done: usize,
}

/// Who is told how a run goes on.
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

    /// Something else worth a line.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
}

/// Looks away.
impl Observer for () {}

/// A request to stop a run, from a signal's handler or another thread.
///
/// The run then saves its state and ends with [`Error::Interrupted`](crate::Error::Interrupted).
#[derive(Clone, Debug, Default)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Asks for the stop; `signal` is what the run's error will say.
    pub fn request(&self, signal: i32) {
        self.signal.store(signal as usize, Ordering::Relaxed);
    }

    /// The signal that asked for the stop, if one did.
    pub fn requested(&self) -> Option<i32> {
        match self.signal.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }

    /// The number that a signal's handler sets to the signal; 0 before.
    pub fn flag(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.signal)
    }
}
