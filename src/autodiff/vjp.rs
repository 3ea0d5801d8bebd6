//! The reverse table: for each operation, the cotangents of its operands from that of its result.
//!
//! Rules are written with public operations only, return instead of adding up, and do not undo
//! broadcasting: the [engine](super::pull) adds, un-broadcasts, prunes and frees.

use super::Var;
use super::op::{Context, Op};
use super::ops::fused::{
    batch_norm_definition, before_tail, cross_entropy_pulled, l2_normalize_definition,
};
use super::pull::pull_graph;
use crate::kernels::Real;
use crate::tensor::{Normed, Tensor, Trans};

/// The cotangents of the operands, `None` where none is asked for.
#[inline(never)]
pub(crate) fn vjp<T: Real>(g: &Var<T>, c: &Context<T>) -> Vec<Option<Var<T>>> {
    // Only the binary rules have a choice; a unary node is reached because its operand is wanted.
    let one = |dx: Var<T>| vec![Some(dx)];
    let two = |da: &dyn Fn() -> Var<T>, db: &dyn Fn() -> Var<T>| {
        vec![c.wants(0).then(da), c.wants(1).then(db)]
    };
    match &c.node.op {
        Op::Leaf => Vec::new(),
        Op::Identity => one(g.clone()),

        Op::Add => two(&|| g.clone(), &|| g.clone()),
        Op::Sub => two(&|| g.clone(), &|| -g),
        // Of a square: once, for both operands.
        Op::Mul { a, .. } if c.node.of_itself() => vec![Some(g.scale(2.0) * c.input(0, a)), None],
        Op::Mul { a, b } => two(&|| g * c.input(1, b), &|| g * c.input(0, a)),
        Op::Div { b, y } => {
            let da = g / c.input(1, b);
            two(&|| da.clone(), &|| -(&da * c.output(y)))
        }
        Op::Neg => one(-g),
        Op::Scale(factor) => one(g * *factor),
        Op::DivScalar(divisor) => one(g / *divisor),
        Op::Shift => one(g.clone()),
        Op::Exp { y } => one(g * c.output(y)),
        Op::Ln { x } => one(g / c.input(0, x)),
        Op::Ln1p { x } => one(g / c.input(0, x).shift(1.0)),
        Op::Sqrt { y } => one(g.scale(0.5) / c.output(y)),
        Op::Tanh { y } => one(g - g * c.output(y).square()),
        Op::Sigmoid { y } => {
            let y = c.output(y);
            one(g * (&y - &y.square()))
        }
        Op::Powf { x, exponent } => {
            let p = exponent.to_f64();
            // Once an integer exponent has come down to 0 the power is constant: without this
            // case the next rule would multiply 0 with an infinite power at x = 0.
            one(match p {
                0.0 => g.scale(0.0),
                p => g * c.input(0, x).powf(p - 1.0).scale(p),
            })
        }
        Op::Gate { by } => one(g.gate(by)),

        Op::Reshape => one(g.reshape(c.shape(0))),
        Op::Permute { axes } => one(g.permute(&inverse(axes))),
        Op::BroadcastTo => one(g.sum_to(c.shape(0))),
        Op::SumTo => one(g.broadcast_to(c.shape(0))),
        Op::Slice { starts, steps } => one(g.embed(c.shape(0), starts, steps)),
        Op::Embed { starts, steps } => {
            let x = c.shape(0);
            let ends = |a: usize| starts[a] + x[a].saturating_sub(1) * steps[a] + x[a].min(1);
            one(g.slice(starts, &(0..x.len()).map(ends).collect::<Vec<_>>(), steps))
        }
        Op::Concat { axis } => {
            let mut start = 0;
            let part = |i: usize| {
                let end = start + c.shape(i)[*axis];
                let dx = c.wants(i).then(|| g.narrow(*axis, start..end));
                start = end;
                dx
            };
            (0..c.wanted.len()).map(part).collect()
        }
        Op::Take(indices) => one(g.put_add(indices, c.shape(0))),
        Op::Put(indices) => one(g.take(indices, c.shape(0))),

        // Of a Gram matrix, for both operands: one product instead of two.
        Op::Matmul { a, trans: Trans::Nt, precision, .. } if c.node.of_itself() => {
            let last = g.rank() - 1;
            let both = match c.recording {
                false => Var::constant(g.value().plus_transposed()),
                true => g + g.transpose(last - 1, last),
            };
            vec![Some(both.matmul_with(&c.input(0, a), *precision)), None]
        }
        Op::Matmul { a, b, trans, precision } => {
            let (a, b) = (&c.input(0, a), &c.input(1, b));
            let product = |a: &Var<T>, b: &Var<T>, form| a.matmul_trans(b, form, *precision);
            match trans {
                Trans::Nn => two(&|| product(g, b, Trans::Nt), &|| product(a, g, Trans::Tn)),
                Trans::Nt => two(&|| product(g, b, Trans::Nn), &|| product(g, a, Trans::Tn)),
                Trans::Tn => two(&|| product(b, g, Trans::Nt), &|| product(a, g, Trans::Nn)),
            }
        }
        Op::Dot { a, .. } if c.node.of_itself() => {
            vec![Some(g.scale(2.0) * c.input(0, a)), None]
        }
        Op::Dot { a, b } => two(&|| g * c.input(1, b), &|| g * c.input(0, a)),
        Op::Conv2d { x, w, geometry } => {
            let w = c.input(1, w);
            two(&|| w.conv2d_input_grad(g, geometry), &|| {
                c.saved(0, x).conv2d_weight_grad(g, geometry)
            })
        }
        Op::Conv2dInputGrad { w, g: upstream, geometry } => {
            let (w, upstream) = (c.input(0, w), c.input(1, upstream));
            two(&|| g.conv2d_weight_grad(&upstream, geometry), &|| g.conv2d_at(&w, geometry))
        }
        Op::Conv2dWeightGrad { x, g: upstream, geometry } => {
            let (x, upstream) = (c.input(0, x), c.input(1, upstream));
            two(&|| g.conv2d_input_grad(&upstream, geometry), &|| x.conv2d_at(g, geometry))
        }

        Op::AllGather(comm) => one(g.shard(comm)),
        Op::Shard(comm) => one(g.all_gather(comm)),
        Op::AllReduceSum(comm) => one(g.replicate(comm)),
        Op::Replicate(comm) => one(g.all_reduce_sum(comm)),

        Op::CrossEntropy(saved) if !c.recording => one(Var::constant(saved.grad(g.value()))),
        Op::CrossEntropy(saved) => one(cross_entropy_pulled(&c.input(0, &saved.x), saved, g)),
        Op::L2Normalize(saved) if !c.recording => one(Var::constant(saved.grad(g.value()))),
        Op::L2Normalize(saved) => through(c, &[&saved.x], g, |inputs| {
            let axis = inputs[0].rank() - 1;
            l2_normalize_definition(&inputs[0], axis, saved.eps).scale(saved.length)
        }),
        Op::BatchNorm(saved) => {
            let Normed { x, weight, bias, .. } = &saved.normed;
            let g = before_tail(c, &saved.normed, g);
            let mut found = if c.recording {
                let definition = |inputs: &[Var<T>]| batch_norm_definition(inputs, saved);
                through(c, &[x, weight, bias], &g, definition)
            } else {
                let found = saved.normed.grad(g.value(), saved.rest(), c.wants(0));
                found.into_iter().map(|found| found.map(Var::constant)).collect()
            };
            found.push(Some(g));
            found.truncate(c.wanted.len());
            found
        }
    }
}

/// The permutation that undoes `axes`.
pub(crate) fn inverse(axes: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; axes.len()];
    for (i, &axis) in axes.iter().enumerate() {
        inverse[axis] = i;
    }
    inverse
}

/// Rebuilds a definition on the saved operands, and pulls `g` through it with recording on.
///
/// The operands are fenced: where one is an ancestor of another, the walk through the definition
/// must stop at each of them, or the path through the second would be counted twice.
fn through<T: Real>(
    c: &Context<T>,
    saved: &[&Tensor<T>],
    g: &Var<T>,
    definition: impl Fn(&[Var<T>]) -> Var<T>,
) -> Vec<Option<Var<T>>> {
    let fenced = fence(c, saved);
    let y = definition(&fenced);
    let wanted: Vec<usize> = (0..saved.len()).filter(|&i| c.wants(i)).collect();
    let wrt: Vec<&Var<T>> = wanted.iter().map(|&i| &fenced[i]).collect();
    let mut found = vec![None; saved.len()];
    for (i, dx) in wanted.into_iter().zip(pull_graph(&[(&y, g)], &wrt)) {
        found[i] = Some(dx);
    }
    found
}

/// The saved operands of a fused operation, each under a node of its own.
pub(crate) fn fence<T: Real>(c: &Context<T>, saved: &[&Tensor<T>]) -> Vec<Var<T>> {
    saved.iter().enumerate().map(|(i, value)| c.input(i, value).fence()).collect()
}
