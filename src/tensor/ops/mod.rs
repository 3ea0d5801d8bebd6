//! Value-level operations: check the shapes, get a buffer, call the kernel of the same name.

mod elementwise;
mod fused;
mod layout;
mod product;

pub(crate) use fused::{
    Picks, Softmax, Tail, Targets, UnitRows, check_moments, check_norm, norm_shape,
};
pub(crate) use product::{images, window_counts, windows_fit};

pub use fused::BatchNormStats;
