//! What each operation saves for its derivatives, and the node that holds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::var::Var;
use super::watch::Watch;
use crate::comm::Comm;
use crate::kernels::Real;
use crate::tensor::{
    Geometry, Indices, Normed, Precision, Rest, Shape, Softmax, Tail, Tensor, Trans, UnitRows,
};

/// An operation with the values that its derivatives need: no edges, so no cycles.
pub(crate) enum Op<T: Real> {
    /// A variable of the user's; no parents.
    Leaf,
    /// The value itself: a fence, so that a definition's inputs are distinct nodes.
    Identity,
    /// `a + b`; saves nothing.
    Add,
    /// `a - b`; saves nothing.
    Sub,
    /// `a * b`.
    Mul { a: Tensor<T>, b: Tensor<T> },
    /// `y = a / b`.
    Div { b: Tensor<T>, y: Tensor<T> },
    /// `-x`; saves nothing.
    Neg,
    /// `factor * x`.
    Scale(T),
    /// `x / divisor`.
    DivScalar(T),
    /// `x + constant`; saves nothing.
    Shift,
    /// `y = e^x`.
    Exp { y: Tensor<T> },
    /// `ln x`.
    Ln { x: Tensor<T> },
    /// `ln(1 + x)`.
    Ln1p { x: Tensor<T> },
    /// `y = sqrt x`.
    Sqrt { y: Tensor<T> },
    /// `y = tanh x`.
    Tanh { y: Tensor<T> },
    /// `y = 1 / (1 + e^-x)`.
    Sigmoid { y: Tensor<T> },
    /// `x^exponent`.
    Powf { x: Tensor<T>, exponent: T },
    /// `x` where `by > 0`, else 0; `by` is constant.
    Gate { by: Tensor<T> },
    /// Another shape for the same elements; saves nothing.
    Reshape,
    /// Axes in another order.
    Permute { axes: Vec<usize> },
    /// Repetition along axes; saves nothing.
    BroadcastTo,
    /// Sums along axes; saves nothing.
    SumTo,
    /// Every `step`-th element from `starts`.
    Slice { starts: Vec<usize>, steps: Vec<usize> },
    /// The adjoint of a slice.
    Embed { starts: Vec<usize>, steps: Vec<usize> },
    /// Operands one after the other.
    Concat { axis: usize },
    /// Elements at flat positions.
    Take(Indices),
    /// The adjoint of a take.
    Put(Indices),
    /// A matrix product.
    Matmul { a: Tensor<T>, b: Tensor<T>, trans: Trans, precision: Precision },
    /// `Σ a b`, one number.
    Dot { a: Tensor<T>, b: Tensor<T> },
    /// A convolution of `x` with `w`.
    Conv2d { x: Saved<T>, w: Tensor<T>, geometry: Geometry },
    /// Its adjoint in `x`, applied to `g`.
    Conv2dInputGrad { w: Tensor<T>, g: Tensor<T>, geometry: Geometry },
    /// Its adjoint in `w`, applied to `g`.
    Conv2dWeightGrad { x: Tensor<T>, g: Tensor<T>, geometry: Geometry },
    /// The cross-entropy of each row of scores.
    CrossEntropy(Box<Softmax<T>>),
    /// Rows divided by their lengths.
    L2Normalize(Box<UnitRows<T>>),
    /// The rows of all ranks, one rank after the other.
    AllGather(Comm<T>),
    /// Of the rows of all ranks this rank's.
    Shard(Comm<T>),
    /// A sum over the ranks.
    AllReduceSum(Comm<T>),
    /// The value itself, on every rank its own.
    Replicate(Comm<T>),
    /// Batch normalisation of `x`, and what follows it.
    BatchNorm(Box<SavedBatchNorm<T>>),
}

/// A value that an operation saves.
///
/// What a batch normalisation with a ReLU makes is as large as its input, which it saves itself;
/// so the result is not kept, but made again in a pass over memory, to the same bits. The same with
/// a residual sum, if the shortcut is a normalisation's too.
pub(crate) enum Saved<T: Real> {
    Value(Tensor<T>),
    MadeAgain,
}

impl<T: Real> Saved<T> {
    /// An operand of an operation.
    pub(crate) fn of(operand: &Var<T>) -> Saved<T> {
        match operand.node().map(|node| &node.op) {
            Some(Op::BatchNorm(saved))
                if matches!(saved.y, Saved::MadeAgain)
                    && !matches!(saved.normed.tail, Tail::Nothing) =>
            {
                Saved::MadeAgain
            }
            _ => Saved::Value(operand.value().clone()),
        }
    }

    /// The result `y` of a residual sum with `shortcut`.
    pub(crate) fn of_sum(y: Tensor<T>, shortcut: &Var<T>) -> Saved<T> {
        match shortcut.node().map(|node| &node.op) {
            Some(Op::BatchNorm(saved))
                if matches!(saved.normed.tail, Tail::Nothing | Tail::Relu) =>
            {
                Saved::MadeAgain
            }
            _ => Saved::Value(y),
        }
    }
}

/// What a batch normalisation saves; boxed, because it is more than any other operation does.
pub(crate) struct SavedBatchNorm<T: Real> {
    pub(crate) normed: Normed<T>,
    /// The ranks that the batch lies on, if not all of it is here.
    pub(crate) comm: Option<Comm<T>>,
    /// The result.
    pub(crate) y: Saved<T>,
}

impl<T: Real> SavedBatchNorm<T> {
    pub(crate) fn rest(&self) -> Option<&dyn Rest<T>> {
        self.comm.as_ref().map(|comm| comm as _)
    }
}

/// The names of all operations, in the order of the tables: what a complete test must cover.
pub const OP_NAMES: &[&str] = &[
    "leaf",
    "identity",
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "scale",
    "div_scalar",
    "shift",
    "exp",
    "ln",
    "ln_1p",
    "sqrt",
    "tanh",
    "sigmoid",
    "powf",
    "gate",
    "reshape",
    "permute",
    "broadcast_to",
    "sum_to",
    "slice",
    "embed",
    "concat",
    "take",
    "put",
    "matmul",
    "dot",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "cross_entropy",
    "l2_normalize",
    "all_gather",
    "shard",
    "all_reduce_sum",
    "replicate",
    "batch_norm",
    "batch_norm_relu",
    "batch_norm_add_relu",
    "batch_norm_max_pool_relu",
];

impl<T: Real> Op<T> {
    /// The operation's place in [`OP_NAMES`]; the compiler asks for one here for each new variant.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Op::Leaf => "leaf",
            Op::Identity => "identity",
            Op::Add => "add",
            Op::Sub => "sub",
            Op::Mul { .. } => "mul",
            Op::Div { .. } => "div",
            Op::Neg => "neg",
            Op::Scale(_) => "scale",
            Op::DivScalar(_) => "div_scalar",
            Op::Shift => "shift",
            Op::Exp { .. } => "exp",
            Op::Ln { .. } => "ln",
            Op::Ln1p { .. } => "ln_1p",
            Op::Sqrt { .. } => "sqrt",
            Op::Tanh { .. } => "tanh",
            Op::Sigmoid { .. } => "sigmoid",
            Op::Powf { .. } => "powf",
            Op::Gate { .. } => "gate",
            Op::Reshape => "reshape",
            Op::Permute { .. } => "permute",
            Op::BroadcastTo => "broadcast_to",
            Op::SumTo => "sum_to",
            Op::Slice { .. } => "slice",
            Op::Embed { .. } => "embed",
            Op::Concat { .. } => "concat",
            Op::Take(_) => "take",
            Op::Put(_) => "put",
            Op::Matmul { .. } => "matmul",
            Op::Dot { .. } => "dot",
            Op::Conv2d { .. } => "conv2d",
            Op::Conv2dInputGrad { .. } => "conv2d_input_grad",
            Op::Conv2dWeightGrad { .. } => "conv2d_weight_grad",
            Op::CrossEntropy(_) => "cross_entropy",
            Op::L2Normalize(_) => "l2_normalize",
            Op::AllGather(_) => "all_gather",
            Op::Shard(_) => "shard",
            Op::AllReduceSum(_) => "all_reduce_sum",
            Op::Replicate(_) => "replicate",
            Op::BatchNorm(saved) => match saved.normed.tail {
                Tail::Nothing => "batch_norm",
                Tail::Relu => "batch_norm_relu",
                Tail::AddRelu(()) => "batch_norm_add_relu",
                Tail::MaxPoolRelu => "batch_norm_max_pool_relu",
            },
        }
    }
}

/// One recorded operation.
pub(crate) struct Node<T: Real> {
    /// From one counter: a child's id is larger than its parents', so ids sort a graph.
    pub(crate) id: u64,
    pub(crate) op: Op<T>,
    /// The shape of the value that the operation made.
    pub(crate) shape: Shape,
    /// The shapes of the operands, and the nodes of those that have one.
    pub(crate) parents: Vec<(Shape, Option<Arc<Node<T>>>)>,
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl<T: Real> Node<T> {
    #[inline(never)]
    pub(crate) fn new(
        op: Op<T>,
        shape: Shape,
        parents: Vec<(Shape, Option<Arc<Node<T>>>)>,
    ) -> Arc<Node<T>> {
        // Relaxed is enough: a thread can hold a parent only after its id was drawn.
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Arc::new(Node { id, op, shape, parents })
    }

    /// Whether both operands are the same variable.
    pub(crate) fn of_itself(&self) -> bool {
        match &self.parents[..] {
            [(_, Some(a)), (_, Some(b))] => a.id == b.id,
            _ => false,
        }
    }

    /// The result of a batch normalisation, saved or made again.
    #[inline(never)]
    pub(crate) fn output(&self) -> Tensor<T> {
        let Op::BatchNorm(saved) = &self.op else {
            unreachable!("{} saves its result", self.op.name())
        };
        match &saved.y {
            Saved::Value(y) => y.clone(),
            Saved::MadeAgain => {
                let shortcut = self.parents.get(3).map(|(_, node)| {
                    node.as_ref().expect("the shortcut is a normalisation's").output()
                });
                saved.normed.output(shortcut.as_ref())
            }
        }
    }

    /// The nodes among the parents.
    pub(crate) fn parent_nodes(&self) -> impl Iterator<Item = &Arc<Node<T>>> {
        self.parents.iter().filter_map(|(_, node)| node.as_ref())
    }
}

impl<T: Real> Drop for Node<T> {
    /// Takes ancestors down with a worklist: a chain of a million nodes must not overflow the
    /// stack.
    #[inline(never)]
    fn drop(&mut self) {
        let mut orphans: Vec<_> = self.parents.drain(..).filter_map(|(_, node)| node).collect();
        while let Some(node) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                orphans.extend(node.parents.drain(..).filter_map(|(_, node)| node));
            }
        }
    }
}

/// What a rule may ask about the node that it differentiates.
///
/// When recording, saved values come back attached to their nodes, so that the rule's result is a
/// function of them; otherwise they come back as constants, and nothing is recorded.
pub(crate) struct Context<'a, T: Real> {
    pub(crate) node: &'a Arc<Node<T>>,
    pub(crate) recording: bool,
    /// Which parents' cotangents (in reverse) are asked for.
    pub(crate) wanted: &'a [bool],
    /// Who watches the derivative.
    pub(crate) watch: Option<&'a Watch>,
}

impl<T: Real> Context<'_, T> {
    /// The saved operand `i`.
    pub(crate) fn input(&self, i: usize, value: &Tensor<T>) -> Var<T> {
        let node = self.node.parents[i].1.as_ref().filter(|_| self.recording);
        Var::with_node(value.clone(), node.cloned()).under(self.watch)
    }

    /// The saved operand `i`, which may have to be made again.
    pub(crate) fn saved(&self, i: usize, saved: &Saved<T>) -> Var<T> {
        match (saved, &self.node.parents[i].1) {
            (Saved::Value(value), _) => self.input(i, value),
            (Saved::MadeAgain, Some(node)) => self.input(i, &node.output()),
            (Saved::MadeAgain, None) => unreachable!("a constant is saved itself"),
        }
    }

    /// The saved result.
    pub(crate) fn output(&self, value: &Tensor<T>) -> Var<T> {
        let node = self.recording.then(|| Arc::clone(self.node));
        Var::with_node(value.clone(), node).under(self.watch)
    }

    /// Whether operand `i`'s cotangent is asked for.
    pub(crate) fn wants(&self, i: usize) -> bool {
        self.wanted[i]
    }

    /// The shape of operand `i`.
    pub(crate) fn shape(&self, i: usize) -> &[usize] {
        &self.node.parents[i].0
    }

    /// The shape of the result.
    pub(crate) fn out_shape(&self) -> &[usize] {
        &self.node.shape
    }
}
