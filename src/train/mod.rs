//! A training run: the step, the loop, the run folder.
