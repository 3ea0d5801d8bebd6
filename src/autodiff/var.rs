//! A value that may remember how it was made.

use std::fmt;
use std::sync::Arc;

use super::op::{Node, Op};
use super::watch::Watch;
use crate::kernels::Real;
use crate::tensor::{Shape, Tensor};

/// A [`Tensor`] and, maybe, the recorded operation that made it.
///
/// Operations on variables are recorded as soon as one operand is; constants cost nothing.
/// A [`Watch`] sees what is made of a variable that is under it.
/// Cloning is cheap and shares all. `Send + Sync`, because a graph is plain immutable data.
///
/// ```
/// use dimask::{Tensor, Var, grad};
/// let w = Var::leaf(Tensor::from_rows(&[&[1.0f64, -2.0]]));
/// let x = Var::constant(Tensor::from_rows(&[&[3.0], &[4.0]]));
/// let loss = w.matmul(&x).square().sum();         // (1·3 - 2·4)² = 25
/// assert_eq!(grad(loss, &[&w])[0].to_vec(), [-30.0, -40.0]);
/// ```
pub struct Var<T: Real = f32> {
    value: Tensor<T>,
    node: Option<Arc<Node<T>>>,
    watch: Option<Watch>,
}

impl<T: Real> Clone for Var<T> {
    fn clone(&self) -> Self {
        Var { value: self.value.clone(), node: self.node.clone(), watch: self.watch.clone() }
    }
}

impl<T: Real> Var<T> {
    /// A variable to differentiate with respect to.
    pub fn leaf(value: Tensor<T>) -> Var<T> {
        let node = Node::new(Op::Leaf, Shape::new(value.shape()), Vec::new());
        Var::with_node(value, Some(node))
    }

    /// A value that no derivative reaches.
    pub fn constant(value: Tensor<T>) -> Var<T> {
        Var::with_node(value, None)
    }

    /// A constant with the shape `[]`.
    pub fn scalar(value: f64) -> Var<T> {
        Var::constant(Tensor::scalar(T::from_f64(value)))
    }

    pub(crate) fn with_node(value: Tensor<T>, node: Option<Arc<Node<T>>>) -> Var<T> {
        Var { value, node, watch: None }
    }

    /// The result of an operation: recorded if an operand is, with what `op` saves.
    pub(crate) fn record(
        value: Tensor<T>,
        operands: &[&Var<T>],
        op: impl FnOnce() -> Op<T>,
    ) -> Var<T> {
        if Var::any_recorded(operands) {
            return Var::with_op(value, operands, op());
        }
        Var::constant(value).made_by(|| op().name(), operands)
    }

    #[inline(never)]
    fn any_recorded(operands: &[&Var<T>]) -> bool {
        operands.iter().any(|operand| operand.is_recorded())
    }

    #[inline(never)]
    fn with_op(value: Tensor<T>, operands: &[&Var<T>], op: Op<T>) -> Var<T> {
        let (name, shape) = (op.name(), Shape::new(value.shape()));
        let parents = operands.iter().map(|v| (Shape::new(v.shape()), v.node.clone())).collect();
        let node = Node::new(op, shape, parents);
        let id = node.id;
        let made = Var::with_node(value, Some(node)).made_by(|| name, operands);
        made.watch.iter().for_each(|watch| watch.note(id));
        made
    }

    /// The value.
    pub fn value(&self) -> &Tensor<T> {
        &self.value
    }

    /// The value, without the history.
    pub fn into_value(self) -> Tensor<T> {
        self.value
    }

    /// The lengths of the value's axes.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.value.rank()
    }

    /// The only element, as `f64`.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn item(&self) -> f64 {
        self.value.item().to_f64()
    }

    /// The same value as a constant.
    pub fn detach(&self) -> Var<T> {
        Var::constant(self.value.clone()).watched_like(self)
    }

    /// The same value as a leaf of a new graph.
    pub fn as_leaf(&self) -> Var<T> {
        Var::leaf(self.value.clone()).watched_like(self)
    }

    /// This variable under a watch, which what is computed from it inherits.
    #[must_use]
    pub fn watched(self, watch: &Watch) -> Var<T> {
        self.under(Some(watch))
    }

    /// This variable under the watch of another one, if that has one.
    #[must_use]
    pub fn watched_like(self, other: &Var<T>) -> Var<T> {
        self.under(other.watch())
    }

    pub(super) fn under(mut self, watch: Option<&Watch>) -> Var<T> {
        if watch.is_some() {
            self.watch = watch.cloned();
        }
        self
    }

    /// This result of the operation `op`, seen by the watch of its operands.
    pub(super) fn made_by(self, op: impl FnOnce() -> &'static str, operands: &[&Var<T>]) -> Var<T> {
        let watch = operands.iter().find_map(|operand| operand.watch());
        let watch = watch.inspect(|watch| watch.see(op(), &self.value, operands));
        self.under(watch)
    }

    /// The watch that this variable is under.
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// Whether derivatives can reach this variable.
    pub fn is_recorded(&self) -> bool {
        self.node.is_some()
    }

    /// The name of the operation that made this variable, one of [`super::OP_NAMES`].
    pub fn op_name(&self) -> Option<&'static str> {
        self.node.as_ref().map(|node| node.op.name())
    }

    pub(crate) fn node(&self) -> Option<&Arc<Node<T>>> {
        self.node.as_ref()
    }

    pub(crate) fn into_parts(self) -> (Tensor<T>, Option<Arc<Node<T>>>) {
        (self.value, self.node)
    }
}

impl<T: Real> fmt::Debug for Var<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({:?}, {})", self.value, self.op_name().unwrap_or("constant"))
    }
}
