//! What is compiled here for `f32` and `f64`, so that no crate that uses dimask compiles it again.
//!
//! A generic function is compiled by each crate that uses it, unless it is `#[inline(never)]` and
//! its own crate has compiled it already for the same types. The tensor's operations and the
//! engines are such functions, and [`Real`] has two types: naming them is enough. What is missing
//! in the list still works; a program that uses it builds a little longer.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::autodiff::{pull, pull_graph, push, push_graph};
use crate::eval::knn::knn;
use crate::kernels::Real;
use crate::{Tensor, Var, grad, grad_graph, hvp};

macro_rules! addresses {
    ($($function:expr),* $(,)?) => {
        vec![$($function as *const ()),*]
    };
}

fn of<T: Real>() -> Vec<*const ()> {
    addresses![
        // The engines; all rules of derivatives, and what the rules call, are behind them.
        grad::<T>,
        grad_graph::<T>,
        hvp::<T>,
        pull::<T>,
        pull_graph::<T>,
        push::<T>,
        push_graph::<T>,
        // The operations.
        <&Var<T> as Add>::add,
        <&Var<T> as Sub>::sub,
        <&Var<T> as Mul>::mul,
        <&Var<T> as Div>::div,
        <&Var<T> as Neg>::neg,
        Var::<T>::exp,
        Var::<T>::ln,
        Var::<T>::ln_1p,
        Var::<T>::sqrt,
        Var::<T>::tanh,
        Var::<T>::sigmoid,
        Var::<T>::relu,
        Var::<T>::abs,
        Var::<T>::clamp,
        Var::<T>::powf,
        Var::<T>::scale,
        Var::<T>::shift,
        Var::<T>::max_pool2d,
        Var::<T>::avg_pool2d,
        Var::<T>::batch_norm,
        Var::<T>::cross_entropy,
        Var::<T>::cross_entropy_without,
        Var::<T>::logsumexp,
        Var::<T>::softmax,
        Var::<T>::log_softmax,
        Var::<T>::l2_normalize,
        Var::<T>::max_axis,
        Var::<T>::concat,
        Var::<T>::matmul,
        Var::<T>::conv2d,
        Tensor::<T>::from_vec,
        Tensor::<T>::from_slice,
        Tensor::<T>::from_rows,
        Tensor::<T>::zeros,
        Tensor::<T>::full,
        Tensor::<T>::make_mut,
        Tensor::<T>::is_finite,
        Tensor::<T>::max_axis,
        Tensor::<T>::scale_assign,
        <Tensor<T> as std::fmt::Debug>::fmt,
        knn::<Tensor<T>, Tensor<T>>,
    ]
}

/// The addresses of what is compiled here; nothing calls it.
#[doc(hidden)]
pub fn instances() -> [Vec<*const ()>; 2] {
    [of::<f32>(), of::<f64>()]
}
