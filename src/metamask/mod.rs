//! The method: a dimensional mask and its gradient through a training step.
//!
//! An encoder turns images into features, a mask scales the features dimension by dimension, and
//! two heads project them: one for the base method's loss, one for the redundancy loss.
//! The networks descend on both losses; the mask descends on the base method's loss *after* a
//! trial step of the networks, so its gradient contains a second derivative.
//! [`step`] is one iteration of all that; [`meta_gradient`] has the mask's gradient in four forms.
//!
//! Source: Li et al. 2022, arXiv 2209.07902; the order of operations is that of the authors' code.

pub mod meta_gradient;

mod cut;
mod mask;
mod memory;
mod network;
mod objective;
mod state;
mod step;

pub use mask::{Mask, MaskForm};
pub use memory::{Anchors, Memory, Target};
pub use meta_gradient::{MetaGradient, Problem, TrialStep};
pub use network::{HeadShapes, Heads, Network, Projections};
pub use objective::{Joint, Objective};
pub use state::{Moved, NonFinite, State};
pub use step::{Agreement, MaskReport, Meta, Mode, Settings, StepReport, step};

#[cfg(test)]
mod tests;
