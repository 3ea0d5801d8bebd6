//! The forward engine: tangents along a graph that is already recorded.
//!
//! The saved values are reused, so a push costs about one forward pass and no activations.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::jvp::jvp;
use super::op::{Context, Node};
use super::pull::{Path, end_ids, path};
use super::var::Var;
use super::watch::{self, Direction};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// Jacobian-vector products: the tangent of each output when the inputs move along theirs.
///
/// Records nothing. Zeros where an output does not depend on an input that moves.
///
/// Formula: forward-1.
///
/// # Panics
/// If a tangent has another shape than its input, or an input is a constant or given twice.
///
/// ```
/// use dimask::{Tensor, Var, push};
/// let x = Var::leaf(Tensor::scalar(3.0f64));
/// let y = x.square();
/// assert_eq!(push(&[&y], &[(&x, &Tensor::scalar(1.0))])[0].item(), 6.0);
/// ```
#[track_caller]
pub fn push<T: Real>(outputs: &[&Var<T>], tangents: &[(&Var<T>, &Tensor<T>)]) -> Vec<Tensor<T>> {
    let tangents: Vec<_> = tangents.iter().map(|&(x, dx)| (x, Var::constant(dx.clone()))).collect();
    let tangents: Vec<_> = tangents.iter().map(|(x, dx)| (*x, dx)).collect();
    walk("push", outputs, &tangents, false).into_iter().map(Var::into_value).collect()
}

/// [`push`] with recording on: the results are functions of the inputs and of their tangents.
///
/// Formula: forward-2.
///
/// # Panics
/// If a tangent has another shape than its input, or an input is a constant or given twice.
#[track_caller]
pub fn push_graph<T: Real>(outputs: &[&Var<T>], tangents: &[(&Var<T>, &Var<T>)]) -> Vec<Var<T>> {
    walk("push_graph", outputs, tangents, true)
}

#[track_caller]
#[inline(never)]
pub(crate) fn walk<T: Real>(
    op: &str,
    outputs: &[&Var<T>],
    tangents: &[(&Var<T>, &Var<T>)],
    recording: bool,
) -> Vec<Var<T>> {
    for (x, dx) in tangents {
        let (x, dx) = (x.shape(), dx.shape());
        assert!(x == dx, "{op}: input {x:?}, tangent {dx:?}");
    }
    let inputs: Vec<&Var<T>> = tangents.iter().map(|&(x, _)| x).collect();
    let roots = || outputs.iter().filter_map(|output| output.node());
    let ends = end_ids(op, &inputs);
    let path = path(roots(), &ends);
    let mut moving = Moving::new(roots(), &path);
    for (id, (x, dx)) in ends.into_iter().zip(tangents) {
        assert!(moving.tangent(id).is_none(), "{op}: two tangents for {x:?}");
        moving.set(id, (*dx).clone());
    }
    let nodes = std::mem::take(&mut moving.nodes);
    for (id, node) in nodes {
        // An input's tangent is given, also where the input depends on another one.
        if moving.tangents.contains_key(&id) {
            continue;
        }
        let parent = |node: &Option<Arc<Node<T>>>| moving.tangent(node.as_ref()?.id);
        let operands: Vec<_> = node.parents.iter().map(|(_, node)| parent(node)).collect();
        let wanted: Vec<bool> = operands.iter().map(Option::is_some).collect();
        let _rule = watch::rule(Direction::Forward, &node);
        let dy = jvp(&operands, &Context { node: &node, recording, wanted: &wanted });
        let moved: Vec<&Var<T>> = operands.iter().flatten().collect();
        watch::see(node.op.name(), dy.value(), &moved);
        drop(operands);
        moving.set(id, dy);
        node.parent_nodes().for_each(|parent| moving.release(parent.id));
    }
    let still = |v: &Var<T>| Var::constant(Tensor::zeros(v.shape()));
    let tangent = |v: &&Var<T>| v.node().and_then(|node| moving.tangent(node.id));
    outputs.iter().map(|v| tangent(v).unwrap_or_else(|| still(v))).collect()
}

/// The tangents of the nodes on the path, each kept until its last reader is done.
struct Moving<T: Real> {
    nodes: BTreeMap<u64, Arc<Node<T>>>,
    tangents: HashMap<u64, Var<T>>,
    readers: HashMap<u64, usize>,
}

impl<T: Real> Moving<T> {
    fn new<'a>(roots: impl Iterator<Item = &'a Arc<Node<T>>>, path: &Path) -> Self {
        let on_path = |node: &&Arc<Node<T>>| path.has(node);
        let (mut nodes, mut readers) = (BTreeMap::new(), HashMap::new());
        let mut todo: Vec<&Arc<Node<T>>> = Vec::new();
        for root in roots.filter(on_path) {
            *readers.entry(root.id).or_insert(0) += 1;
            todo.push(root);
        }
        while let Some(node) = todo.pop() {
            if nodes.insert(node.id, Arc::clone(node)).is_none() {
                for parent in node.parent_nodes().filter(on_path) {
                    *readers.entry(parent.id).or_insert(0) += 1;
                    todo.push(parent);
                }
            }
        }
        Moving { nodes, tangents: HashMap::new(), readers }
    }

    fn set(&mut self, id: u64, tangent: Var<T>) {
        self.tangents.insert(id, tangent);
    }

    fn tangent(&self, id: u64) -> Option<Var<T>> {
        self.tangents.get(&id).cloned()
    }

    fn release(&mut self, id: u64) {
        if let Some(readers) = self.readers.get_mut(&id) {
            *readers -= 1;
            if *readers == 0 {
                self.tangents.remove(&id);
            }
        }
    }
}
