//! The reverse engine: find the path, walk it from the last node to the first, add up, free.
//!
//! A node is visited once all nodes that read it have been, and of several the one with the largest
//! id comes first: the order is the same on every machine and at every thread count.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::op::{Context, Node};
use super::var::Var;
use super::vjp::vjp;
use super::watch::Direction;
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
    let mut roots = Vec::new();
    for (output, cotangent) in outputs {
        check(op, &output, cotangent.shape());
        let cotangent = Var::constant(cotangent).watched_like(&output);
        let (_, node) = output.into_parts();
        roots.extend(node.map(|node| (node, cotangent)));
    }
    let mut sums = Buckets::default();
    let mut walk = Walk::new(roots.iter().map(|(node, _)| node), &ends, &mut sums);
    roots.into_iter().for_each(|(node, g)| walk.add(&node, Some(g)));
    walk.run(wrt).into_iter().map(Var::into_value).collect()
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
    for (output, cotangent) in outputs {
        check(op, output, cotangent.shape());
    }
    let watched = |output: &Var<T>, g: &Var<T>| g.clone().watched_like(output);
    let roots =
        || outputs.iter().filter_map(|(output, g)| Some((output.node()?, watched(output, g))));
    let mut hook = Recording;
    let mut walk = Walk::new(roots().map(|(node, _)| node), &ends, &mut hook);
    roots().for_each(|(node, g)| walk.add(node, Some(g)));
    walk.run(wrt)
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

/// The nodes behind some roots that depend on one of some ends (or are one), by id; each with the
/// number of times that the others read it, to which being a root adds one.
pub(crate) type Path<'a, T> = BTreeMap<u64, (&'a Arc<Node<T>>, usize)>;

/// The path from `roots` to the nodes `ends`.
pub(crate) fn path<'a, T: Real>(
    roots: impl Iterator<Item = &'a Arc<Node<T>>>,
    ends: &[u64],
) -> Path<'a, T> {
    // A node made before all ends cannot depend on one: a definition's walk stays inside it.
    let first = ends.iter().min().copied().unwrap_or(u64::MAX);
    let roots: Vec<_> = roots.collect();
    let (mut todo, mut found) = (roots.clone(), BTreeMap::new());
    while let Some(node) = todo.pop() {
        if node.id >= first && found.insert(node.id, node).is_none() {
            todo.extend(node.parent_nodes());
        }
    }
    let mut path = Path::new();
    let read = |path: &mut Path<'a, T>, node: &Arc<Node<T>>| {
        path.get_mut(&node.id).map(|(_, readers)| *readers += 1).is_some()
    };
    for (id, node) in found {
        let reads = node.parent_nodes().filter(|parent| read(&mut path, parent)).count();
        if reads > 0 || ends.contains(&id) {
            path.insert(id, (node, 0));
        }
    }
    roots.into_iter().for_each(|root| _ = read(&mut path, root));
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

/// What a backward walk does with a cotangent besides taking its node's derivative.
pub(super) trait Hook<T: Real> {
    /// Whether the cotangents can be differentiated.
    fn records(&self) -> bool {
        false
    }

    /// Takes the whole cotangent of a node over, if it returns true: the walk does not visit
    /// the node, and the cotangents of its operands arrive later.
    fn takes(&mut self, _node: &Node<T>, _g: &Var<T>) -> bool {
        false
    }

    /// Cotangents that have arrived for nodes; the walk is about to visit the node of this id.
    fn arrived(&mut self, _next: Option<u64>) -> Vec<(Arc<Node<T>>, Var<T>)> {
        Vec::new()
    }
}

/// A walk that records what it does, and nothing besides.
struct Recording;

impl<T: Real> Hook<T> for Recording {
    fn records(&self) -> bool {
        true
    }
}

/// A walk along a path, from its last node to its first.
struct Walk<'a, T: Real> {
    ends: &'a [u64],
    hook: &'a mut dyn Hook<T>,
    /// For each node on the path, how many cotangents it waits for, and the sum of those before.
    sums: HashMap<u64, (usize, Option<Var<T>>)>,
    /// The nodes that wait for none, with their cotangents.
    whole: BTreeMap<u64, (Arc<Node<T>>, Var<T>)>,
    /// The cotangents of the ends.
    found: HashMap<u64, Var<T>>,
}

impl<'a, T: Real> Walk<'a, T> {
    fn new<'b>(
        roots: impl Iterator<Item = &'b Arc<Node<T>>>,
        ends: &'a [u64],
        hook: &'a mut dyn Hook<T>,
    ) -> Self {
        // No nodes: the walk could not free what it holds.
        let sums = path(roots, ends).into_iter().map(|(id, (_, readers))| (id, (readers, None)));
        let (sums, whole, found) = (sums.collect(), BTreeMap::new(), HashMap::new());
        Walk { ends, hook, sums, whole, found }
    }

    /// Visits the nodes; the cotangents of `wrt`, which are the ends.
    #[inline(never)]
    fn run(mut self, wrt: &[&Var<T>]) -> Vec<Var<T>> {
        while let Some((node, g)) = self.next() {
            let on_path = |node: &Arc<Node<T>>| self.sums.contains_key(&node.id);
            let wanted = node.parents.iter().map(|(_, node)| node.as_ref().is_some_and(on_path));
            let wanted: Vec<bool> = wanted.collect();
            let context = Context {
                node: &node,
                recording: self.hook.records(),
                wanted: &wanted,
                watch: g.watch(),
            };
            let _rule = g.watch().map(|watch| watch.rule(Direction::Backward, &node));
            let cotangents = vjp(&g, &context).into_iter();
            let made = |dx: Var<T>| dx.made_by(|| node.op.name(), &[&g]);
            let cotangents: Vec<_> = cotangents.map(|dx| dx.map(made)).collect();
            drop(g);
            for ((_, parent), dx) in node.parents.iter().zip(cotangents) {
                if let Some(parent) = parent {
                    self.add(parent, dx);
                }
            }
        }
        let zeros = |v: &Var<T>| Var::constant(Tensor::zeros(v.shape()));
        let found =
            |(id, v): (&u64, &&Var<T>)| self.found.get(id).cloned().unwrap_or_else(|| zeros(v));
        self.ends.iter().zip(wrt).map(found).collect()
    }

    /// The next node, with its cotangent.
    fn next(&mut self) -> Option<(Arc<Node<T>>, Var<T>)> {
        loop {
            let arrived = self.hook.arrived(self.whole.last_key_value().map(|(&id, _)| id));
            if arrived.is_empty() {
                return self.whole.pop_last().map(|(_, next)| next);
            }
            arrived.into_iter().for_each(|(node, g)| self.add(&node, Some(g)));
        }
    }

    /// Adds one of the cotangents that `node` waits for, or `None` where another one holds it too.
    #[inline(never)]
    fn add(&mut self, node: &Arc<Node<T>>, g: Option<Var<T>>) {
        let Some((waits, sum)) = self.sums.get_mut(&node.id) else { return };
        *waits -= 1;
        // Broadcasting is undone here, once, for all rules.
        let terms = sum.take().into_iter().chain(g.map(|g| g.sum_to(&node.shape)));
        *sum = terms.reduce(|sum, g| {
            let records = self.hook.records();
            if records { sum + g } else { add_in_place(sum, &g).made_by(|| "add", &[&g]) }
        });
        if *waits > 0 {
            return;
        }
        let Some(g) = sum.take() else { return };
        if self.ends.contains(&node.id) {
            self.found.insert(node.id, g.clone());
        }
        let inner = node.parent_nodes().any(|parent| self.sums.contains_key(&parent.id));
        if inner && !self.hook.takes(node, &g) {
            self.whole.insert(node.id, (Arc::clone(node), g));
        }
    }
}

/// The sum of two constants, in the memory of the first where nothing else holds it.
#[inline(never)]
pub(crate) fn add_in_place<T: Real>(sum: Var<T>, g: &Var<T>) -> Var<T> {
    let mut total = sum.into_value();
    total.add_assign(g.value());
    Var::constant(total)
}
