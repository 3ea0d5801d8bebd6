//! The losses against numbers computed elsewhere, by hand, and against their symmetries.

use super::*;
use crate::autodiff::Var;
use crate::autodiff::check::check_grads;
use crate::tensor::Tensor;

/// `m(n, d, p)[i, j] = sin(1.3 i + 0.7 j + p) + 0.5 cos(0.9 i j + p)`: the inputs of the numbers
/// below, which were computed in float64 with PyTorch from the formulas in the documentation.
pub(crate) fn wave(n: usize, d: usize, p: f64) -> Tensor<f64> {
    Tensor::from_fn(&[n, d], |at| {
        let (i, j) = ((at / d) as f64, (at % d) as f64);
        (1.3 * i + 0.7 * j + p).sin() + 0.5 * (0.9 * i * j + p).cos()
    })
}

fn views() -> (Var<f64>, Var<f64>) {
    let a = wave(6, 4, 0.1);
    let b = &a + &wave(6, 4, 2.0).scale(0.3);
    (Var::constant(a), Var::constant(b))
}

fn official() -> BarlowTwins {
    BarlowTwins {
        lambda: 5.1e-3,
        normalization: Normalization::BatchNorm { eps: 1e-5 },
        scale: 1.0,
    }
}

const LOSSES: fn() -> [Loss; 3] = || {
    [
        Loss::NtXent { temperature: 0.5 },
        Loss::BarlowTwins(BarlowTwins::default()),
        Loss::BarlowTwins(official()),
    ]
};

#[track_caller]
fn check(value: Var<f64>, expected: f64) {
    let value = value.value().item();
    assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{value} != {expected}");
}

#[test]
fn golden_values() {
    let (a, b) = views();
    check(barlow_twins(&a, &b, &BarlowTwins::default()), 0.1807226449874322);
    check(barlow_twins(&a, &b, &official()), 0.028166526579453965);
    check(nt_xent(&a, &b, 0.5), 1.1476900305162934);
    check(nt_xent(&a, &b, 0.07), 0.2104441092996646);
}

#[test]
fn values_by_hand() {
    // Two orthogonal images, both views equal: the positive e^1 against two negatives e^0.
    let z = Var::constant(Tensor::from_rows(&[&[1.0, 0.0], &[0.0, 2.0]]));
    check(nt_xent(&z, &z, 1.0), (1.0 + 2.0 / 1f64.exp()).ln());
    // Two rows: the standardised column is ±1/√2, so c₀₀ = c₁₁ = 1/2 and c₀₁ = -1/2, N = 2.
    let z = Var::constant(Tensor::from_rows(&[&[1.0, -1.0], &[-1.0, 1.0]]));
    let settings = BarlowTwins { lambda: 0.5, scale: 3.0, ..BarlowTwins::default() };
    check(barlow_twins(&z, &z, &settings), 3.0 * (2.0 * 0.25 + 0.5 * 2.0 * 0.25));
}

#[test]
fn views_and_images_may_change_places() {
    let (a, b) = views();
    let reversed = |z: &Var<f64>| z.index_select(0, &[5, 4, 3, 2, 1, 0]);
    for loss in LOSSES() {
        let expected = loss.value(&a, &b).value().item();
        check(loss.value(&b, &a), expected);
        check(loss.value(&reversed(&a), &reversed(&b)), expected);
    }
}

#[test]
fn scales_that_a_loss_does_not_see() {
    let (a, b) = views();
    let rows = Var::constant(Tensor::from_fn(&[6, 1], |i| 0.5 + i as f64));
    let columns = Var::constant(Tensor::from_fn(&[4], |j| 0.5 + j as f64));
    check(nt_xent(&(&a * &rows), &b, 0.5), nt_xent(&a, &b, 0.5).value().item());
    let settings = BarlowTwins::default();
    let expected = barlow_twins(&a, &b, &settings).value().item();
    check(barlow_twins(&(&a * &columns), &(&b + 3.0), &settings), expected);
}

#[test]
fn derivatives_to_second_order() {
    let (a, b) = views();
    for loss in LOSSES() {
        let inputs = [a.value().clone(), b.value().clone()];
        if let Err(report) = check_grads(|z| loss.value(&z[0], &z[1]), &inputs, 2) {
            panic!("{loss:?}: {report}");
        }
    }
}

#[test]
fn every_method_is_found_by_its_name() {
    for (method, name) in Method::ALL {
        assert_eq!(Method::parse(name), Some(method));
        assert_eq!(method.name(), name);
    }
    assert_eq!(Method::parse("simclr2"), None);
}
