//! The table of operations: one row each, with inputs away from its kinks.

use super::{Numbers, Row};
use crate::autodiff::{CountPad, Keep, Norm, Reduction, Tail, Var, pull_graph};
use crate::comm::{Comm, Ranks};
use crate::tensor::Tensor;

/// What rows of compositions have in the place of an operation.
pub const COMPOSED: &str = "a composition of operations";

struct Table {
    rows: Vec<Row>,
    numbers: Numbers,
}

impl Table {
    /// Adds a row whose inputs are uniform in `[low, high)`.
    fn row(
        &mut self,
        name: &'static str,
        op: &'static str,
        (low, high): (f64, f64),
        shapes: &[&[usize]],
        f: impl Fn(&[Var<f64>]) -> Var<f64> + 'static,
    ) {
        let inputs = shapes.iter().map(|shape| self.numbers.uniform(shape, low, high)).collect();
        self.rows.push(Row { name, op, inputs, f: Box::new(f) });
    }

    /// Adds a row whose one input keeps a distance from zero and has no ties.
    fn kinked(
        &mut self,
        name: &'static str,
        op: &'static str,
        shape: &[usize],
        f: impl Fn(&[Var<f64>]) -> Var<f64> + 'static,
    ) {
        let inputs = vec![self.numbers.spread(shape, 0.05)];
        self.rows.push(Row { name, op, inputs, f: Box::new(f) });
    }
}

/// Any number.
const ANY: (f64, f64) = (-1.5, 1.5);
/// Away from zero: for logarithms, roots and denominators.
const POSITIVE: (f64, f64) = (0.5, 2.0);

/// A row for every operation of the closed set, and for compositions of them.
pub fn operations() -> Vec<Row> {
    let mut table = Table { rows: Vec::new(), numbers: Numbers::new(1) };
    elementwise(&mut table);
    layout(&mut table);
    reductions(&mut table);
    products(&mut table);
    windows(&mut table);
    collectives(&mut table);
    fused(&mut table);
    // Drawn after the fused rows, whose numbers were chosen to lie away from kinks.
    table.row("ln_1p", "ln_1p", POSITIVE, &[&[2, 3]], |v| v[0].ln_1p());
    table.rows
}

fn elementwise(t: &mut Table) {
    t.row("leaf", "leaf", ANY, &[&[3]], |v| v[0].clone());
    t.row("add", "add", ANY, &[&[2, 3], &[2, 3]], |v| &v[0] + &v[1]);
    t.row("add broadcast", "add", ANY, &[&[2, 1, 3], &[4, 1]], |v| &v[0] + &v[1]);
    t.row("add itself", "add", ANY, &[&[3]], |v| &v[0] + &v[0]);
    t.row("sub", "sub", ANY, &[&[2, 3], &[3]], |v| &v[0] - &v[1]);
    t.row("mul", "mul", ANY, &[&[2, 3], &[2, 3]], |v| &v[0] * &v[1]);
    t.row("mul broadcast", "mul", ANY, &[&[2, 1], &[3]], |v| &v[0] * &v[1]);
    t.row("mul by scalar shape", "mul", ANY, &[&[2, 3], &[]], |v| &v[0] * &v[1]);
    t.row("square", COMPOSED, ANY, &[&[2, 3]], |v| v[0].square());
    t.row("div", "div", POSITIVE, &[&[2, 3], &[2, 3]], |v| &v[0] / &v[1]);
    t.row("div broadcast", "div", POSITIVE, &[&[3], &[2, 1]], |v| &v[0] / &v[1]);
    t.row("recip", COMPOSED, POSITIVE, &[&[4]], |v| v[0].recip());
    t.row("neg", "neg", ANY, &[&[4]], |v| -&v[0]);
    t.row("times a number", "scale", ANY, &[&[4]], |v| &v[0] * 0.7);
    t.row("over a number", "div_scalar", ANY, &[&[4]], |v| &v[0] / 0.7);
    t.row("plus a number", "shift", ANY, &[&[4]], |v| &v[0] + 0.7);
    t.row("minus a number", COMPOSED, ANY, &[&[4]], |v| &v[0] - 0.7);
    t.row("exp", "exp", ANY, &[&[2, 3]], |v| v[0].exp());
    t.row("ln", "ln", POSITIVE, &[&[2, 3]], |v| v[0].ln());
    t.row("sqrt", "sqrt", POSITIVE, &[&[2, 3]], |v| v[0].sqrt());
    t.row("tanh", "tanh", ANY, &[&[2, 3]], |v| v[0].tanh());
    t.row("sigmoid", "sigmoid", ANY, &[&[2, 3]], |v| v[0].sigmoid());
    t.row("powf", "powf", POSITIVE, &[&[2, 3]], |v| v[0].powf(2.5));
    t.row("powf whole", "powf", ANY, &[&[2, 3]], |v| v[0].powf(3.0));
    t.row("powf negative", "powf", POSITIVE, &[&[2, 3]], |v| v[0].powf(-1.5));
    t.row("pow", COMPOSED, POSITIVE, &[&[2, 3], &[3]], |v| v[0].pow(&v[1]));
    // A gate is linear between its kinks, so a curved function of it has all orders.
    t.kinked("relu", "gate", &[3, 4], |v| v[0].relu());
    t.kinked("relu squared", COMPOSED, &[3, 4], |v| v[0].relu().square());
    t.kinked("abs", COMPOSED, &[3, 4], |v| v[0].abs());
    t.kinked("clamp", COMPOSED, &[3, 4], |v| v[0].clamp(Some(-0.31), Some(0.43)));
}

fn layout(t: &mut Table) {
    t.row("reshape", "reshape", ANY, &[&[2, 6]], |v| v[0].reshape(&[3, 4]));
    t.row("permute", "permute", ANY, &[&[2, 3, 4]], |v| v[0].permute(&[2, 0, 1]));
    t.row("transpose", COMPOSED, ANY, &[&[2, 3]], |v| v[0].transpose(0, 1));
    t.row("broadcast_to", "broadcast_to", ANY, &[&[3, 1]], |v| v[0].broadcast_to(&[2, 3, 4]));
    t.row("sum_to", "sum_to", ANY, &[&[2, 3, 4]], |v| v[0].sum_to(&[3, 1]));
    t.row("slice", "slice", ANY, &[&[5, 6]], |v| v[0].slice(&[1, 0], &[5, 6], &[2, 3]));
    t.row("rows", COMPOSED, ANY, &[&[5, 2]], |v| v[0].rows(1..4));
    t.row("embed", "embed", ANY, &[&[2, 2]], |v| v[0].embed(&[5, 6], &[1, 0], &[2, 3]));
    t.row("concat", "concat", ANY, &[&[2, 1, 3], &[2, 2, 3]], |v| Var::concat(&[&v[0], &v[1]], 1));
    t.row("concat itself", "concat", ANY, &[&[2, 2]], |v| Var::concat(&[&v[0], &v[0]], 0));
    t.row("index_select", "take", ANY, &[&[2, 3, 2]], |v| v[0].index_select(1, &[2, 0, 0, 1]));
    t.row("gather", "take", ANY, &[&[3, 2]], |v| v[0].gather(0, &[2, 1, 2, 0], &[2, 2]));
    t.row("put", "put", ANY, &[&[4, 2]], |v| {
        let x = Var::leaf(Tensor::zeros(&[3, 2]));
        pull_graph(&[(&x.index_select(0, &[2, 0, 0, 1]), &v[0])], &[&x]).remove(0)
    });
    t.kinked("max_axis", "take", &[3, 4], |v| v[0].max_axis(1, Keep::Drop));
}

fn reductions(t: &mut Table) {
    t.row("sum", COMPOSED, ANY, &[&[2, 3]], |v| v[0].sum());
    t.row("sum_axes", COMPOSED, ANY, &[&[2, 3, 2]], |v| v[0].sum_axes(&[0, 2], Keep::Keep));
    t.row("sum_axes drop", COMPOSED, ANY, &[&[2, 3]], |v| v[0].sum_axes(&[1], Keep::Drop));
    t.row("mean", COMPOSED, ANY, &[&[2, 3]], |v| v[0].mean());
    t.row("mean_axes", COMPOSED, ANY, &[&[2, 3]], |v| v[0].mean_axes(&[0], Keep::Drop));
    t.row("var_axes", COMPOSED, ANY, &[&[4, 3]], |v| v[0].var_axes(&[0], Keep::Drop, 1));
    t.row("std_axes", COMPOSED, ANY, &[&[4, 3]], |v| v[0].std_axes(&[0], Keep::Keep, 0));
    t.row("softmax", COMPOSED, ANY, &[&[2, 4]], |v| v[0].softmax(1));
    t.row("logsumexp", COMPOSED, ANY, &[&[3, 4]], |v| v[0].logsumexp(1, Keep::Keep));
    t.row("log_softmax", COMPOSED, ANY, &[&[3, 4]], |v| v[0].log_softmax(1));
    t.row("log_softmax axis 0", COMPOSED, ANY, &[&[3, 2]], |v| v[0].log_softmax(0));
    t.row("l2_normalize axis 0", COMPOSED, ANY, &[&[3, 4]], |v| v[0].l2_normalize(0, 1e-12));
}

fn products(t: &mut Table) {
    t.row("matmul", "matmul", ANY, &[&[2, 3], &[3, 4]], |v| v[0].matmul(&v[1]));
    t.row("matmul_nt", "matmul", ANY, &[&[2, 3], &[4, 3]], |v| v[0].matmul_nt(&v[1]));
    t.row("matmul_tn", "matmul", ANY, &[&[3, 2], &[3, 4]], |v| v[0].matmul_tn(&v[1]));
    t.row("matmul broadcast", COMPOSED, ANY, &[&[2, 1, 2, 3], &[3, 3, 2]], |v| v[0].matmul(&v[1]));
    t.row("matmul with itself", "matmul", ANY, &[&[3, 3]], |v| v[0].matmul(&v[0]));
    t.row("matmul_nt with itself", "matmul", ANY, &[&[2, 3, 4]], |v| v[0].matmul_nt(&v[0]));
    t.row("dot", "dot", ANY, &[&[2, 3], &[2, 3]], |v| v[0].dot(&v[1]));
    t.row("dot with itself", "dot", ANY, &[&[2, 3]], |v| v[0].dot(&v[0]));
    t.row("conv2d", "conv2d", ANY, &[&[2, 5, 4, 2], &[3, 3, 2, 3]], |v| {
        v[0].conv2d(&v[1], [2, 1], [1, 0])
    });
    t.row("conv2d_input_grad", "conv2d_input_grad", ANY, &[&[3, 3, 2, 2], &[1, 3, 2, 2]], |v| {
        let x = Var::leaf(Tensor::zeros(&[1, 6, 4, 2]));
        let w = Var::leaf(v[0].value().clone());
        // The gradient is taken for a fresh weight first, so that it is a function of `v` only.
        let y = x.conv2d(&v[0], [2, 2], [1, 1]);
        assert_eq!(y.shape(), x.conv2d(&w, [2, 2], [1, 1]).shape());
        pull_graph(&[(&y, &v[1])], &[&x]).remove(0)
    });
    t.row("conv2d_weight_grad", "conv2d_weight_grad", ANY, &[&[1, 6, 4, 2], &[1, 3, 2, 2]], |v| {
        let w = Var::leaf(Tensor::zeros(&[3, 3, 2, 2]));
        pull_graph(&[(&v[0].conv2d(&w, [2, 2], [1, 1]), &v[1])], &[&w]).remove(0)
    });
}

fn windows(t: &mut Table) {
    t.kinked("max_pool2d", "take", &[1, 4, 5, 2], |v| v[0].max_pool2d([3, 2], [2, 1], [1, 0]));
    t.row("avg_pool2d", COMPOSED, ANY, &[&[1, 4, 5, 2]], |v| {
        v[0].avg_pool2d([3, 2], [2, 1], [1, 0], CountPad::Exclude)
    });
    t.row("avg_pool2d padded", COMPOSED, ANY, &[&[1, 4, 5, 2]], |v| {
        v[0].avg_pool2d([3, 3], [2, 2], [1, 1], CountPad::Include)
    });
    t.row("global_avg_pool2d", COMPOSED, ANY, &[&[2, 3, 2, 2]], |v| v[0].global_avg_pool2d());
}

/// On one rank, so that any thread can run them; the tests run them on several.
fn collectives(t: &mut Table) {
    let comm: Comm<f64> = Ranks::alone().comm();
    let [gather, shard, sum, replicate] = [(); 4].map(|()| comm.clone());
    t.row("all_gather", "all_gather", ANY, &[&[4, 2]], move |v| v[0].all_gather(&gather));
    t.row("shard", "shard", ANY, &[&[4, 2]], move |v| v[0].shard(&shard));
    t.row("all_reduce_sum", "all_reduce_sum", ANY, &[&[4]], move |v| v[0].all_reduce_sum(&sum));
    t.row("replicate", "replicate", ANY, &[&[4]], move |v| v[0].replicate(&replicate));
}

fn fused(t: &mut Table) {
    t.row("cross_entropy", "cross_entropy", ANY, &[&[3, 4]], |v| {
        v[0].cross_entropy(&[3, 0, 2], Reduction::None)
    });
    t.row("cross_entropy without a column", "cross_entropy", ANY, &[&[3, 4]], |v| {
        v[0].cross_entropy_without(&[3, 0, 2], &[0, 2, 3], Reduction::None)
    });
    t.row("l2_normalize", "l2_normalize", ANY, &[&[2, 3, 4]], |v| v[0].l2_normalize(2, 1e-12));
    t.row("l2_normalize clamped", "l2_normalize", (-0.2, 0.2), &[&[3, 4]], |v| {
        v[0].l2_normalize_to(3.0, 1, 9.0)
    });
    t.row("batch_norm", "batch_norm", ANY, &[&[2, 2, 2], &[2], &[2]], |v| {
        v[0].batch_norm(Norm::new(&v[1], &v[2], 1e-3, 1)).y
    });
    t.row("batch_norm two views", "batch_norm", ANY, &[&[8, 2], &[2], &[2]], |v| {
        v[0].batch_norm(Norm::new(&v[1], &v[2], 1e-3, 2)).y
    });
    // A point that is well away from every kink: the numbers of these rows were looked at.
    t.row("batch_norm relu", "batch_norm_relu", ANY, &[&[4, 2, 3], &[3], &[3]], |v| {
        v[0].batch_norm(Norm { tail: Tail::Relu, ..Norm::new(&v[1], &v[2], 1e-3, 2) }).y
    });
    t.row(
        "batch_norm add relu",
        "batch_norm_add_relu",
        ANY,
        &[&[4, 3], &[3], &[3], &[4, 3]],
        |v| {
            v[0].batch_norm(Norm { tail: Tail::AddRelu(&v[3]), ..Norm::new(&v[1], &v[2], 1e-3, 1) })
                .y
        },
    );
    t.row(
        "batch_norm max_pool relu",
        "batch_norm_max_pool_relu",
        ANY,
        &[&[2, 2, 5, 2], &[2], &[2]],
        |v| v[0].batch_norm(Norm { tail: Tail::MaxPoolRelu, ..Norm::new(&v[1], &v[2], 1e-3, 2) }).y,
    );
    t.row("standardize", COMPOSED, ANY, &[&[5, 2]], |v| v[0].standardize(1e-3, 1).y);
}
