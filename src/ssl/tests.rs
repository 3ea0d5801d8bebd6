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

fn losses() -> Vec<Loss> {
    vec![
        Loss::NtXent { temperature: 0.5 },
        Loss::BarlowTwins(BarlowTwins::default()),
        Loss::BarlowTwins(official()),
        Loss::Byol,
        Loss::Dcl(Dcl::default()),
        // Here the bound on the negatives is reached by some anchors.
        Loss::Dcl(Dcl { temperature: 0.5, tau_plus: 0.4 }),
        Loss::Hcl(Hcl::default()),
        Loss::Hcl(Hcl { temperature: 0.3, tau_plus: 0.05, beta: 0.5 }),
        Loss::Nnclr { temperature: 0.1 },
    ]
}

/// What a loss is to compare with in these tests, if anything.
fn anchors(loss: &Loss) -> Option<[Tensor<f64>; 2]> {
    loss.compares().then(|| [wave(6, 4, 1.7), wave(6, 4, 2.3)])
}

fn value(loss: &Loss, z0: &Var<f64>, z1: &Var<f64>) -> Var<f64> {
    loss.value(z0, z1, anchors(loss).as_ref())
}

#[track_caller]
fn check(value: Var<f64>, expected: f64) {
    let value = value.value().item();
    assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{value} != {expected}");
}

// Formulas: barlow-2, simclr-1, byol-1, dcl-2, hcl-1, nnclr-1, nnclr-2.
#[test]
fn golden_values() {
    let (a, b) = views();
    check(barlow_twins(&a, &b, &BarlowTwins::default()), 0.1807226449874322);
    check(barlow_twins(&a, &b, &official()), 0.028166526579453965);
    check(nt_xent(&a, &b, 0.5), 1.1476900305162934);
    check(nt_xent(&a, &b, 0.07), 0.2104441092996646);
    // One direction: the other predicts its own target.
    check(byol(&a, &a, a.value(), b.value()), 0.09064335123133876);
    check(dcl(&a, &b, &Dcl { temperature: 0.5, tau_plus: 0.1 }), 0.8051287315144551);
    let hcl_of = |beta| hcl(&a, &b, &Hcl { temperature: 0.5, tau_plus: 0.1, beta });
    check(hcl_of(1.0), 1.4495974240207212);
    check(hcl_of(0.5), 1.2088405847930555);
    let queue = Queue { rows: wave(8, 4, 1.7), next: 0 };
    let queue = Queue { rows: unit(&queue.rows), ..queue };
    let [k0, k1] = [&a, &b].map(|z| queue.nearest(z.value()));
    assert_eq!(queue.nearest_rows(a.value()), [4, 0, 1, 2, 3, 4]);
    assert_eq!(queue.nearest_rows(b.value()), [4, 0, 1, 2, 3, 4]);
    let [p0, p1] = [0.4, 0.6].map(|phase| Var::constant(wave(6, 4, phase)));
    check(nnclr(&p0, &p1, &k0, &k1, 0.1), 0.2654820891821107);
}

fn unit(z: &Tensor<f64>) -> Tensor<f64> {
    Var::constant(z.clone()).l2_normalize(1, 1e-12).into_value()
}

// Formulas: barlow-1, dcl-1.
#[test]
fn values_by_hand() {
    // Two orthogonal images, both views equal: the positive e^1 against two negatives e^0.
    let z = Var::constant(Tensor::from_rows(&[&[1.0, 0.0], &[0.0, 2.0]]));
    check(nt_xent(&z, &z, 1.0), (1.0 + 2.0 / 1f64.exp()).ln());
    // Two rows: the standardised column is ±1/√2, so c₀₀ = c₁₁ = 1/2 and c₀₁ = -1/2, N = 2.
    let z = Var::constant(Tensor::from_rows(&[&[1.0, -1.0], &[-1.0, 1.0]]));
    let settings = BarlowTwins { lambda: 0.5, scale: 3.0, ..BarlowTwins::default() };
    check(barlow_twins(&z, &z, &settings), 3.0 * (2.0 * 0.25 + 0.5 * 2.0 * 0.25));
    // Two orthogonal images at temperature 1: p = e, two negatives of 1; a quarter are false.
    let z = Var::constant(Tensor::from_rows(&[&[1.0, 0.0], &[0.0, 2.0]]));
    let e = 1f64.exp();
    let loss = |negatives: f64| ((e + negatives) / e).ln();
    let half = Dcl { temperature: 1.0, tau_plus: 0.25 };
    check(dcl(&z, &z, &half), loss(((2.0 - 0.25 * 2.0 * e) / 0.75).max(2.0 / e)));
    check(dcl(&z, &z, &Dcl { temperature: 1.0, tau_plus: 0.9 }), loss(2.0 / e));
    // Equal negatives weigh the same.
    check(hcl(&z, &z, &Hcl { temperature: 1.0, tau_plus: 0.0, beta: 3.0 }), loss(2.0));
    // The neighbour is the prediction of the same image, and opposite to the other one.
    let k = Tensor::from_rows(&[&[1.0, 0.0], &[-1.0, 0.0]]);
    let p = Var::constant(k.scale(3.0));
    check(nnclr(&p, &p, &k, &k, 1.0), (1.0 + (-2f64).exp()).ln());
    check(byol(&p, &p, &k, &k), 0.0);
    check(byol(&p, &p, &k.scale(-1.0), &k.scale(-1.0)), 8.0);
}

#[test]
fn one_loss_is_the_others_special_case() {
    let (a, b) = views();
    let plain = nt_xent(&a, &b, 0.3).value().item();
    check(dcl(&a, &b, &Dcl { temperature: 0.3, tau_plus: 0.0 }), plain);
    let debiased = dcl(&a, &b, &Dcl { temperature: 0.3, tau_plus: 0.2 }).value().item();
    check(hcl(&a, &b, &Hcl { temperature: 0.3, tau_plus: 0.2, beta: 0.0 }), debiased);
}

#[test]
fn sharp_losses_stay_finite_in_single_precision() {
    let [a, b] = [0.1, 2.0]
        .map(|phase| Tensor::from_fn(&[6, 4], |i| wave(6, 4, phase).as_slice()[i] as f32));
    let gradient = |loss: Loss| {
        let (a, b) = (Var::leaf(a.clone()), Var::leaf(b.clone()));
        let value = loss.value(&a, &b, None);
        assert!(value.item().is_finite(), "{loss:?}");
        crate::autodiff::grad(value, &[&a, &b])
    };
    let temperature = 0.01;
    for tau_plus in [0.0, 0.1, 0.5] {
        for loss in [
            Loss::NtXent { temperature },
            Loss::Dcl(Dcl { temperature, tau_plus }),
            Loss::Hcl(Hcl { temperature, tau_plus, beta: 1.0 }),
        ] {
            assert!(gradient(loss).iter().all(Tensor::is_finite), "{loss:?}");
        }
    }
}

// Formula: nnclr-3.
#[test]
fn a_queue_forgets_what_came_first() {
    let rows = |from: usize, count: usize| {
        Tensor::from_fn(&[count, 2], |i| if i % 2 == 0 { 1.0 } else { (from + i / 2) as f64 })
    };
    let numbers = |queue: &Queue<f64>| -> Vec<usize> {
        queue.rows.as_slice().chunks(2).map(|row| (row[1] / row[0]).round() as usize).collect()
    };
    let queue = Queue::<f64>::new(5, 2, 7);
    for row in queue.rows.as_slice().chunks(2) {
        assert!((row[0].hypot(row[1]) - 1.0).abs() < 1e-12);
    }
    let queue = queue.enqueue(&rows(1, 5));
    assert_eq!((numbers(&queue), queue.next), (vec![1, 2, 3, 4, 5], 0));
    let queue = queue.enqueue(&rows(6, 3)).enqueue(&rows(9, 3));
    assert_eq!((numbers(&queue), queue.next), (vec![11, 7, 8, 9, 10], 1));
    let queue = queue.enqueue(&rows(20, 7));
    assert_eq!((numbers(&queue), queue.next), (vec![24, 25, 26, 22, 23], 3));
    // Equal rows: the first one.
    let twice = Queue { rows: unit(&rows(3, 1)).broadcast_to(&[4, 2]), next: 0 };
    assert_eq!(twice.nearest_rows(&rows(1, 2)), [0, 0]);
}

// Formula: start-1.
#[test]
fn random_projections_cost_what_is_said() {
    let draw = |seed: u64| {
        let queue = Queue::<f64>::new(64, 128, seed);
        Var::constant(queue.rows)
    };
    let (a, b) = (draw(1), draw(2));
    let anchors = [draw(3).into_value(), draw(4).into_value()];
    for loss in losses() {
        // At their temperatures here the others' candidates are not told apart evenly.
        let loss = match loss {
            Loss::Nnclr { .. } => Loss::Nnclr { temperature: 1.0 },
            other => other,
        };
        let found = loss.value(&a, &b, loss.compares().then_some(&anchors)).value().item();
        let said = loss.at_start(64, 128);
        assert!((found / said - 1.0).abs() < 0.06, "{loss:?}: {found}, said to be {said}");
    }
}

#[test]
fn views_and_images_may_change_places() {
    let (a, b) = views();
    let reversed = |z: &Var<f64>| z.index_select(0, &[5, 4, 3, 2, 1, 0]);
    for loss in losses() {
        let expected = value(&loss, &a, &b).value().item();
        let swap = |[a, b]: [Tensor<f64>; 2]| [b, a];
        check(loss.value(&b, &a, anchors(&loss).map(swap).as_ref()), expected);
        let turn = |pair: [Tensor<f64>; 2]| pair.map(|k| reversed(&Var::constant(k)).into_value());
        let turned = anchors(&loss).map(turn);
        check(loss.value(&reversed(&a), &reversed(&b), turned.as_ref()), expected);
    }
}

#[test]
fn scales_that_a_loss_does_not_see() {
    let (a, b) = views();
    let rows = Var::constant(Tensor::from_fn(&[6, 1], |i| 0.5 + i as f64));
    let columns = Var::constant(Tensor::from_fn(&[4], |j| 0.5 + j as f64));
    for loss in losses().iter().filter(|loss| !matches!(loss, Loss::BarlowTwins(_))) {
        check(value(loss, &(&a * &rows), &b), value(loss, &a, &b).value().item());
    }
    let settings = BarlowTwins::default();
    let expected = barlow_twins(&a, &b, &settings).value().item();
    check(barlow_twins(&(&a * &columns), &(&b + 3.0), &settings), expected);
}

#[test]
fn derivatives_to_second_order() {
    let (a, b) = views();
    for loss in losses() {
        let inputs = [a.value().clone(), b.value().clone()];
        if let Err(report) = check_grads(|z| value(&loss, &z[0], &z[1]), &inputs, 2) {
            panic!("{loss:?}: {report}");
        }
    }
}

#[test]
#[should_panic(expected = "Loss::value: byol has no anchors to compare with")]
fn a_loss_without_its_anchors_says_so() {
    let (a, b) = views();
    Loss::Byol.value(&a, &b, None);
}
