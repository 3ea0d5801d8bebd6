//! The graph: reverse and forward mode, of any order, over one closed set of operations.
//!
//! # The story
//! A [`Var`] is a [`Tensor`](crate::Tensor) and, maybe, the node that made it.
//! A node is plain data: an `Op` that holds saved *values*, and its parents, the *edges*;
//! so no cycle can be written, nothing is a closure, and a graph may cross threads.
//! All derivatives stand in two tables, `vjp.rs` (reverse) and `jvp.rs` (forward), each rule
//! written with the public operations of [`Var`] only: a rule's result has a graph like any other,
//! and can be differentiated again. There is nothing else behind the second and third order.
//!
//! # The closed set
//! 1. **Elementwise**: add, sub, mul, div, neg, scale, div_scalar, shift, exp, ln, ln_1p, sqrt,
//!    tanh, sigmoid, powf, gate.
//!    `relu`, `abs` and `clamp` are gates and products with constants of their input's sign.
//! 2. **Linear adjoint pairs**: reshape/reshape, permute/inverse, broadcast_to/sum_to, slice/embed,
//!    concat/slices, take/put. `take` reads flat positions, which serves `gather`,
//!    `index_select`, `max_axis` and `max_pool2d` (the positions are found first, then constant).
//! 3. **Bilinear**: matmul in its nn, nt, tn forms; conv2d with its two gradients (triples, each
//!    other's derivatives); dot, whose derivatives are products with a number.
//! 4. **Fused, with a definition** in the first three: cross_entropy, l2_normalize, batch_norm
//!    (also with a ReLU, a residual sum and a ReLU, or a max-pooling and a ReLU behind it).
//!    The kernel serves first order; where a rule must be recorded, the definition is
//!    differentiated.
//!
//! Everything else (means, variances, softmax, logsumexp, average pooling) is a composition of
//! these.
//!
//! # The engines
//! [`grad`] consumes a loss and frees what it saved as it walks; [`grad_graph`] keeps the graph and
//! returns variables. [`pull`] and [`pull_graph`] are the same for given cotangents, [`push`] and
//! [`push_graph`] send tangents forward along a graph that is already recorded.
//!
//! ```
//! use dimask::{Tensor, Var, grad, grad_graph};
//! let x = Var::leaf(Tensor::scalar(3.0f64));
//! let y = &x * &x * &x;                                   // x³
//! let dy = grad_graph(&y, &[&x]).remove(0);               // 3 x², still a function of x
//! assert_eq!(grad(dy, &[&x])[0].item(), 18.0);            // 6 x
//! ```

pub mod check;
mod jvp;
mod op;
mod ops;
mod pull;
mod push;
mod var;
mod vjp;
pub mod watch;

pub use op::OP_NAMES;
pub use ops::fused::{BatchNorm, Norm, Stats};
pub use ops::reduce::Reduction;
pub use ops::window::CountPad;
pub use pull::{grad, grad_graph, hvp, pull, pull_graph};
pub use push::{push, push_graph};
pub use var::Var;

pub use crate::tensor::{Keep, Tail};
