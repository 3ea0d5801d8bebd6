//! How long a run has trained.

use std::time::Instant;

/// Training time, which goes on across the parts of a run.
pub(super) struct Clock {
    before: f64,
    since: Instant,
}

impl Clock {
    /// A clock that shows `seconds`.
    pub(super) fn after(seconds: f64) -> Clock {
        Clock { before: seconds, since: Instant::now() }
    }

    /// Training begins only now.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// Seconds of training so far.
    pub(super) fn elapsed(&self) -> f64 {
        self.before + self.since.elapsed().as_secs_f64()
    }
}
