//! A run as it is described and stored: settings, networks, checkpoints, records, the run folder.
//!
//! [`settings`] turns a configuration into the settings of a step, [`model`] into networks,
//! and networks into files and back. The training loop is in [`train`](crate::train).

pub mod container;
pub mod folder;
pub mod metrics;
pub mod model;
pub mod settings;
#[cfg(test)]
pub(crate) mod tests;
