//! Collectives: linear operations between ranks, in two adjoint pairs; none saves a value.
//!
//! # What a value is
//! Several ranks run one program. A value is *common* if all ranks have the same numbers, as
//! parameters and losses are; *split* if each has its rows of a whole; or *own* if each has
//! something of its own, such as a partial sum. What is meant is one computation on one machine, in
//! which a common value stands once, the rows of a split one stand together, and an own one has a
//! leading axis for the rank. Collectives lead from one kind to another:
//!
//! | operation | from | to | meant is |
//! |---|---|---|---|
//! | [`all_gather`](Var::all_gather) | split | common | the identity |
//! | [`shard`](Var::shard) | common | split | the identity |
//! | [`all_reduce_sum`](Var::all_reduce_sum) | own | common | the sum over the leading axis |
//! | [`replicate`](Var::replicate) | common | own | the repetition along it |
//!
//! So the first two are each other's adjoint, the last two are, and in forward mode each applies
//! itself to the tangent. A derivative is of the kind of the value that it belongs to, and no
//! factor with the number of ranks stands anywhere: a loss that is a mean over the whole batch has
//! its gradient, its tangent and its second derivatives as on one machine.
//!
//! The kinds are not checked. Between collectives operands must be of one kind: a common value that
//! meets split or own ones goes through `replicate` first, or its gradient is that of one rank.

use std::sync::Arc;

use crate::autodiff::Var;
use crate::autodiff::op::{Node, Op};
use crate::autodiff::pull::Hook;
use crate::autodiff::watch::Watch;
use crate::comm::{Buckets, Comm};
use crate::kernels::Real;
use crate::tensor::{Rest, Tensor};

impl<T: Real> Var<T> {
    /// The rows of all ranks, one rank after the other: `[n, ..]` → `[size · n, ..]`.
    ///
    /// # Panics
    /// If `self` is a scalar.
    #[track_caller]
    pub fn all_gather(&self, comm: &Comm<T>) -> Var<T> {
        let mut shape = self.shape().to_vec();
        assert!(!shape.is_empty(), "all_gather: a scalar has no rows");
        shape[0] *= comm.size();
        let mine = self.value().as_slice();
        let n_read = self.value().len();
        let all = Tensor::passed("all_gather", n_read, &shape, |all| comm.all_gather(mine, all));
        Var::record(all, &[self], || Op::AllGather(comm.clone()))
    }

    /// This rank's part of the rows of all: `[size · n, ..]` → `[n, ..]`.
    ///
    /// # Panics
    /// If the rows cannot be split evenly.
    #[track_caller]
    pub fn shard(&self, comm: &Comm<T>) -> Var<T> {
        let (mut shape, size) = (self.shape().to_vec(), comm.size());
        let even = shape.first().is_some_and(|rows| rows % size == 0);
        assert!(even, "shard: {shape:?} between {size} ranks");
        shape[0] /= size;
        let len = self.value().len() / size;
        let mine = &self.value().as_slice()[comm.rank() * len..][..len];
        Var::record(Tensor::from_slice(mine, &shape), &[self], || Op::Shard(comm.clone()))
    }

    /// The sum over the ranks, added up in their order.
    pub fn all_reduce_sum(&self, comm: &Comm<T>) -> Var<T> {
        let (x, n_read) = (self.value().as_slice(), self.value().len());
        let sum = Tensor::passed("all_reduce_sum", n_read, self.shape(), |sum| {
            sum.copy_from_slice(x);
            comm.all_reduce_sum(sum);
        });
        Var::record(sum, &[self], || Op::AllReduceSum(comm.clone()))
    }

    /// The value itself, as something that each rank has of its own: what makes the gradient of a
    /// common parameter the sum of what the ranks contribute to it.
    pub fn replicate(&self, comm: &Comm<T>) -> Var<T> {
        Var::record(self.value().clone(), &[self], || Op::Replicate(comm.clone()))
    }

    /// The mean over the ranks, for each of them.
    pub(crate) fn mean_over(&self, comm: &Comm<T>) -> Var<T> {
        self.scale(1.0 / comm.size() as f64).all_reduce_sum(comm).replicate(comm)
    }
}

/// A batch-norm whose batch lies on several ranks takes its statistics from all of them.
impl<T: Real> Rest<T> for Comm<T> {
    fn parts(&self) -> usize {
        self.size()
    }
    fn sum(&self, values: &mut [T]) {
        self.all_reduce_sum(values);
    }
}

/// A backward walk that continues while the gradients of replicated variables are added up over the
/// ranks, each from when it is whole; it waits for them when nothing else can come before them.
impl<T: Real> Hook<T> for Buckets<T, (Arc<Node<T>>, Option<Watch>)> {
    fn takes(&mut self, node: &Node<T>, g: &Var<T>) -> bool {
        let Op::Replicate(comm) = &node.op else { return false };
        for operand in node.parent_nodes() {
            let place = (Arc::clone(operand), g.watch().cloned());
            self.add(comm, place, g.value().as_slice());
        }
        true
    }

    fn arrived(&mut self, next: Option<u64>) -> Vec<(Arc<Node<T>>, Var<T>)> {
        let mut arrived = Vec::new();
        if self.places().map(|(node, _)| node.id).max() >= next {
            self.finish(|(node, watch), sum| {
                let g = Var::constant(Tensor::from_slice(sum, &node.shape));
                let watch = watch.inspect(|watch| watch.see("replicate", g.value(), &[]));
                arrived.push((node, g.under(watch.as_ref())));
            });
        }
        arrived
    }
}
