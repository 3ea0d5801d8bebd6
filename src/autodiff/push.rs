//! The forward engine: tangents along a graph that is already recorded.
//!
//! The saved values are reused, so a push costs about one forward pass and no activations.

use std::collections::HashMap;
use std::sync::Arc;

use super::jvp::jvp;
use super::op::{Context, Node};
use super::pull::{end_ids, path};
use super::var::Var;
use super::watch::Direction;
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
    let ends = end_ids(op, &inputs);
    let path = path(outputs.iter().filter_map(|output| output.node()), &ends);
    // Each is kept until its last reader is done.
    let mut moving: HashMap<u64, Var<T>> = HashMap::new();
    for (&id, (x, dx)) in ends.iter().zip(tangents) {
        assert!(
            moving.insert(id, (*dx).clone().watched_like(x)).is_none(),
            "{op}: two tangents for {x:?}"
        );
    }
    let mut readers: HashMap<u64, usize> =
        path.iter().map(|(&id, &(_, readers))| (id, readers)).collect();
    for (id, (node, _)) in path {
        // An input's tangent is given, also where the input depends on another one.
        if ends.contains(&id) {
            continue;
        }
        let parent = |node: &Option<Arc<Node<T>>>| moving.get(&node.as_ref()?.id).cloned();
        let operands: Vec<_> = node.parents.iter().map(|(_, node)| parent(node)).collect();
        let wanted: Vec<bool> = operands.iter().map(Option::is_some).collect();
        let moved: Vec<&Var<T>> = operands.iter().flatten().collect();
        let watch = moved.iter().find_map(|dx| dx.watch());
        let _rule = watch.map(|watch| watch.rule(Direction::Forward, node));
        let dy = jvp(&operands, &Context { node, recording, wanted: &wanted, watch });
        let dy = dy.made_by(|| node.op.name(), &moved);
        drop(operands);
        moving.insert(id, dy);
        for Node { id, .. } in node.parent_nodes().map(Arc::as_ref) {
            if let Some(readers) = readers.get_mut(id) {
                *readers -= 1;
                if *readers == 0 {
                    moving.remove(id);
                }
            }
        }
    }
    let still = |v: &Var<T>| Var::constant(Tensor::zeros(v.shape()));
    let tangent = |v: &&Var<T>| moving.get(&v.node()?.id).cloned();
    outputs.iter().map(|v| tangent(v).unwrap_or_else(|| still(v))).collect()
}
