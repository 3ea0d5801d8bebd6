//! The self-supervised losses: pure functions of projections.
//!
//! A loss takes the projections of the two views, `[N, D]` each, row `i` of both from image `i`,
//! and is differentiable to any order in both.

mod barlow_twins;
mod simclr;

pub use barlow_twins::{BarlowTwins, Normalization, barlow_twins};
pub use simclr::nt_xent;

use crate::autodiff::Var;
use crate::kernels::Real;

/// A base method, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// SimCLR: contrast each image's two views against all other images of the batch.
    SimClr,
    /// Barlow Twins: the two views agree in each feature, and features do not repeat each other.
    BarlowTwins,
}

impl Method {
    /// Every method with the name it has on the command line and in files.
    pub const ALL: [(Method, &'static str); 2] =
        [(Method::SimClr, "simclr"), (Method::BarlowTwins, "barlow-twins")];

    /// The method called `name`.
    pub fn parse(name: &str) -> Option<Method> {
        Method::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// The method's name.
    pub fn name(self) -> &'static str {
        Method::ALL.iter().find(|entry| entry.0 == self).expect("every method is in ALL").1
    }
}

/// A base method's loss with its settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// [`nt_xent`].
    NtXent {
        /// What similarities are divided by.
        temperature: f64,
    },
    /// [`barlow_twins`].
    BarlowTwins(BarlowTwins),
}

impl Loss {
    /// The loss of the two views' projections, `[N, D]` each → `[]`.
    ///
    /// # Panics
    /// As the loss itself does.
    #[track_caller]
    pub fn value<T: Real>(&self, z0: &Var<T>, z1: &Var<T>) -> Var<T> {
        match self {
            Loss::NtXent { temperature } => nt_xent(z0, z1, *temperature),
            Loss::BarlowTwins(settings) => barlow_twins(z0, z1, settings),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
