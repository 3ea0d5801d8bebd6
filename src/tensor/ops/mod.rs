//! Value-level operations: check the shapes, get a buffer, call the kernel of the same name.

mod elementwise;
mod fused;
mod layout;
mod product;

pub(crate) use fused::{Normed, Softmax, Targets, UnitRows, check_norm, norm_shape};
pub(crate) use product::{images, window_counts, windows_fit};
