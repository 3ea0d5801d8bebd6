//! Experiments: what many runs say together.
//!
//! An experiment turns a few words into [`sweep::Cell`]s, one run each, has them trained, and
//! writes what they say as Markdown, CSV and JSON. Every run has a folder of its own below the
//! experiment's, so a sweep that is stopped or killed goes on where it was when the same command is
//! given again, and no finished run is repeated. [`REGISTRY`] lists them.

pub mod answer;
pub mod bound;
pub mod confounder;
pub mod dimensions;
pub mod features;
pub mod pair;
pub mod random_masks;
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
pub const REGISTRY: [Experiment; 6] = [
    Experiment {
        name: "table",
        question: "what does MetaMask add to each base method, like for like, and is it noise",
    },
    Experiment {
        name: "confounder",
        question: "does the mask turn dimensions down that carry a planted nuisance",
    },
    Experiment {
        name: "features",
        question: "what do features look like, and how much do their dimensions repeat each other",
    },
    Experiment {
        name: "random-masks",
        question: "do random masks beat no mask, and is the best of them more than luck",
    },
    Experiment {
        name: "dimensions",
        question: "does accuracy fall as the projector grows, and is it the loss's weight",
    },
    Experiment {
        name: "bound",
        question: "do the theorem's inequalities hold, and is the interval narrower with a mask",
    },
];
