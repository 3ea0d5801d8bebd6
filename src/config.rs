//! One run's settings.
