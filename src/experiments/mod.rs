//! Experiments: what many runs say together.
//!
//! An experiment turns a few words into [`sweep::Cell`]s, one run each, has them trained, and
//! writes what they say as Markdown, CSV and JSON. Every run has a folder of its own below the
//! experiment's, so a sweep that is stopped or killed goes on where it was when the same command is
//! given again, and no finished run is repeated. [`REGISTRY`] lists them.

pub mod confounder;
pub mod sweep;
pub mod table;
pub mod tune;

/// An experiment by name.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// The name on the command line.
    pub name: &'static str,
    /// What it asks.
    pub question: &'static str,
}

/// All experiments.
pub const REGISTRY: [Experiment; 2] = [
    Experiment {
        name: "table",
        question: "what does MetaMask add to each base method, like for like, and is it noise",
    },
    Experiment {
        name: "confounder",
        question: "does the mask turn dimensions down that carry a planted nuisance",
    },
];
