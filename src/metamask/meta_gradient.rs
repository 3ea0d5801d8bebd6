//! The gradient of the mask through a trial step of the networks.
//!
//! With `ω` all weights, `a` the mask's logits, `L` the loss of the trial step, the mask minimises
//!
//! ```text
//! J(a) = L_con(ω'(a), a),   ω'(a) = step(ω, g(a)),   g(a) = ∂L/∂ω (ω, a),
//! ```
//!
//! the base method's loss after a trial step of the networks' optimiser, on the same batch; for
//! SGD `step(ω, g) = ω - lr · (μ b + g + wd ω)`. With `v = ∂L_con/∂ω` at `ω'`, taken as a constant,
//!
//! ```text
//! dJ/da = ∂L_con/∂a (ω', a)  +  [∂²L/∂a∂ω (ω, a)] u,   u = (∂step/∂g)ᵀ v.
//! ```
//!
//! The first term is the *first-order part*, the second the *second-order part*, taken at `ω`, not
//! at `ω'`. For SGD `u = -lr · v`: momentum and weight decay move `ω'`, they add nothing that
//! depends on `a`. What the base method compares with ([`Anchors`]) is constant throughout.
//!
//! # The exact gradient without a second-order convolution
//! The mask enters after the encoder, so `∂L/∂a = G(h, φ, a)` with `h` the features and `φ` the
//! heads' weights, and the second-order part is a directional derivative of `G`:
//!
//! ```text
//! d/dε G(h + ε ḣ, φ + ε u_φ, a),   ḣ = the encoder's derivative along u_θ.
//! ```
//!
//! `ḣ` is one forward-mode push along the recorded graph of the trial step's forward pass, and the
//! rest concerns mask, heads and losses only.
//! So [`exact`] costs three encoder forwards (one of them the push) and two backwards, which is not
//! more than [`finite_difference`], the published approximation (four and two); where the trial
//! step is the regular step itself ([`TrialStep::JointShared`]), a forward and a backward less.
//! The push needs the activations of the trial step's forward pass while the passes at `ω'` run:
//! at its peak two encoder graphs are alive, in [`finite_difference`] and [`first_order`] one.
//!
//! Source: the approximation is Liu et al. 2018 (DARTS), arXiv 1806.09055, eq. 8; the rest is
//! derived in these lines.

use super::cut::{Cut, Graph};
use super::{Anchors, Heads, Mask, Network, Objective};
use crate::autodiff::{Var, grad, grad_graph, push, push_graph};
use crate::kernels::Real;
use crate::nn::{Encode, Module, Pass, enter, leaves, params, with_params};
use crate::optim::{Optimizer, OptimizerState, norm};
use crate::tensor::Tensor;

/// Which step the trial step is; the outer loss is the base method's in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrialStep {
    /// A step from the new weights down L_con, as published.
    #[default]
    Contrastive,
    /// A step from the new weights down the regular objective, `w_drr · L_drr + w_con · L_con`.
    Joint,
    /// The regular step itself, from the old weights to the new ones: nothing is computed twice.
    ///
    /// A [`Problem`] with it is one at the old weights, and equal to [`TrialStep::Joint`] there.
    JointShared,
}

/// Everything that the mask's gradient depends on.
pub struct Problem<'a, T: Real, E> {
    /// The networks at ω.
    pub network: &'a Network<T, E>,
    /// The optimiser's state at ω, in the order of the network's parameters.
    pub state: &'a OptimizerState<T>,
    /// The rule of the trial step.
    pub optimizer: &'a Optimizer,
    /// The mask at a.
    pub mask: &'a Mask<T>,
    /// The losses.
    pub objective: &'a Objective,
    /// What the base method's loss compares with, where it does.
    pub anchors: Option<&'a Anchors<T>>,
    /// The loss of the trial step.
    pub trial: TrialStep,
    /// The batch: both views stacked, `[2N, H, W, C]`, view 0 first.
    pub x: &'a Tensor<T>,
}

/// A gradient of the mask's logits, with its parts.
#[derive(Clone, Debug)]
pub struct MetaGradient<T: Real> {
    /// dJ/da, or its approximation, `[D]`: the sum of the two parts.
    pub gradient: Tensor<T>,
    /// ∂L_con/∂a at ω', `[D]`.
    pub first_order: Tensor<T>,
    /// What the trial step's dependence on the mask adds, `[D]`; zero in [`first_order`].
    pub second_order: Tensor<T>,
    /// J.
    pub outer_loss: T,
    /// The length of v over all weights; absent in [`first_order`], which has no use for v.
    pub direction_norm: Option<f64>,
}

impl<T: Real> MetaGradient<T> {
    /// Which part of a gradient that is not finite is the first that is not.
    pub(super) fn first_non_finite(&self) -> &'static str {
        if !self.outer_loss.is_finite() {
            "outer loss of the mask"
        } else if !self.first_order.is_finite() {
            "first-order part of the mask gradient"
        } else {
            "second-order part of the mask gradient"
        }
    }
}

/// The exact gradient: one forward-mode push through the encoder, second order in the heads only.
///
/// ```
/// use dimask::gradcheck::smooth;
/// use dimask::metamask::{TrialStep, meta_gradient};
/// use dimask::ssl::Loss;
/// let setting = smooth(Loss::NtXent { temperature: 0.5 }, TrialStep::Contrastive);
/// let found = meta_gradient::exact(&setting.problem());
/// let expected = setting.differences(1e-5);                   // of the loss after the trial step
/// let error = &found.gradient - &expected;
/// assert!(error.sum_of_squares() < 1e-16 * expected.sum_of_squares());
/// ```
///
/// Formulas: meta-3, meta-5.
///
/// # Panics
/// If the parts of the problem do not fit each other.
#[track_caller]
pub fn exact<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    problem.check("exact");
    problem.exact(Trial::with_graph(problem))
}

/// The published approximation: the second-order part as a central difference of ∂L/∂a along u,
/// with step `r / |u|`; `r` is 0.01 there.
///
/// Formula: meta-7.
///
/// # Panics
/// If the parts of the problem do not fit each other.
#[track_caller]
pub fn finite_difference<T: Real, E: Encode<T>>(
    problem: &Problem<'_, T, E>,
    r: f64,
) -> MetaGradient<T> {
    problem.check("finite_difference");
    problem.finite_difference(Trial::without_graph(problem), r)
}

/// The first-order part alone: the trial weights are taken as constants.
///
/// Formula: meta-6.
///
/// # Panics
/// If the parts of the problem do not fit each other.
#[track_caller]
pub fn first_order<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    problem.check("first_order");
    problem.first_order(Trial::without_graph(problem))
}

/// The exact gradient by differentiating through the recorded trial step, with nothing derived by
/// hand: slower, three graphs large, and the twin that [`exact`] is tested against.
///
/// Formula: meta-8.
///
/// # Panics
/// If the parts of the problem do not fit each other.
#[track_caller]
pub fn reverse_over_reverse<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    problem.check("reverse_over_reverse");
    unrolled(problem, 1)
}

/// The exact gradient through `steps` trial steps on the same batch, each along the loss at the
/// weights that the one before it came to; all of it is recorded and differentiated in reverse.
///
/// Formula: meta-9.
///
/// # Panics
/// If `steps` is 0, or the parts of the problem do not fit each other.
#[track_caller]
pub fn unrolled<T: Real, E: Encode<T>>(
    problem: &Problem<'_, T, E>,
    steps: usize,
) -> MetaGradient<T> {
    assert!(steps > 0, "unrolled: there is no trial step");
    problem.check("unrolled");
    enter(problem.network, "the trial steps");
    let a = Var::leaf(problem.mask.logits.clone());
    let mut network = leaves(problem.network);
    // The slots of each parameter.
    let constant = |i: usize| {
        let slots = problem.state.slots.iter();
        slots.map(|slot| Var::constant(slot[i].clone())).collect::<Vec<_>>()
    };
    let mut slots: Vec<Vec<Var<T>>> = (0..params(&network).len()).map(constant).collect();
    for t in 1..=steps {
        let omega = params(&network);
        let loss = problem.masked_loss(&network, &a, problem.trial);
        let g = grad_graph(&loss, &omega.iter().collect::<Vec<_>>());
        let mut moved = Vec::new();
        for ((w, g), slots) in omega.iter().zip(&g).zip(&mut slots) {
            let w_next;
            (w_next, *slots) = problem.optimizer.update(w, g, slots, problem.state.steps + t);
            moved.push(w_next);
        }
        network = with_params(&network, moved);
    }

    let moved = network.map_params(&mut |_, var, _| var.detach());
    let (outer, _) = Outer::at(problem, &moved).differentiated();
    let outer_loss = problem.masked_loss(&network, &a, TrialStep::Contrastive);
    let gradient = grad(outer_loss, &[&a]).remove(0);
    let second_order = &gradient - &outer.first_order;
    MetaGradient { gradient, ..outer.with(second_order) }
}

/// A trial step that has been taken.
pub(super) struct Trial<T: Real> {
    /// The encoder's graph at ω, where the exact gradient is to be taken.
    pub graph: Option<Graph<T>>,
    /// g; empty for SGD, whose step depends on it in a known way.
    pub grads: Vec<Tensor<T>>,
    /// ω'.
    pub moved: Vec<Tensor<T>>,
}

impl<T: Real> Trial<T> {
    #[track_caller]
    fn with_graph<E: Encode<T>>(problem: &Problem<'_, T, E>) -> Trial<T> {
        let cut = problem.cut();
        let graph = cut.graph.clone();
        Trial { graph: Some(graph), ..Trial::of(problem, cut) }
    }

    #[track_caller]
    fn without_graph<E: Encode<T>>(problem: &Problem<'_, T, E>) -> Trial<T> {
        Trial::of(problem, problem.cut())
    }

    #[track_caller]
    fn of<E: Encode<T>>(problem: &Problem<'_, T, E>, cut: Cut<T>) -> Trial<T> {
        let grads = cut.grads();
        let kept = kept(problem.optimizer, &grads);
        let moved = problem.optimizer.trial(&problem.omega(), grads, problem.state);
        Trial { graph: None, grads: kept, moved }
    }
}

/// The gradients that the derivative of a step of `optimizer` asks for.
pub(super) fn kept<T: Real>(optimizer: &Optimizer, grads: &[Tensor<T>]) -> Vec<Tensor<T>> {
    match optimizer {
        Optimizer::Sgd(_) => Vec::new(),
        _ => grads.to_vec(),
    }
}

impl<T: Real, E: Encode<T>> Problem<'_, T, E> {
    /// Refuses parts that do not fit each other, before any of them is run.
    #[track_caller]
    pub(crate) fn check(&self, op: &str) {
        let wanted = self.network.check(op, self.objective, Some(self.mask), self.x);
        let (base, shapes) =
            (self.objective.base, self.anchors.map(|[a, b]| [a.shape(), b.shape()]));
        match shapes {
            None => assert!(!base.compares(), "{op}: {} has no anchors", base.name()),
            Some(shapes) => {
                assert!(base.compares(), "{op}: {} compares no anchors", base.name());
                let fits = shapes == [&wanted[..]; 2];
                assert!(fits, "{op}: anchors {shapes:?} for predictions {wanted:?}");
            }
        }
        let omega = self.omega();
        self.optimizer.check(op, &omega, &omega, self.state);
    }

    /// The loss of a trial step at some weights and under the mask of the logits `a`, all recorded.
    #[track_caller]
    fn masked_loss(&self, network: &Network<T, E>, a: &Var<T>, trial: TrialStep) -> Var<T> {
        let h = network.encoder.forward(&Var::constant(self.x.clone()), &mut Pass::train(2));
        self.trial_loss(trial, &network.heads, &(&h * &self.mask.form.factors(a)))
    }

    #[track_caller]
    pub(super) fn exact(&self, trial: Trial<T>) -> MetaGradient<T> {
        let Trial { graph, grads, moved } = trial;
        let Graph { features, theta } = graph.expect("the trial step keeps its graph");
        let (outer, u) = self.outer(&grads, moved);

        enter(self.network, "the second-order part");
        let (u_theta, u_phi) = u.split_at(theta.len());
        let h_dot = push(&[&features], &theta.iter().zip(u_theta).collect::<Vec<_>>()).remove(0);
        // From here on only the features' value is needed; the encoder's graph goes.
        let h = features.as_leaf();
        drop((features, theta));

        let heads = leaves(&self.network.heads);
        let a = Var::leaf(self.mask.logits.clone());
        let masked = &h * &self.mask.form.factors(&a);
        let loss = self.trial_loss(self.trial, &heads, &masked);
        let phi = params(&heads);
        let directions: Vec<Var<T>> =
            [h_dot].iter().chain(u_phi).map(|u| Var::constant(u.clone())).collect();
        let inputs = [h].into_iter().chain(phi).collect::<Vec<_>>();
        let tangents: Vec<_> = inputs.iter().zip(&directions).collect();
        let slope = push_graph(&[&loss], &tangents).remove(0);
        drop((loss, masked));
        let second_order = grad(slope, &[&a]).remove(0);
        outer.with(second_order)
    }

    #[track_caller]
    pub(super) fn finite_difference(&self, trial: Trial<T>, r: f64) -> MetaGradient<T> {
        let (outer, u) = self.outer(&trial.grads, trial.moved);
        let length = norm(&u);
        if length == 0.0 {
            // A step of learning rate 0 does not depend on the mask.
            let none = Tensor::zeros(outer.first_order.shape());
            return outer.with(none);
        }
        enter(self.network, "the second-order part");
        let step = r / length;
        let probe = |step: f64| {
            let mut u = u.iter();
            // Constants record nothing: the graph of a probe begins at the mask.
            let moved = self.network.map_params(&mut |_, var, _| {
                let mut value = var.value().clone();
                value.add_scaled(T::from_f64(step), u.next().expect("one direction a parameter"));
                Var::constant(value).watched_like(var)
            });
            let a = Var::leaf(self.mask.logits.clone());
            let h = moved.encoder.forward(&Var::constant(self.x.clone()), &mut Pass::train(2));
            let masked = &h * &self.mask.form.factors(&a);
            grad(self.trial_loss(self.trial, &moved.heads, &masked), &[&a]).remove(0)
        };
        let second_order = (&probe(step) - &probe(-step)).scale(T::from_f64(0.5 / step));
        outer.with(second_order)
    }

    #[track_caller]
    pub(super) fn first_order(&self, trial: Trial<T>) -> MetaGradient<T> {
        // The encoder's backward pass is not needed.
        let Outer { first_order, loss, .. } = Outer::at(self, &self.moved(trial.moved));
        let none = Tensor::zeros(first_order.shape());
        Parts { first_order, loss, direction_norm: None }.with(none)
    }

    /// The outer loss at the trial weights, and u.
    #[track_caller]
    fn outer(&self, grads: &[Tensor<T>], moved: Vec<Tensor<T>>) -> (Parts<T>, Vec<Tensor<T>>) {
        let (parts, v) = Outer::at(self, &self.moved(moved)).differentiated();
        (parts, self.optimizer.trial_vjp(&self.omega(), grads, self.state, v))
    }

    fn omega(&self) -> Vec<Tensor<T>> {
        params(self.network).iter().map(|w| w.value().clone()).collect()
    }

    fn moved(&self, moved: Vec<Tensor<T>>) -> Network<T, E> {
        with_params(self.network, moved.into_iter().map(Var::constant).collect())
    }

    /// The trial step's loss at ω, differentiated down to the features.
    #[track_caller]
    fn cut(&self) -> Cut<T> {
        enter(self.network, "the trial step");
        let loss = |heads: &Heads<T>, masked: &Var<T>, _: &mut Pass<'_, T>| {
            self.trial_loss(self.trial, heads, masked)
        };
        Cut::new(self.network, Some(self.mask), self.x, &mut Pass::train(2), loss)
    }

    #[track_caller]
    fn trial_loss(&self, trial: TrialStep, heads: &Heads<T>, masked: &Var<T>) -> Var<T> {
        let (objective, pass) = (self.objective, &mut Pass::train(2));
        match trial {
            TrialStep::Contrastive => objective.contrastive(heads, masked, self.anchors, pass),
            TrialStep::Joint | TrialStep::JointShared => {
                objective.joint(heads, masked, self.anchors, pass).total
            }
        }
    }
}

/// The outer loss at the trial weights, differentiated down to the features.
struct Outer<T: Real> {
    cut: Cut<T>,
    first_order: Tensor<T>,
    loss: T,
}

impl<T: Real> Outer<T> {
    /// The outer loss at the trial weights `moved`, and its derivatives down to the features.
    ///
    /// Formula: meta-2.
    #[track_caller]
    fn at<E: Encode<T>>(problem: &Problem<'_, T, E>, moved: &Network<T, E>) -> Outer<T> {
        enter(moved, "the loss after the trial step");
        let mut value = T::ZERO;
        let loss = |heads: &Heads<T>, masked: &Var<T>, _: &mut Pass<'_, T>| {
            let loss = problem.trial_loss(TrialStep::Contrastive, heads, masked);
            value = loss.value().item();
            loss
        };
        let mut cut = Cut::new(moved, Some(problem.mask), problem.x, &mut Pass::train(2), loss);
        let first_order = cut.mask_grad.take().expect("there is a mask");
        Outer { cut, first_order, loss: value }
    }

    /// The first-order part, and v = ∂L_con/∂ω.
    fn differentiated(self) -> (Parts<T>, Vec<Tensor<T>>) {
        let v = self.cut.grads();
        let direction_norm = Some(norm(&v));
        (Parts { first_order: self.first_order, loss: self.loss, direction_norm }, v)
    }
}

/// A mask gradient that lacks its second-order part.
struct Parts<T: Real> {
    first_order: Tensor<T>,
    loss: T,
    direction_norm: Option<f64>,
}

impl<T: Real> Parts<T> {
    fn with(self, second_order: Tensor<T>) -> MetaGradient<T> {
        MetaGradient {
            gradient: &self.first_order + &second_order,
            first_order: self.first_order,
            second_order,
            outer_loss: self.loss,
            direction_norm: self.direction_norm,
        }
    }
}
