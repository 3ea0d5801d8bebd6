//! The rules by hand, their fast paths against their definitions, their derivatives against
//! differences.

use super::*;
use crate::autodiff::Var;
use crate::tensor::Tensor;

const SGD: Sgd =
    Sgd { lr: 0.1, momentum: 0.5, weight_decay: 0.1, nesterov: false, scope: Scope::All };

fn lars(form: LarsForm) -> Optimizer {
    Optimizer::Lars(Lars {
        lr: 0.1,
        momentum: 0.5,
        weight_decay: 0.1,
        eta: 0.02,
        form,
        scope: Scope::Matrices,
    })
}

fn adam(decay: AdamDecay) -> Optimizer {
    let (betas, eps, scope) = ([0.9, 0.99], 1e-8, Scope::All);
    Optimizer::Adam(Adam { lr: 0.1, betas, eps, weight_decay: 0.1, decay, scope })
}

fn all() -> Vec<Optimizer> {
    let clipped = |eps: f64, clip: Clip| lars(LarsForm::Clipped { eps, clip });
    vec![
        Optimizer::Sgd(SGD),
        Optimizer::Sgd(Sgd { nesterov: true, scope: Scope::Matrices, ..SGD }),
        lars(LarsForm::Outside),
        lars(LarsForm::Inside),
        clipped(1e-8, Clip::On),
        clipped(1e-8, Clip::Off),
        // A small rate, so that the bound is reached.
        clipped(1e-8, Clip::On).with_lr(1e-4),
        adam(AdamDecay::L2),
        adam(AdamDecay::Decoupled),
    ]
}

fn wave(shape: &[usize], phase: f64) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| (1.7 * i as f64 + phase).sin())
}

/// A matrix and a vector with gradients, after two steps.
fn setting(rule: &Optimizer) -> (Vec<Tensor<f64>>, Vec<Tensor<f64>>, OptimizerState<f64>) {
    let tensors = |phase: f64| vec![wave(&[3, 2], phase), wave(&[4], phase + 0.5)];
    let params = tensors(0.3);
    let state = rule.start(&params);
    let (params, state) = rule.step(params, &tensors(1.1), state);
    let (params, state) = rule.step(params, &tensors(1.9), state);
    (params, tensors(2.6), state)
}

/// Two steps of one parameter at 1 with the gradient 2.
#[track_caller]
fn check(rule: Optimizer, shape: &[usize], expected: [f64; 2]) {
    let mut params = vec![Tensor::full(shape, 1.0f64)];
    let mut state = rule.start(&params);
    for expected in expected {
        (params, state) = rule.step(params, &[Tensor::full(shape, 2.0)], state);
        let got = params[0].item();
        assert!((got - expected).abs() < 1e-12, "{rule:?}: {got}, not {expected}");
    }
    assert_eq!(state.steps, 2);
}

// Formulas: sgd-1, adam-1, lars-1.
#[test]
fn two_steps_by_hand() {
    // d = 2.1, b = 2.1, p = 0.79; then d = 2.079, b = 3.129, p = 0.4771.
    check(Optimizer::Sgd(SGD), &[1], [0.79, 0.4771]);
    // Steps of 2.1 + 1.05 = 3.15 and, with d = 2.0685 and b = 3.1185, of 3.62775.
    check(Optimizer::Sgd(Sgd { nesterov: true, ..SGD }), &[1], [0.685, 0.322225]);
    // d = g for a vector: b = 2, then 3.
    check(Optimizer::Sgd(Sgd { scope: Scope::Matrices, ..SGD }), &[1], [0.8, 0.5]);
    check(lars(LarsForm::Outside), &[1], [0.8, 0.5]);
    // A scalar's decayed gradient over its length is 1: d = 0.02 p; b = 0.02, p = 0.998; then
    // b = 0.01 + 0.01996.
    check(lars(LarsForm::Outside), &[1, 1], [0.998, 0.998 - 0.1 * (0.01 + 0.02 * 0.998)]);
    check(lars(LarsForm::Inside), &[1, 1], [0.998, 0.998 - (0.001 + 0.1 * 0.02 * 0.998)]);
    // The first step of Adam is the rate, in the gradient's direction; so is the second, whose
    // gradient is nearly the same. Decoupled, the parameter shrinks by a hundredth first.
    let plain = Adam {
        lr: 0.1,
        betas: [0.9, 0.99],
        eps: 0.0,
        weight_decay: 0.0,
        decay: AdamDecay::L2,
        scope: Scope::All,
    };
    check(Optimizer::Adam(plain), &[1], [0.9, 0.8]);
    let decoupled = Adam { weight_decay: 0.1, decay: AdamDecay::Decoupled, ..plain };
    check(Optimizer::Adam(decoupled), &[1], [0.89, 0.89 * 0.99 - 0.1]);
    let apart = Adam { scope: Scope::Matrices, ..decoupled };
    check(Optimizer::Adam(apart), &[1], [0.9, 0.8]);
}

// Formula: lars-2.
#[test]
fn the_clipped_form_is_bounded_by_the_rate() {
    // The local rate is 0.02 · 1 / (2 + 0.1): under the bound at lr 0.1, over it at lr 0.001.
    let on = lars(LarsForm::Clipped { eps: 0.0, clip: Clip::On });
    let moved = |rule: Optimizer| {
        let params = vec![Tensor::full(&[1, 1], 1.0f64)];
        let state = rule.start(&params);
        1.0 - rule.step(params, &[Tensor::full(&[1, 1], 2.0)], state).0[0].item()
    };
    assert!((moved(on) - 0.02).abs() < 1e-12, "{}", moved(on));
    assert!((moved(on.with_lr(0.001)) - 0.001 * 2.1).abs() < 1e-12);
    let off = lars(LarsForm::Clipped { eps: 0.0, clip: Clip::Off });
    assert!((moved(off) - 0.1 * 0.02).abs() < 1e-12);
}

#[test]
fn steps_are_their_definition() {
    for rule in all() {
        let (params, grads, state) = setting(&rule);
        let (moved, next) = rule.step(params.clone(), &grads, state.clone());
        assert_eq!(next.steps, 3);
        for i in 0..2 {
            let constant = |tensor: &Tensor<f64>| Var::constant(tensor.clone());
            let slots: Vec<_> = state.slots.iter().map(|slot| constant(&slot[i])).collect();
            let (param, slots) =
                rule.update(&constant(&params[i]), &constant(&grads[i]), &slots, 3);
            close(&moved[i], param.value());
            for (slot, expected) in next.slots.iter().zip(&slots) {
                close(&slot[i], expected.value());
            }
        }
    }
}

// Formula: meta-1.
#[test]
fn a_trial_goes_where_a_step_goes_and_leaves_no_trace() {
    for rule in all() {
        let (params, grads, state) = setting(&rule);
        let kept = (params.clone(), state.clone());
        let tried = rule.trial(&params, grads.clone(), &state);
        assert_eq!(kept, (params.clone(), state.clone()));
        let (moved, _) = rule.step(params, &grads, state);
        tried.iter().zip(&moved).for_each(|(a, b)| close(a, b));
    }
}

// Formula: meta-4.
#[test]
fn the_derivative_of_a_trial_is_its_slope() {
    for rule in all() {
        let (params, grads, state) = setting(&rule);
        let v: Vec<Tensor<f64>> = params.iter().map(|p| wave(p.shape(), 4.0)).collect();
        let pulled = rule.trial_vjp(&params, &grads, &state, v.clone());
        let along = |i: usize, j: usize, step: f64| -> f64 {
            let mut grads = grads.clone();
            grads[i].make_mut()[j] += step;
            let moved = rule.trial(&params, grads, &state);
            moved.iter().zip(&v).map(|(moved, v)| moved.dot(v)).sum()
        };
        for (i, pulled) in pulled.iter().enumerate() {
            for (j, &pulled) in pulled.as_slice().iter().enumerate() {
                let slope = (along(i, j, 1e-6) - along(i, j, -1e-6)) / 2e-6;
                assert!((pulled - slope).abs() < 1e-8, "{rule:?}: {pulled}, not {slope}");
            }
        }
    }
}

#[test]
fn gradients_of_zero_are_no_trouble() {
    for rule in all() {
        let params = vec![wave(&[2, 2], 0.4), Tensor::zeros(&[3, 2])];
        let zeros: Vec<_> = params.iter().map(|p| Tensor::zeros(p.shape())).collect();
        let state = rule.start(&params);
        let pulled = rule.trial_vjp(&params, &zeros, &state, params.clone());
        let (moved, _) = rule.step(params, &zeros, state);
        assert!(moved.iter().chain(&pulled).all(Tensor::is_finite), "{rule:?}");
    }
}

#[test]
fn parameters_with_one_owner_are_updated_in_place() {
    for rule in all() {
        let params = vec![Tensor::full(&[3, 2], 1.0f32)];
        let state = rule.start(&params);
        let addresses = |params: &[Tensor<f32>], state: &OptimizerState<f32>| -> Vec<_> {
            let tensors = params.iter().chain(state.slots.iter().flatten());
            tensors.map(|tensor| tensor.as_slice().as_ptr()).collect()
        };
        let before = addresses(&params, &state);
        let (params, state) = rule.step(params, &[Tensor::full(&[3, 2], 1.0)], state);
        assert_eq!(addresses(&params, &state), before, "{rule:?}");
    }
}

// Formula: byol-2.
#[test]
fn an_average_lies_between() {
    let moved = ema(Tensor::full(&[2], 1.0f64), &Tensor::full(&[2], 3.0), 0.75);
    assert_eq!(moved, Tensor::full(&[2], 1.5));
}

// Formulas: byol-3, schedule-1, schedule-2.
#[test]
fn schedules_start_and_end_where_they_should() {
    assert_eq!(cosine(0.4, 0.1, 0, 8), 0.4);
    assert!((cosine(0.4, 0.1, 4, 8) - 0.25).abs() < 1e-15);
    assert!((cosine(0.4, 0.1, 8, 8) - 0.1).abs() < 1e-15);
    assert_eq!([0, 1, 2].map(|t| warmup_cosine(0.4, t, 2, 10, 0.0)), [0.0, 0.2, 0.4]);
    assert!((warmup_cosine(0.4, 10, 2, 10, 0.1) - 0.04).abs() < 1e-15);
    assert!((warmup_cosine(0.4, 3, 0, 10, 0.0) - cosine(0.4, 0.0, 3, 10)).abs() < 1e-15);
    assert_eq!([0, 5, 10].map(|t| ema_cosine(0.9, t, 10)), [0.9, 0.95, 1.0]);
}

#[track_caller]
fn close(a: &Tensor<f64>, b: &Tensor<f64>) {
    let pairs = a.as_slice().iter().zip(b.as_slice());
    let worst = pairs.fold(0.0f64, |worst, (a, b)| worst.max((a - b).abs()));
    assert!(worst < 1e-14, "{a:?} and {b:?} differ by {worst:e}");
}
