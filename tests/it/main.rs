//! The integration tests: one binary, so that everything links once and shares its helpers.

// Nothing outside can see into a test binary, so `pub` only says that another file uses an item.
#![allow(unreachable_pub)]

mod support;

mod book;
mod build;
mod collapse;
mod conv;
mod determinism;
mod fused;
mod graph;
mod laws;
mod numerics;
mod ops;
mod panics;
mod precision;
mod programs;
mod ranks;
mod tidy;

#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "cli")]
mod oracle;
#[cfg(feature = "cli")]
mod packed;
#[cfg(feature = "cli")]
mod records;
