//! A training run: the step, the loop, the run folder.

pub mod container;
pub mod folder;
pub mod metrics;
#[cfg(test)]
pub(crate) mod tests_support;
