//! The operations on [`Var`](super::Var): compute the value, record what the derivatives need.

mod collective;
pub(crate) mod elementwise;
pub(crate) mod fused;
pub(crate) mod layout;
pub(crate) mod product;
pub(crate) mod reduce;
pub(crate) mod window;
