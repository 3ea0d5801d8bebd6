//! The mask's gradient against published numbers, its twin, and differences of the objective.

use super::meta_gradient::{exact, finite_difference, first_order, reverse_over_reverse};
use super::*;
use crate::autodiff::Var;
use crate::gradcheck::{Setting, Smooth};
use crate::kernels::Real;
use crate::nn::{
    BatchNorm, Conv2d, Encode, Init, Layout, Linear, Mlp, MlpLayer, Module, Pass, params,
};
use crate::optim::{Optimizer, OptimizerState, Sgd};
use crate::ssl::tests::wave;
use crate::ssl::{Loss, Queue};
use crate::tensor::Tensor;

/// Two convolutions with batch-norm and ReLU, pooled.
#[derive(Clone)]
struct Tiny<T: Real>([(Conv2d<T>, BatchNorm<T>); 2]);

impl<T: Real> Tiny<T> {
    fn new(init: &Init) -> Self {
        let block = |i: usize, channels: [usize; 2], stride| {
            let conv = Conv2d::new(&format!("conv{i}"), channels, 3, stride, init);
            (conv, BatchNorm::new(&format!("bn{i}"), channels[1]))
        };
        Tiny([block(1, [2, 4], 1), block(2, [4, 6], 2)])
    }
}

impl<T: Real> Module<T> for Tiny<T> {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<T>, Layout) -> Var<T>) -> Self {
        Tiny(self.0.each_ref().map(|(conv, norm)| {
            let conv = conv.map_params(f);
            (conv, norm.map_params(f))
        }))
    }
}

impl<T: Real> Encode<T> for Tiny<T> {
    fn features(&self) -> usize {
        6
    }
    fn forward(&self, x: &Var<T>, pass: &mut Pass<'_, T>) -> Var<T> {
        let block = |x: Var<T>, (conv, norm): &(Conv2d<T>, BatchNorm<T>)| {
            norm.forward(&conv.forward(&x), pass).relu()
        };
        self.0.iter().fold(x.clone(), block).global_avg_pool2d()
    }
}

/// SGD with these momentum buffers, after a step.
fn sgd(lr: f64, buffers: Vec<Tensor<f64>>) -> (Optimizer, OptimizerState<f64>) {
    let optimizer = Optimizer::Sgd(Sgd { lr, ..Sgd::default() });
    (optimizer, OptimizerState { slots: vec![buffers], steps: 1 })
}

/// The smooth two-layer net of the published numbers.
fn smooth() -> Setting<Smooth> {
    let x0 = wave(6, 5, 0.2);
    let x1 = &x0 + &wave(6, 5, 1.1).scale(0.3);
    let linear = |name: &str, weight: Tensor<f64>| {
        let weight = Var::constant(weight.scale(0.5));
        Linear::unbiased(name, weight)
    };
    let encoder = Smooth(linear("w0", wave(5, 4, 0.3)));
    let layer = MlpLayer { linear: linear("w1", wave(4, 3, 0.5)), norm: None };
    let heads = Heads { redundancy: None, base: Mlp { layers: vec![layer] }, predictor: None };
    let base = Loss::NtXent { temperature: 0.5 };
    let buffers = vec![wave(5, 4, 0.7).scale(0.1), wave(4, 3, 0.8).scale(0.1)];
    let (optimizer, state) = sgd(0.1, buffers);
    Setting {
        network: Network { encoder, heads },
        state,
        optimizer,
        mask: Mask { logits: wave(1, 4, 0.9).scale(0.2).reshape(&[4]), form: MaskForm::Sigmoid },
        objective: Objective { base, ..Objective::default() },
        anchors: None,
        trial: TrialStep::Contrastive,
        x: Tensor::concat(&[&x0, &x1], 0),
    }
}

fn shapes() -> HeadShapes {
    HeadShapes { base: vec![5, 4], redundancy: vec![5, 5, 3], ..HeadShapes::default() }
}

/// A net with convolutions, batch-norm and ReLU, whose second-order part is not small.
fn tiny(trial: TrialStep) -> Setting<Tiny<f64>> {
    let init = Init::new(5);
    let network = Network::new(Tiny::new(&init), &shapes(), &init);
    let buffer = |(i, p): (usize, &Var<f64>)| {
        Tensor::from_fn(p.shape(), |j| 0.1 * (1.1 * j as f64 + i as f64).sin())
    };
    let (optimizer, state) = sgd(0.1, params(&network).iter().enumerate().map(buffer).collect());
    let view = Tensor::from_fn(&[5, 6, 6, 2], |i| (0.37 * (i as f64).powf(1.3)).sin());
    let other = Tensor::from_fn(&[5, 6, 6, 2], |i| 0.4 * (0.91 * (i as f64).powf(1.2)).cos());
    let base = Loss::NtXent { temperature: 0.3 };
    Setting {
        network,
        state,
        optimizer,
        mask: Mask {
            logits: Tensor::from_fn(&[6], |i| (0.9 * i as f64).sin()),
            form: MaskForm::Sigmoid,
        },
        objective: Objective { base, w_con: 2.0, w_drr: 0.7, ..Objective::default() },
        anchors: None,
        trial,
        x: Tensor::concat(&[&view, &(&view + &other)], 0),
    }
}

/// The largest difference, relative to the largest expected value.
fn error(got: &Tensor<f64>, expected: &[f64]) -> f64 {
    let largest = expected.iter().fold(0.0f64, |max, e| max.max(e.abs()));
    let pairs = got.as_slice().iter().zip(expected);
    pairs.fold(0.0f64, |worst, (g, e)| worst.max((g - e).abs())) / largest
}

#[track_caller]
fn check(got: &Tensor<f64>, expected: &[f64], tolerance: f64) {
    let error = error(got, expected);
    assert!(error <= tolerance, "{got:?} differs from {expected:?} by {error:e} of the largest");
}

// Formulas: meta-2, meta-6, meta-7.
#[test]
fn published_numbers() {
    let setting = smooth();
    let problem = setting.problem();
    let exact = exact(&problem);
    assert!((exact.outer_loss - 1.1512996859668705).abs() < 1e-12);
    assert!((exact.direction_norm.unwrap() - 0.5518689301636714).abs() < 1e-12);
    let first = [0.084192612722, -0.048042466498, -0.062397622567, 0.029111172209];
    let whole = [0.078681221551, -0.042537323777, -0.058927207986, 0.025269772806];
    let darts = [0.078678922688, -0.042536418590, -0.058926507017, 0.025270494477];
    check(&exact.gradient, &whole, 1e-10);
    check(&exact.first_order, &first, 1e-10);
    check(&first_order(&problem).gradient, &first, 1e-10);
    check(&finite_difference(&problem, 1e-2).gradient, &darts, 1e-10);
    check(&reverse_over_reverse(&problem).gradient, &whole, 1e-10);

    let h = setting.network.encoder.forward(&Var::constant(setting.x.clone()), &mut Pass::train(2));
    let masked = &h * &Var::constant(setting.mask.factors());
    let heads = &setting.network.heads;
    let inner = setting.objective.contrastive(heads, &masked, None, &mut Pass::train(2));
    assert!((inner.value().item() - 1.1903442542232145).abs() < 1e-12);
}

#[track_caller]
fn check_exact<E: Encode<f64>>(setting: &Setting<E>, step: f64) {
    let problem = setting.problem();
    let (exact, twin) = (exact(&problem), reverse_over_reverse(&problem));
    check(&exact.gradient, twin.gradient.as_slice(), 1e-10);
    check(&exact.second_order, twin.second_order.as_slice(), 1e-9);
    assert!((exact.direction_norm.unwrap() - twin.direction_norm.unwrap()).abs() < 1e-12);
    let expected = setting.differences(step).to_vec();
    check(&exact.gradient, &expected, 1e-6);
    // The plausible mistakes are far outside that tolerance: no second order, its sign, no
    // learning rate, and the momentum's geometric factor.
    for wrong in [0.0, -1.0, 1.0 / setting.optimizer.lr(), 10.0] {
        let mut gradient = exact.first_order.clone();
        gradient.add_scaled(wrong, &exact.second_order);
        assert!(error(&gradient, &expected) > 1e-3, "a factor of {wrong} is not seen");
    }
}

// Formulas: meta-3, meta-5, meta-8.
#[test]
fn exact_is_its_twin_and_the_slope_of_the_objective() {
    check_exact(&smooth(), 1e-5);
    check_exact(&tiny(TrialStep::Contrastive), 1e-6);
    check_exact(&tiny(TrialStep::Joint), 1e-6);
    let mut identity = tiny(TrialStep::Contrastive);
    identity.mask = Mask { logits: identity.mask.factors(), form: MaskForm::Identity };
    check_exact(&identity, 1e-6);
}

#[test]
fn finite_difference_converges_to_exact_where_nothing_has_a_kink() {
    let setting = smooth();
    let problem = setting.problem();
    let exact = exact(&problem);
    let error_at =
        |r| error(&finite_difference(&problem, r).second_order, exact.second_order.as_slice());
    let (coarse, fine) = (error_at(1e-2), error_at(1e-3));
    assert!(coarse < 1e-2 && fine < 0.02 * coarse, "{coarse:e} then {fine:e}");
}

#[test]
fn a_common_factor_on_the_mask_changes_nothing() {
    for trial in [TrialStep::Contrastive, TrialStep::Joint] {
        let mut setting = tiny(trial);
        setting.mask = Mask { logits: setting.mask.factors(), form: MaskForm::Identity };
        // Exact only without the batch-norms' eps, and without weight decay in the first layer.
        for head in
            [&mut setting.network.heads.base, setting.network.heads.redundancy.as_mut().unwrap()]
        {
            for layer in &mut head.layers {
                layer.norm.as_mut().unwrap().eps = 1e-14;
            }
        }
        let first = first_order(&setting.problem()).gradient;
        let along = first.dot(&setting.mask.logits);
        let scale = (first.sum_of_squares() * setting.mask.logits.sum_of_squares()).sqrt();
        assert!(along.abs() < 1e-9 * scale, "{along:e} of {scale:e}");
    }
}

fn state(seed: u64) -> State<f64, Tiny<f64>> {
    let init = Init::new(seed);
    let network = Network::new(Tiny::new(&init), &shapes(), &init);
    State::new(network, Mask::new(6, MaskForm::Sigmoid), &Settings::default())
}

#[test]
fn an_iteration_is_a_regular_step_then_a_mask_step_at_the_new_weights() {
    let x = tiny(TrialStep::Contrastive).x;
    let mut settings = Settings { compare: Some(1e-2), ..Settings::default() };
    settings.optimizer = settings.optimizer.with_lr(0.05);
    settings.mask_optimizer = settings.mask_optimizer.with_lr(0.5);
    let (done, report) = step(state(3), &x, &settings);
    let mask = report.mask.expect("a mask step was asked for");
    assert_eq!(report.non_finite, None);
    assert!(report.loss > report.loss_drr.unwrap() && report.gradient_norm > 0.0);
    let meta = mask.meta.unwrap();
    assert!(meta.second_order.sum_of_squares() > 0.0 && mask.agreement.unwrap().gradient > 0.9);

    // The networks do not feel the mask's step, and the mask's gradient belongs to the new weights.
    let (regular, _) = step(state(3), &x, &Settings { mode: Mode::Joint, ..settings });
    let weights = |s: &State<f64, _>| {
        params(&s.network).iter().map(|p| p.value().clone()).collect::<Vec<Tensor<f64>>>()
    };
    assert_eq!(weights(&done), weights(&regular));
    assert_eq!(regular.mask, state(3).mask);
    let again = exact(&Problem {
        network: &regular.network,
        state: &regular.optimizer,
        optimizer: &settings.optimizer,
        mask: &regular.mask,
        objective: &settings.objective,
        anchors: None,
        trial: settings.trial,
        x: &x,
    });
    assert_eq!(again.gradient, meta.gradient);
    let expected: Vec<f64> = again.gradient.as_slice().iter().map(|g| -0.5 * g).collect();
    check(&done.mask.logits, &expected, 1e-12);
}

#[test]
fn a_shared_trial_step_is_the_joint_one_from_the_old_weights() {
    let x = tiny(TrialStep::Contrastive).x;
    for (meta, unrolled) in [
        (Meta::Exact, 0),
        (Meta::FiniteDifference { r: 1e-2 }, 0),
        (Meta::FirstOrder, 0),
        (Meta::Unrolled { steps: 2 }, 2),
    ] {
        let trial = TrialStep::JointShared;
        let settings = Settings { mode: Mode::MetaMask(meta), trial, ..Settings::default() };
        let settings = Settings { optimizer: settings.optimizer.with_lr(0.05), ..settings };
        let before = step(state(3), &x, &settings).0;
        let (after, report) = step(before.clone(), &x, &settings);
        let problem = Problem {
            network: &before.network,
            state: &before.optimizer,
            optimizer: &settings.optimizer,
            mask: &before.mask,
            objective: &settings.objective,
            anchors: None,
            trial: TrialStep::Joint,
            x: &x,
        };
        let expected = match meta {
            Meta::Exact => exact(&problem),
            Meta::FiniteDifference { r } => finite_difference(&problem, r),
            Meta::FirstOrder => first_order(&problem),
            Meta::Unrolled { .. } => meta_gradient::unrolled(&problem, unrolled),
        };
        let found = report.mask.unwrap().meta.unwrap();
        check(&found.gradient, expected.gradient.as_slice(), 1e-12);
        if meta != Meta::FirstOrder {
            check(&found.second_order, expected.second_order.as_slice(), 1e-9);
        }
        // The networks make the same step as without a mask step.
        let (regular, _) = step(before, &x, &Settings { mode: Mode::Joint, ..settings });
        let pairs = params(&after.network).into_iter().zip(params(&regular.network));
        assert!(pairs.into_iter().all(|(a, b)| a.value() == b.value()));
    }
}

// Formula: meta-9.
#[test]
fn an_unrolled_gradient_is_the_slope_of_the_objective() {
    let setting = smooth();
    for steps in [1, 2, 3] {
        let of = |mask: &Mask<f64>| {
            meta_gradient::unrolled(&Problem { mask, ..setting.problem() }, steps)
        };
        let gradient = of(&setting.mask);
        let outer = |j: usize, by: f64| {
            let mut mask = setting.mask.clone();
            mask.logits.make_mut()[j] += by;
            of(&mask).outer_loss
        };
        let expected: Vec<f64> =
            (0..4).map(|j| (outer(j, 1e-5) - outer(j, -1e-5)) / 2e-5).collect();
        check(&gradient.gradient, &expected, 1e-6);
    }
}

// Formulas: mask-1, mask-2, joint-1.
#[test]
fn a_mask_as_a_weight_descends_on_the_joint_loss() {
    let x = tiny(TrialStep::Contrastive).x;
    let settings = Settings { mode: Mode::Regular, ..Settings::default() };
    let settings = Settings { mask_optimizer: settings.mask_optimizer.with_lr(0.5), ..settings };
    let (after, report) = step(state(3), &x, &settings);
    let joint = |by: f64| {
        let mut before = state(3);
        before.mask.logits.make_mut()[2] += by;
        step(before, &x, &Settings { mode: Mode::Joint, ..settings }).1.loss
    };
    let slope = (joint(1e-5) - joint(-1e-5)) / 2e-5;
    assert!((after.mask.logits.as_slice()[2] + 0.5 * slope).abs() < 1e-7 * slope.abs());
    assert!(report.mask.unwrap().meta.is_none());
    let (regular, _) = step(state(3), &x, &Settings { mode: Mode::Joint, ..settings });
    let pairs = params(&after.network).into_iter().zip(params(&regular.network));
    assert!(pairs.into_iter().all(|(a, b)| a.value() == b.value()));
}

/// A state of a method that predicts.
fn predicting(base: Loss) -> (State<f64, Tiny<f64>>, Settings) {
    let init = Init::new(3);
    let shapes = HeadShapes { predictor: vec![4], ..shapes() };
    let network = Network::new(Tiny::new(&init), &shapes, &init);
    let objective = Objective { base, ..Objective::default() };
    let settings = Settings { objective, target_momentum: 0.75, ..Settings::default() };
    let mut state = State::new(network, Mask::new(6, MaskForm::Sigmoid), &settings);
    state.memory = match base {
        Loss::Byol => Memory::Target(Box::new(Target::of(&state.network))),
        _ => Memory::Queue(Queue::new(8, 4, 1)),
    };
    (state, settings)
}

#[test]
fn the_target_follows_last() {
    let x = tiny(TrialStep::Contrastive).x;
    let (before, settings) = predicting(Loss::Byol);
    let (after, report) = step(before.clone(), &x, &settings);
    assert!(report.mask.unwrap().gradient_norm > 0.0);
    let Memory::Target(target) = &after.memory else { panic!() };
    let heads = |network: &Network<f64, _>| {
        [params(&network.encoder), params(&network.heads.base)].concat()
    };
    let (old, new) = (heads(&before.network), heads(&after.network));
    let target = [params(&target.encoder), params(&target.projector)].concat();
    assert_eq!((old.len(), new.len()), (target.len(), target.len()));
    for ((old, new), target) in old.iter().zip(&new).zip(&target) {
        let expected = &old.value().scale(0.75) + &new.value().scale(0.25);
        check(target.value(), expected.as_slice(), 1e-12);
    }

    // The next iteration's anchors are the target's, not the network's own.
    let anchors = |state: &State<f64, _>| {
        let factors = state.mask.factors();
        state.memory.anchors(&x, Some(&factors), &Tensor::zeros(&[10, 4])).unwrap()
    };
    let own = Memory::Target(Box::new(Target::of(&after.network)));
    assert_ne!(anchors(&after), anchors(&State { memory: own, ..after.clone() }));
}

#[test]
fn the_batch_enters_the_queue_last() {
    let x = tiny(TrialStep::Contrastive).x;
    let (before, settings) = predicting(Loss::Nnclr { temperature: 0.2 });
    let (after, _) = step(before.clone(), &x, &settings);
    let Memory::Queue(queue) = &after.memory else { panic!() };
    let Memory::Queue(old) = &before.memory else { panic!() };
    assert_eq!(queue.next, 5);
    // What came in is the first view's projections by the old weights under the old mask.
    let h = before.network.encoder.forward(&Var::constant(x.clone()), &mut Pass::train(2));
    let masked = &h * &Var::constant(before.mask.factors());
    let z = before.network.heads.project(&masked, &mut Pass::train(2)).z;
    let expected = old.clone().enqueue(z.rows(0..5).value());
    check(&queue.rows, expected.rows.as_slice(), 1e-12);
}

#[test]
fn a_plain_iteration_leaves_mask_and_redundancy_loss_alone() {
    let x = tiny(TrialStep::Contrastive).x;
    let before = state(3);
    let addresses = |s: &State<f64, _>| {
        params(&s.network).iter().map(|p| p.value().as_slice().as_ptr()).collect::<Vec<_>>()
    };
    let expected = addresses(&before);
    let (done, report) = step(before, &x, &Settings { mode: Mode::Plain, ..Settings::default() });
    assert_eq!(addresses(&done), expected, "the weights were copied");
    assert_eq!(report.loss, report.loss_con);
    assert!(report.loss_drr.is_none() && report.mask.is_none());
    assert_eq!(done.mask, state(3).mask);
}

#[test]
fn a_step_that_is_not_finite_is_not_taken() {
    let mut x = tiny(TrialStep::Contrastive).x;
    x.make_mut()[0] = f64::NAN;
    let before = state(3);
    let (after, report) = step(before.clone(), &x, &Settings::default());
    let expected = NonFinite { part: "loss_con", layer: Some("bn1".into()), moved: Moved::Nothing };
    assert_eq!(report.non_finite, Some(expected));
    assert_eq!(after.running, before.running);
    let same = |(a, b): (&Var<f64>, &Var<f64>)| a.value() == b.value();
    assert!(params(&after.network).iter().zip(&params(&before.network)).all(same));

    // Of a mask gradient the part is named: after a step this long the weights are finite, and
    // what comes out of them is not.
    let x_fine = tiny(TrialStep::Contrastive).x;
    let long = Sgd { lr: 1e200, ..Sgd::default() };
    let long = Settings { optimizer: Optimizer::Sgd(long), ..Settings::default() };
    let (after, report) = step(before.clone(), &x_fine, &long);
    let NonFinite { part, layer, moved } = report.non_finite.expect("the trial step overflows");
    assert_eq!(moved, Moved::Networks);
    assert!(part.contains("of the mask") && layer.is_none(), "{part} {layer:?}");
    assert_eq!(after.mask, before.mask);

    // A sick weight is named before the moments that it spoils.
    let sick = before.network.map_params(&mut |name, var, _| match name {
        "base.fc2.weight" => Var::constant(var.value().scale(f64::INFINITY)),
        _ => var.clone(),
    });
    let x = tiny(TrialStep::Contrastive).x;
    let (_, report) = step(State { network: sick, ..before }, &x, &Settings::default());
    assert_eq!(report.non_finite.unwrap().layer.as_deref(), Some("base.fc2"));
}
