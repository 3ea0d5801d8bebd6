//! Value-level operations: check the shapes, get a buffer, call the kernel of the same name.

mod elementwise;
mod fused;
mod layout;
mod product;

pub(crate) use fused::{Picks, Softmax, Tail, Targets, UnitRows, norm_shape};
pub(crate) use product::{images, window_counts};

pub use fused::BatchNormStats;
