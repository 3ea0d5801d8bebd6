//! The training time of a run.

use std::time::Instant;

/// Training time, added up over all sessions of a run.
pub(super) struct Clock {
    before: f64,
    since: Instant,
}

impl Clock {
    /// A clock that shows `seconds`.
    pub(super) fn after(seconds: f64) -> Clock {
        Clock { before: seconds, since: Instant::now() }
    }

    /// Restarts the clock at the time it shows.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// Seconds of training so far.
    pub(super) fn elapsed(&self) -> f64 {
        self.before + self.since.elapsed().as_secs_f64()
    }
}
