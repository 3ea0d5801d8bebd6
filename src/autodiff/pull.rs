//! The reverse engine: find the path, walk it from the last node to the first, add up, free.
//!
//! Ids replace sorting: a child's id is larger than its parents', so "largest open id first" is a
//! topological order, without recursion and the same on every machine and thread count.
//!
//! One exception: the gradient of a variable that several ranks have goes off to be added up as
//! soon as it is whole, and the walk goes on meanwhile.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::op::{Context, Node, Op};
use super::var::Var;
use super::vjp::vjp;
use super::watch::{self, Direction};
use crate::comm::Buckets;
use crate::kernels::Real;
use crate::tensor::Tensor;

/// The gradient of one number in each of `wrt`; zeros where it does not depend on one.
///
/// Consumes the loss: unless someone else holds the graph, each saved value is freed as soon as the
/// walk has passed it.
///
/// Formula: reverse-2.
///
/// # Panics
/// If the loss is not one number, or one of `wrt` is a constant.
///
/// ```
/// use dimask::{Tensor, Var, grad};
/// let x = Var::leaf(Tensor::scalar(2.0f64));
/// assert_eq!(grad(x.exp(), &[&x])[0].item(), 2f64.exp());
/// ```
#[track_caller]
pub fn grad<T: Real>(loss: Var<T>, wrt: &[&Var<T>]) -> Vec<Tensor<T>> {
    let one = seed("grad", &loss);
    pull_for("grad", vec![(loss, one)], wrt)
}

/// The gradient of one number in each of `wrt`, as variables that can be differentiated again.
///
/// Frees nothing: the results hold the graph.
///
/// ```
/// use dimask::{Tensor, Var, grad, grad_graph};
/// let x = Var::leaf(Tensor::scalar(2.0f64));
/// let slope = grad_graph(&x.powf(4.0), &[&x]).remove(0);      // 4 x³, a function of x
/// assert_eq!(grad(slope, &[&x])[0].item(), 48.0);             // 12 x²
/// ```
///
/// Formula: reverse-3.
///
/// # Panics
/// If the loss is not one number, or one of `wrt` is a constant.
#[track_caller]
pub fn grad_graph<T: Real>(loss: &Var<T>, wrt: &[&Var<T>]) -> Vec<Var<T>> {
    let one = Var::constant(seed("grad_graph", loss));
    pull_graph_for("grad_graph", &[(loss, &one)], wrt)
}

/// The product of the Hessian of `loss` in `wrt` with the direction `v`.
///
/// ```
/// use dimask::{Tensor, Var, hvp};
/// let x = Var::leaf(Tensor::from_vec(vec![2.0f64, 3.0], &[2]));
/// let loss = (x.rows(0..1).square() * x.rows(1..2)).sum();    // x1² x2
/// let v = Tensor::from_vec(vec![1.0, -1.0], &[2]);
/// // The Hessian is [[2 x2, 2 x1], [2 x1, 0]].
/// assert_eq!(hvp(&loss, &[&x], &[&v])[0].to_vec(), [2.0, 4.0]);
/// ```
///
/// Formula: reverse-4.
///
/// # Panics
/// If the loss is not one number, one of `wrt` is a constant, or the directions are not as many or
/// not of the shapes of `wrt`.
#[track_caller]
pub fn hvp<T: Real>(loss: &Var<T>, wrt: &[&Var<T>], v: &[&Tensor<T>]) -> Vec<Tensor<T>> {
    assert!(v.len() == wrt.len(), "hvp: {} directions for {} variables", v.len(), wrt.len());
    let one = Var::constant(seed("hvp", loss));
    let gradient = pull_graph_for("hvp", &[(loss, &one)], wrt);
    pull_for("hvp", gradient.into_iter().zip(v).map(|(g, &v)| (g, v.clone())).collect(), wrt)
}

/// Vector-Jacobian products: the gradient of `Σ <cotangent, output>` in each of `wrt`.
///
/// Consumes the outputs and frees as it walks, like [`grad`].
///
/// Formula: reverse-1.
///
/// # Panics
/// If a cotangent has another shape than its output, or one of `wrt` is a constant.
#[track_caller]
pub fn pull<T: Real>(outputs: Vec<(Var<T>, Tensor<T>)>, wrt: &[&Var<T>]) -> Vec<Tensor<T>> {
    pull_for("pull", outputs, wrt)
}

/// [`pull`] for the function `op`, which a complaint names.
#[track_caller]
#[inline(never)]
fn pull_for<T: Real>(
    op: &str,
    outputs: Vec<(Var<T>, Tensor<T>)>,
    wrt: &[&Var<T>],
) -> Vec<Tensor<T>> {
    let ends = end_ids(op, wrt);
    let mut open = Open::new(false);
    let mut roots = Vec::new();
    for (output, cotangent) in outputs {
        check(op, &output, cotangent.shape());
        let (_, node) = output.into_parts();
        roots.extend(node.map(|node| (node, Var::constant(cotangent))));
    }
    let path = path(roots.iter().map(|(node, _)| node), &ends);
    roots.into_iter().for_each(|(node, g)| open.add(node, g));
    open.walk(&path, &ends, wrt).into_iter().map(Var::into_value).collect()
}

/// [`pull`] with recording on: the results can be differentiated, also in the cotangents.
///
/// # Panics
/// If a cotangent has another shape than its output, or one of `wrt` is a constant.
#[track_caller]
pub fn pull_graph<T: Real>(outputs: &[(&Var<T>, &Var<T>)], wrt: &[&Var<T>]) -> Vec<Var<T>> {
    pull_graph_for("pull_graph", outputs, wrt)
}

#[track_caller]
#[inline(never)]
fn pull_graph_for<T: Real>(
    op: &str,
    outputs: &[(&Var<T>, &Var<T>)],
    wrt: &[&Var<T>],
) -> Vec<Var<T>> {
    let ends = end_ids(op, wrt);
    let mut open = Open::new(true);
    for (output, cotangent) in outputs {
        check(op, output, cotangent.shape());
        if let Some(node) = output.node() {
            open.add(Arc::clone(node), (*cotangent).clone());
        }
    }
    let path = path(outputs.iter().filter_map(|(output, _)| output.node()), &ends);
    open.walk(&path, &ends, wrt)
}

#[track_caller]
fn seed<T: Real>(op: &str, loss: &Var<T>) -> Tensor<T> {
    assert!(loss.value().len() == 1, "{op}: a loss is one number, got {:?}", loss.shape());
    Tensor::full(loss.shape(), T::ONE)
}

#[track_caller]
fn check<T: Real>(op: &str, output: &Var<T>, cotangent: &[usize]) {
    assert!(output.shape() == cotangent, "{op}: {:?}, cotangent {cotangent:?}", output.shape());
}

/// The nodes behind some roots that depend on one of some ends (or are one).
///
/// Ids only: holding the nodes would keep the walk from freeing them.
pub(crate) struct Path {
    /// Their ids, ascending.
    pub(crate) ids: Vec<u64>,
    /// For a node, the replicated variables that no earlier node reads: a walk from last to first
    /// has their whole gradients once it has passed the node.
    whole_after: HashMap<u64, Vec<u64>>,
}

impl Path {
    pub(crate) fn has<T: Real>(&self, node: &Node<T>) -> bool {
        self.ids.binary_search(&node.id).is_ok()
    }
}

/// The path from `roots` to the nodes `ends`.
pub(crate) fn path<'a, T: Real>(
    roots: impl Iterator<Item = &'a Arc<Node<T>>>,
    ends: &[u64],
) -> Path {
    // A node made before all ends cannot depend on one: a definition's walk stays inside it.
    let first = ends.iter().min().copied().unwrap_or(u64::MAX);
    let mut found: BTreeMap<u64, &Node<T>> = BTreeMap::new();
    let mut todo: Vec<&Node<T>> = roots.map(Arc::as_ref).collect();
    while let Some(node) = todo.pop() {
        if node.id >= first && found.insert(node.id, node).is_none() {
            todo.extend(node.parent_nodes().map(Arc::as_ref));
        }
    }
    let mut path = Path { ids: Vec::new(), whole_after: HashMap::new() };
    let (mut read, mut replicated) = (HashSet::new(), HashSet::new());
    for (&id, node) in &found {
        let operands: Vec<_> = node.parent_nodes().filter(|parent| path.has(parent)).collect();
        if ends.contains(&id) || !operands.is_empty() {
            path.ids.push(id);
            for Node { id: parent, op, .. } in operands.into_iter().map(Arc::as_ref) {
                if matches!(op, Op::Replicate(_)) && read.insert(*parent) {
                    path.whole_after.entry(id).or_default().push(*parent);
                }
                // What is replicated once more gets a part of its gradient later.
                replicated.extend(matches!(node.op, Op::Replicate(_)).then_some(*parent));
            }
        }
    }
    path.whole_after.values_mut().for_each(|all| all.retain(|id| !replicated.contains(id)));
    path
}

/// The ids of variables that derivatives are taken in.
#[track_caller]
#[inline(never)]
pub(crate) fn end_ids<T: Real>(op: &str, ends: &[&Var<T>]) -> Vec<u64> {
    let mut ids = Vec::with_capacity(ends.len());
    for (i, end) in ends.iter().enumerate() {
        let Some(node) = end.node() else {
            panic!("{op}: variable {i} is a constant, {:?}: make it a leaf", end.shape());
        };
        ids.push(node.id);
    }
    ids
}

/// A node and what its cotangent has come to.
type Reached<T> = (Arc<Node<T>>, Var<T>);

/// Nodes whose cotangents are still being added up.
struct Open<T: Real> {
    nodes: BTreeMap<u64, Reached<T>>,
    recording: bool,
}

impl<T: Real> Open<T> {
    fn new(recording: bool) -> Self {
        Open { nodes: BTreeMap::new(), recording }
    }

    #[inline(never)]
    fn add(&mut self, node: Arc<Node<T>>, g: Var<T>) {
        // Broadcasting is undone here, once, for all rules.
        let g = g.sum_to(&node.shape);
        match self.nodes.entry(node.id) {
            Entry::Vacant(entry) => {
                entry.insert((node, g));
            }
            Entry::Occupied(mut entry) => {
                let sum = &mut entry.get_mut().1;
                *sum = match self.recording {
                    true => &*sum + &g,
                    false => add_in_place(std::mem::replace(sum, Var::scalar(0.0)), &g),
                };
                watch::see("add", sum.value(), &[&g]);
            }
        }
    }

    /// Visits the path from its last node to its first; the cotangents that reached `wrt`.
    #[inline(never)]
    fn walk(mut self, path: &Path, ends: &[u64], wrt: &[&Var<T>]) -> Vec<Var<T>> {
        let mut results: Vec<Option<Var<T>>> = vec![None; wrt.len()];
        let (mut whole, mut buckets) = (Vec::new(), Buckets::default());
        while let Some((id, (node, g))) = self.next(&mut whole, &mut buckets) {
            for (result, _) in results.iter_mut().zip(ends).filter(|&(_, &end)| end == id) {
                *result = Some(g.clone());
            }
            let on_path = |parent: &&Arc<Node<T>>| path.has(parent);
            let wanted: Vec<bool> = node
                .parents
                .iter()
                .map(|(_, parent)| parent.as_ref().as_ref().is_some_and(on_path))
                .collect();
            if !wanted.contains(&true) {
                continue;
            }
            if let (Op::Replicate(comm), false) = (&node.op, self.recording) {
                let parents = node.parent_nodes().map(Arc::clone);
                parents.for_each(|parent| buckets.add(comm, parent, g.value().as_slice()));
                continue;
            }
            let _rule = watch::rule(Direction::Backward, &node);
            let rule = Context { node: &node, recording: self.recording, wanted: &wanted };
            let cotangents = vjp(&g, &rule);
            for dx in cotangents.iter().flatten() {
                watch::see(node.op.name(), dx.value(), &[&g]);
            }
            drop(g);
            for ((_, parent), cotangent) in node.parents.iter().zip(cotangents) {
                if let (Some(parent), Some(g)) = (parent.as_ref().filter(on_path), cotangent) {
                    self.add(Arc::clone(parent), g);
                }
            }
            whole.extend(path.whole_after.get(&id).into_iter().flatten());
        }
        let zeros = |v: &Var<T>| Var::constant(Tensor::zeros(v.shape()));
        results.into_iter().zip(wrt).map(|(g, v)| g.unwrap_or_else(|| zeros(v))).collect()
    }

    /// The next node to visit, with its cotangent: a replicated variable whose gradient is whole,
    /// or else the last one, once nothing that is on its way could still reach it.
    #[inline(never)]
    fn next(
        &mut self,
        whole: &mut Vec<u64>,
        buckets: &mut Buckets<T, Arc<Node<T>>>,
    ) -> Option<(u64, Reached<T>)> {
        while let Some(id) = whole.pop() {
            if let Some(found) = self.nodes.remove_entry(&id) {
                return Some(found);
            }
        }
        let last = self.nodes.last_key_value().map(|(&id, _)| id);
        if buckets.places().map(|node| node.id).max() >= last {
            buckets.finish(|node, sum| {
                let g = Var::constant(Tensor::from_slice(sum, &node.shape));
                watch::see("replicate", g.value(), &[]);
                self.add(node, g);
            });
        }
        self.nodes.pop_last()
    }
}

/// The sum of two constants, in the memory of the first where nothing else holds it.
#[inline(never)]
pub(crate) fn add_in_place<T: Real>(sum: Var<T>, g: &Var<T>) -> Var<T> {
    let mut total = sum.into_value();
    total.add_assign(g.value());
    Var::constant(total)
}
