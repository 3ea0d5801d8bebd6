//! Every row of the crate's table of operations, under one driver.
//!
//! The driver checks a row's derivatives against finite differences to the third order, forward
//! mode against reverse mode, and recorded forward mode against recorded reverse mode. An operation
//! without a row does not exist: a test walks the list of names that the crate gives.

use crate::support::{Numbers, assert_close, assert_tensors_close, dot, tolerance};
use dimask::autodiff::check::check_grads;
use dimask::autodiff::{OP_NAMES, Var, grad, grad_graph, pull, pull_graph, push, push_graph};
use dimask::gradcheck::{COMPOSED, Row, operations};
use dimask::tensor::Tensor;

/// Recorded only inside the double backward of fused operations, which their rows check at orders 2
/// and 3; no public function ends in it.
const INSIDE_OTHERS: &[&str] = &["identity"];

/// The highest order that the finite differences check.
const ORDER: usize = 3;

fn leaves(row: &Row) -> Vec<Var<f64>> {
    row.inputs.iter().cloned().map(Var::leaf).collect()
}

/// Random tensors of the shapes of the inputs.
fn directions(row: &Row, numbers: &mut Numbers) -> Vec<Tensor<f64>> {
    row.inputs.iter().map(|x| numbers.tensor(x.shape(), -1.0, 1.0)).collect()
}

#[test]
fn every_operation_has_a_row() {
    let table = operations();
    let covered = |op: &&str| table.iter().any(|row| row.op == *op) || INSIDE_OTHERS.contains(op);
    let missing: Vec<_> = OP_NAMES.iter().filter(|op| !covered(op)).collect();
    assert!(missing.is_empty(), "operations without a row: {missing:?}");
    for row in table.iter().filter(|row| row.op != COMPOSED) {
        assert!(OP_NAMES.contains(&row.op), "{}: there is no operation {}", row.name, row.op);
        let y = (row.f)(&leaves(row));
        assert_eq!(y.op_name(), Some(row.op), "the row `{}` is about another operation", row.name);
    }
}

// Formulas: check-1, gate-1, sigmoid-1, norm-1, pool-1, logsumexp-1, softmax-2.
#[test]
fn derivatives_equal_finite_differences_to_the_third_order() {
    for row in operations() {
        match check_grads(&row.f, &row.inputs, ORDER) {
            Ok(report) => assert!(report.entries > 0, "{}: nothing was compared", row.name),
            Err(report) => panic!("{}: {report}", row.name),
        }
    }
}

// Formulas: reverse-1, forward-1.
#[test]
fn push_is_adjoint_to_pull() {
    let mut numbers = Numbers::new(2);
    for row in operations() {
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

// Formula: forward-2.
#[test]
fn recorded_modes_agree_with_the_plain_ones_and_with_each_other() {
    let mut numbers = Numbers::new(3);
    for row in operations() {
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
