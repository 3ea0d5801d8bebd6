//! The forward table: for each operation, the tangent of its result from those of its operands.
//!
//! A linear operation applies itself, a bilinear one is the product rule, an elementwise one
//! multiplies by the derivative that [`vjp`](super::vjp) uses.

use super::Var;
use super::op::{Context, Op};
use super::ops::fused::{after_tail, batch_norm_definition, cross_entropy_pushed};
use super::pull::add_in_place;
use super::push::walk;
use super::vjp::{fence, vjp};
use crate::kernels::Real;
use crate::tensor::{Normed, Tensor};

/// The tangent of the result; an operand that does not move has none.
#[inline(never)]
pub(crate) fn jvp<T: Real>(tangents: &[Option<Var<T>>], c: &Context<T>) -> Var<T> {
    let moving = |i: usize| tangents[i].as_ref();
    // The operand of a unary node moves, or the node would not be on the path.
    let dx = || moving(0).expect("a node on the path has an operand that moves");
    let sum = |terms: [Option<Var<T>>; 2]| {
        // What is not recorded may be added in the memory of one of the two.
        let add = |a: Var<T>, b: Var<T>| match c.recording || a.shape() != b.shape() {
            true => a + b,
            false => add_in_place(a, &b),
        };
        let total = terms.into_iter().flatten().reduce(add);
        total.expect("a node on the path has an operand that moves")
    };
    let full = |term: Var<T>| term.broadcast_to(c.out_shape());
    match &c.node.op {
        Op::Leaf => unreachable!("a leaf has no operands"),

        Op::Add => full(sum([moving(0).cloned(), moving(1).cloned()])),
        Op::Sub => full(sum([moving(0).cloned(), moving(1).map(|db| -db)])),
        Op::Mul { a, b } => full(sum([
            moving(0).map(|da| da * c.input(1, b)),
            moving(1).map(|db| db * c.input(0, a)),
        ])),
        Op::Div { b, y } => {
            let numerator = sum([moving(0).cloned(), moving(1).map(|db| -(db * c.output(y)))]);
            full(numerator / c.input(1, b))
        }
        // Elementwise in one operand, or of rows of one length: the Jacobian is symmetric, so both
        // tables have one rule.
        Op::Identity
        | Op::Neg
        | Op::Scale(_)
        | Op::DivScalar(_)
        | Op::Shift
        | Op::Exp { .. }
        | Op::Ln { .. }
        | Op::Ln1p { .. }
        | Op::Sqrt { .. }
        | Op::Tanh { .. }
        | Op::Sigmoid { .. }
        | Op::Powf { .. }
        | Op::Gate { .. }
        | Op::L2Normalize(_) => {
            let dy = vjp(dx(), c).remove(0);
            dy.expect("the operand moves, so its rule applies")
        }

        Op::Reshape => dx().reshape(c.out_shape()),
        Op::Permute { axes } => dx().permute(axes),
        Op::BroadcastTo => dx().broadcast_to(c.out_shape()),
        Op::SumTo => dx().sum_to(c.out_shape()),
        Op::Slice { starts, steps } => {
            let y = c.out_shape();
            let ends = |a: usize| starts[a] + y[a].saturating_sub(1) * steps[a] + y[a].min(1);
            dx().slice(starts, &(0..y.len()).map(ends).collect::<Vec<_>>(), steps)
        }
        Op::Embed { starts, steps } => dx().embed(c.out_shape(), starts, steps),
        Op::Concat { axis } => {
            let still = |i: usize| Var::constant(Tensor::zeros(c.shape(i)));
            let parts = (0..tangents.len()).map(|i| moving(i).cloned().unwrap_or_else(|| still(i)));
            let parts: Vec<_> = parts.collect();
            Var::concat(&parts.iter().collect::<Vec<_>>(), *axis)
        }
        Op::Take(indices) => dx().take(indices, c.out_shape()),
        Op::Put(indices) => dx().put_add(indices, c.out_shape()),

        Op::Matmul { a, b, trans, precision } => sum([
            moving(0).map(|da| da.matmul_trans(&c.input(1, b), *trans, *precision)),
            moving(1).map(|db| c.input(0, a).matmul_trans(db, *trans, *precision)),
        ]),
        Op::Dot { a, b } => sum([
            moving(0).map(|da| da.dot(&c.input(1, b))),
            moving(1).map(|db| c.input(0, a).dot(db)),
        ]),
        Op::Conv2d { x, w, geometry } => sum([
            moving(0).map(|dx| dx.conv2d_at(&c.input(1, w), geometry)),
            moving(1).map(|dw| c.saved(0, x).conv2d_at(dw, geometry)),
        ]),
        Op::Conv2dInputGrad { w, g, geometry } => sum([
            moving(0).map(|dw| dw.conv2d_input_grad(&c.input(1, g), geometry)),
            moving(1).map(|dg| c.input(0, w).conv2d_input_grad(dg, geometry)),
        ]),
        Op::Conv2dWeightGrad { x, g, geometry } => sum([
            moving(0).map(|dx| dx.conv2d_weight_grad(&c.input(1, g), geometry)),
            moving(1).map(|dg| c.input(0, x).conv2d_weight_grad(dg, geometry)),
        ]),

        Op::AllGather(comm) => dx().all_gather(comm),
        Op::Shard(comm) => dx().shard(comm),
        Op::AllReduceSum(comm) => dx().all_reduce_sum(comm),
        Op::Replicate(comm) => dx().replicate(comm),

        Op::CrossEntropy(saved) if !c.recording => Var::constant(saved.tangent(dx().value())),
        Op::CrossEntropy(saved) => cross_entropy_pushed(&c.input(0, &saved.x), saved, dx()),
        Op::BatchNorm(saved) => {
            let Normed { x, weight, bias, .. } = &saved.normed;
            let own = [0, 1, 2].map(|i| moving(i).map(Var::value));
            let dy = own.iter().any(Option::is_some).then(|| {
                if c.recording {
                    let definition = |inputs: &[Var<T>]| batch_norm_definition(inputs, saved);
                    through(c, &[x, weight, bias], &tangents[..3], definition)
                } else {
                    Var::constant(saved.normed.tangent(own, saved.rest()))
                }
            });
            let shortcut = tangents.get(3).cloned().flatten();
            after_tail(c, &saved.normed, sum([dy, shortcut]))
        }
    }
}

/// Rebuilds a definition on the saved operands, fenced, and pushes the tangents along it.
fn through<T: Real>(
    c: &Context<T>,
    saved: &[&Tensor<T>],
    tangents: &[Option<Var<T>>],
    definition: impl Fn(&[Var<T>]) -> Var<T>,
) -> Var<T> {
    let fenced: Vec<Var<T>> = match c.recording {
        true => fence(c, saved),
        // Nothing outside is recorded: leaves give the definition a graph to push along.
        false => saved.iter().map(|&value| Var::leaf(value.clone())).collect(),
    };
    let y = definition(&fenced);
    let moving = fenced.iter().zip(tangents).filter_map(|(x, dx)| Some((x, dx.as_ref()?)));
    let moving: Vec<_> = moving.collect();
    walk("push", &[&y], &moving, c.recording).remove(0)
}
