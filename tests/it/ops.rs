//! The table of operations: one row each, one driver.
//!
//! A row gives a function and inputs away from its kinks. The driver checks its derivatives against
//! finite differences to the third order, forward mode against reverse mode, and recorded forward
//! mode against recorded reverse mode. An operation without a row does not exist: a test walks the
//! list of names that the crate gives.

use crate::support::{Numbers, assert_close, assert_tensors_close, dot, tolerance};
use dimask::autodiff::check::check_grads;
use dimask::autodiff::{
    CountPad, Keep, OP_NAMES, Reduction, Var, grad, grad_graph, pull, pull_graph, push, push_graph,
};
use dimask::tensor::Tensor;

type Function = Box<dyn Fn(&[Var<f64>]) -> Var<f64>>;

/// What rows of compositions have in the place of an operation.
const COMPOSED: &str = "a composition of operations";

/// One function: the operation that makes its result (one of `OP_NAMES`, or a composition of them),
/// and inputs to try it on.
struct Row {
    name: &'static str,
    op: &'static str,
    inputs: Vec<Tensor<f64>>,
    f: Function,
}

/// Recorded only inside the double backward of fused operations, which their rows check at orders 2
/// and 3; no public function ends in it.
const INSIDE_OTHERS: &[&str] = &["identity"];

/// The highest order that the finite differences check.
const ORDER: usize = 3;

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
        let inputs = shapes.iter().map(|shape| self.numbers.tensor(shape, low, high)).collect();
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

fn table() -> Vec<Row> {
    let mut table = Table { rows: Vec::new(), numbers: Numbers::new(1) };
    elementwise(&mut table);
    layout(&mut table);
    reductions(&mut table);
    products(&mut table);
    windows(&mut table);
    fused(&mut table);
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
    t.row("over a number", COMPOSED, ANY, &[&[4]], |v| &v[0] / 0.7);
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
    t.row("cross_entropy", COMPOSED, ANY, &[&[3, 4]], |v| {
        v[0].cross_entropy(&[3, 0, 2], Reduction::Mean)
    });
    t.row("l2_normalize", COMPOSED, ANY, &[&[3, 4]], |v| v[0].l2_normalize(1, 1e-12));
    t.row("l2_normalize clamped", COMPOSED, (-0.2, 0.2), &[&[3, 4]], |v| v[0].l2_normalize(0, 9.0));
}

fn products(t: &mut Table) {
    t.row("matmul", "matmul", ANY, &[&[2, 3], &[3, 4]], |v| v[0].matmul(&v[1]));
    t.row("matmul_nt", "matmul", ANY, &[&[2, 3], &[4, 3]], |v| v[0].matmul_nt(&v[1]));
    t.row("matmul_tn", "matmul", ANY, &[&[3, 2], &[3, 4]], |v| v[0].matmul_tn(&v[1]));
    t.row("matmul broadcast", COMPOSED, ANY, &[&[2, 1, 2, 3], &[3, 3, 2]], |v| v[0].matmul(&v[1]));
    t.row("matmul with itself", "matmul", ANY, &[&[3, 3]], |v| v[0].matmul(&v[0]));
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

fn fused(t: &mut Table) {
    t.row("log_softmax", "log_softmax", ANY, &[&[3, 4]], |v| v[0].log_softmax(1));
    t.row("log_softmax axis 0", COMPOSED, ANY, &[&[3, 2]], |v| v[0].log_softmax(0));
    t.row("batch_norm", "batch_norm", ANY, &[&[2, 2, 2], &[2], &[2]], |v| {
        v[0].batch_norm(&v[1], &v[2], 1e-3, 1).y
    });
    t.row("batch_norm two views", "batch_norm", ANY, &[&[8, 2], &[2], &[2]], |v| {
        v[0].batch_norm(&v[1], &v[2], 1e-3, 2).y
    });
    t.row("standardize", COMPOSED, ANY, &[&[5, 2]], |v| v[0].standardize(1e-3, 1).y);
}

fn leaves(row: &Row) -> Vec<Var<f64>> {
    row.inputs.iter().cloned().map(Var::leaf).collect()
}

/// Random tensors of the shapes of the inputs.
fn directions(row: &Row, numbers: &mut Numbers) -> Vec<Tensor<f64>> {
    row.inputs.iter().map(|x| numbers.tensor(x.shape(), -1.0, 1.0)).collect()
}

#[test]
fn every_operation_has_a_row() {
    let table = table();
    let covered = |op: &&str| table.iter().any(|row| row.op == *op) || INSIDE_OTHERS.contains(op);
    let missing: Vec<_> = OP_NAMES.iter().filter(|op| !covered(op)).collect();
    assert!(missing.is_empty(), "operations without a row: {missing:?}");
    for row in table.iter().filter(|row| row.op != COMPOSED) {
        assert!(OP_NAMES.contains(&row.op), "{}: there is no operation {}", row.name, row.op);
        let y = (row.f)(&leaves(row));
        assert_eq!(y.op_name(), Some(row.op), "the row `{}` is about another operation", row.name);
    }
}

#[test]
fn derivatives_equal_finite_differences_to_the_third_order() {
    for row in table() {
        match check_grads(&row.f, &row.inputs, ORDER) {
            Ok(report) => assert!(report.entries > 0, "{}: nothing was compared", row.name),
            Err(report) => panic!("{}: {report}", row.name),
        }
    }
}

#[test]
fn push_is_adjoint_to_pull() {
    let mut numbers = Numbers::new(2);
    for row in table() {
        let x = leaves(&row);
        let y = (row.f)(&x);
        let v = directions(&row, &mut numbers);
        let g = numbers.tensor(y.shape(), -1.0, 1.0);
        let tangents: Vec<_> = x.iter().zip(&v).collect();
        let pushed = push(&[&y], &tangents).remove(0);
        let pulled = pull(vec![(y, g.clone())], &x.iter().collect::<Vec<_>>());
        let right: f64 = v.iter().zip(&pulled).map(|(v, p)| dot(v, p)).sum();
        assert_close(row.name, dot(&pushed, &g), right, tolerance::ADJOINT);
    }
}

#[test]
fn recorded_modes_agree_with_the_plain_ones_and_with_each_other() {
    let mut numbers = Numbers::new(3);
    for row in table() {
        let x = leaves(&row);
        let wrt: Vec<_> = x.iter().collect();
        let y = (row.f)(&x);
        let v = directions(&row, &mut numbers);
        let g = numbers.tensor(y.shape(), -1.0, 1.0);

        let directions: Vec<Var<f64>> = v.iter().cloned().map(Var::constant).collect();
        let tangents: Vec<_> = x.iter().zip(&directions).collect();
        let plain: Vec<_> = x.iter().zip(&v).collect();
        let pushed = push_graph(&[&y], &tangents).remove(0);
        let plain_pushed = push(&[&y], &plain).remove(0);
        assert_tensors_close(row.name, pushed.value(), &plain_pushed, tolerance::FUSED);

        let cotangent = Var::constant(g.clone());
        let pulled = pull_graph(&[(&y, &cotangent)], &wrt);
        let plain_pulled = pull(vec![((row.f)(&x), g)], &wrt);
        for (a, b) in pulled.iter().zip(&plain_pulled) {
            assert_tensors_close(row.name, a.value(), b, tolerance::FUSED);
        }

        // Reverse over forward is reverse over reverse: both are the gradient of <v, J^T g>.
        let forward = grad((&pushed * &cotangent).sum(), &wrt);
        let terms = pulled.iter().zip(&directions).map(|(p, v)| (p * v).sum());
        let s = terms.reduce(|a, b| a + b).expect("a row has inputs");
        let reverse = grad(s, &wrt);
        for (a, b) in forward.iter().zip(&reverse) {
            assert_tensors_close(row.name, a, b, tolerance::FUSED);
        }

        // Forward over reverse is the same by symmetry, along another direction.
        let scalar = (&(row.f)(&x) * &cotangent).sum();
        let gradient = grad_graph(&scalar, &wrt);
        let outputs: Vec<_> = gradient.iter().collect();
        for (a, b) in push(&outputs, &plain).iter().zip(&reverse) {
            assert_tensors_close(row.name, a, b, tolerance::FUSED);
        }
    }
}
