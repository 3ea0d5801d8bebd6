//! A function of flat numbers, with what is claimed about its derivatives.

use std::rc::Rc;

use super::difference::Value;
use crate::autodiff::{self, Var};
use crate::tensor::Tensor;

/// A linear function of flat numbers.
pub(super) type Linear = Box<dyn Fn(&[f64]) -> Vec<f64>>;

/// A function, and a way to get the claims about its derivative at a point.
///
/// Claims are closures, so that a test can make wrong ones for each mode by itself.
pub(super) struct Map<'a> {
    /// The shapes of the inputs.
    pub(super) inputs: Vec<Vec<usize>>,
    pub(super) value: Box<Value<'a>>,
    pub(super) claim: Box<Claims<'a>>,
}

/// What is claimed, by point.
type Claims<'a> = dyn Fn(&[f64]) -> Claim + 'a;

/// What is claimed at a point.
pub(super) struct Claim {
    /// The shapes of the outputs.
    pub(super) outputs: Vec<Vec<usize>>,
    pub(super) value: Vec<f64>,
    /// `u` to `Jᵀ u`.
    pub(super) pull: Option<Linear>,
    /// `v` to `J v`.
    pub(super) push: Option<Linear>,
}

/// Differentiable functions of some variables, with any number of results.
pub(super) type Function<'a> = dyn Fn(&[Var<f64>]) -> Vec<Var<f64>> + 'a;

impl<'a> Map<'a> {
    /// A function of variables, whose claims are those of the engine.
    pub(super) fn of_graph(f: &'a Function<'a>, inputs: &[Tensor<f64>]) -> Map<'a> {
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|x| x.shape().to_vec()).collect();
        let (first, second) = (shapes.clone(), shapes.clone());
        Map {
            inputs: shapes,
            value: Box::new(move |x| flat(&values(&f(&leaves(x, &first))))),
            claim: Box::new(move |x| {
                let x = leaves(x, &second);
                let y = Rc::new(f(&x));
                let x = Rc::new(x);
                let outputs: Vec<Vec<usize>> = y.iter().map(|y| y.shape().to_vec()).collect();
                let value = flat(&values(&y));
                let (inputs, shapes) = (second.clone(), outputs.clone());
                let (px, py) = (Rc::clone(&x), Rc::clone(&y));
                let pull = move |u: &[f64]| {
                    let roots = py.iter().cloned().zip(tensors(u, &shapes)).collect();
                    flat(&autodiff::pull(roots, &px.iter().collect::<Vec<_>>()))
                };
                let push = move |v: &[f64]| {
                    let v = tensors(v, &inputs);
                    let tangents: Vec<_> = x.iter().zip(&v).collect();
                    flat(&autodiff::push(&y.iter().collect::<Vec<_>>(), &tangents))
                };
                Claim { outputs, value, pull: Some(Box::new(pull)), push: Some(Box::new(push)) }
            }),
        }
    }
}

/// The numbers of all tensors, one after the other.
pub(super) fn flat(tensors: &[Tensor<f64>]) -> Vec<f64> {
    tensors.iter().flat_map(|t| t.as_slice().iter().copied()).collect()
}

/// [`flat`], undone.
pub(super) fn tensors(flat: &[f64], shapes: &[Vec<usize>]) -> Vec<Tensor<f64>> {
    let mut rest = flat;
    let mut next = |shape: &Vec<usize>| {
        let (own, others) = rest.split_at(shape.iter().product());
        rest = others;
        Tensor::from_vec(own.to_vec(), shape)
    };
    shapes.iter().map(&mut next).collect()
}

fn values(y: &[Var<f64>]) -> Vec<Tensor<f64>> {
    y.iter().map(|y| y.value().clone()).collect()
}

/// Leaves, because a function may differentiate inside itself.
fn leaves(x: &[f64], shapes: &[Vec<usize>]) -> Vec<Var<f64>> {
    tensors(x, shapes).into_iter().map(Var::leaf).collect()
}

/// Which of some arrays a flat position lies in, and where: an index for each axis.
pub(super) fn locate(shapes: &[Vec<usize>], mut position: usize) -> (usize, Vec<usize>) {
    for (number, shape) in shapes.iter().enumerate() {
        let len: usize = shape.iter().product();
        if position < len {
            let mut index = vec![0; shape.len()];
            for axis in (0..shape.len()).rev() {
                index[axis] = position % shape[axis];
                position /= shape[axis];
            }
            return (number, index);
        }
        position -= len;
    }
    unreachable!("a position lies in one of the arrays")
}
