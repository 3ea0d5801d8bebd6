//! The gradient of the mask through a trial step of the networks.
//!
//! With `ω` all weights, `a` the mask's logits, `L` the loss of the trial step, the mask minimises
//!
//! ```text
//! J(a) = L_con(ω'(a), a),   ω'(a) = ω - lr · (μ b + ∂L/∂ω (ω, a) + wd ω),
//! ```
//!
//! the base method's loss after a trial step, on the same batch. With `v = ∂L_con/∂ω` at `ω'`,
//! taken as a constant,
//!
//! ```text
//! dJ/da = ∂L_con/∂a (ω', a)  -  lr · [∂²L/∂a∂ω (ω, a)] v.
//! ```
//!
//! The first term is the *first-order part*; the bracket times `v` is the *mixed term*, at `ω`, not
//! at `ω'`. Momentum and weight decay move `ω'`, they add nothing that depends on `a`.
//!
//! # The exact gradient without a second-order convolution
//! The mask enters after the encoder, so `∂L/∂a = G(h, φ, a)` with `h` the features and `φ` the
//! heads' weights, and the mixed term is a directional derivative of `G`:
//!
//! ```text
//! d/dε G(h + ε ḣ, φ + ε v_φ, a),   ḣ = the encoder's derivative along v_θ.
//! ```
//!
//! `ḣ` is one forward-mode push along the recorded graph of the trial step's forward pass, and the
//! rest concerns mask, heads and losses only.
//! So [`exact`] costs three encoder forwards (one of them the push) and two backwards, which is not
//! more than [`finite_difference`], the published approximation (four and two).
//! The push needs the activations of the trial step's forward pass while the passes at `ω'` run:
//! at its peak two encoder graphs are alive, in [`finite_difference`] and [`first_order`] one.
//!
//! Source: the approximation is Liu et al. 2018 (DARTS), arXiv 1806.09055, eq. 8; the rest is
//! derived in these lines.

use super::{Mask, Network, Objective, virtual_step};
use crate::autodiff::{Var, grad, grad_graph, pull, push, push_graph};
use crate::kernels::Real;
use crate::nn::{Encode, Module, Pass, leaves, params, with_params};
use crate::optim::{Sgd, norm};
use crate::tensor::Tensor;

/// Which loss the trial step descends on; the outer loss is the base method's in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TrialStep {
    /// L_con, as published.
    #[default]
    Contrastive,
    /// The regular objective, `w_drr · L_drr + w_con · L_con`.
    Joint,
}

/// Everything that the mask's gradient depends on.
pub struct Problem<'a, T: Real, E> {
    /// The networks at ω.
    pub network: &'a Network<T, E>,
    /// The momentum buffers b, in the order of the network's parameters.
    pub buffers: &'a [Tensor<T>],
    /// The rule of the trial step.
    pub sgd: &'a Sgd,
    /// The mask at a.
    pub mask: &'a Mask<T>,
    /// The losses.
    pub objective: &'a Objective,
    /// The loss of the trial step.
    pub trial: TrialStep,
    /// The batch: both views stacked, `[2N, H, W, C]`, view 0 first.
    pub x: &'a Tensor<T>,
}

/// A gradient of the mask's logits, with its parts.
#[derive(Clone, Debug)]
pub struct MetaGradient<T: Real> {
    /// dJ/da, or its approximation, `[D]`.
    pub gradient: Tensor<T>,
    /// ∂L_con/∂a at ω', `[D]`.
    pub first_order: Tensor<T>,
    /// The mixed term, before the factor `-lr`, `[D]`; zero in [`first_order`].
    pub mixed: Tensor<T>,
    /// J.
    pub outer_loss: T,
    /// The length of v over all weights.
    pub direction_norm: f64,
}

/// The exact gradient: one forward-mode push through the encoder, second order in the heads only.
#[track_caller]
pub fn exact<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    let at_omega = Cut::new(problem, problem.network, problem.trial);
    let graph = at_omega.features.clone();
    let theta = at_omega.encoder.clone();
    let outer = Outer::after(problem, at_omega.grads());

    let (v_theta, v_phi) = outer.direction.split_at(theta.len());
    let h_dot = push(&[&graph], &theta.iter().zip(v_theta).collect::<Vec<_>>()).remove(0);
    // From here on only the features' value is needed; the encoder's graph goes.
    let h = Var::leaf(graph.value().clone());
    drop((graph, theta));

    let heads = leaves(&problem.network.heads);
    let a = Var::leaf(problem.mask.logits.clone());
    let masked = &h * &problem.mask.form.factors(&a);
    let loss = problem.trial_loss(problem.trial, &heads, &masked);
    let phi = params(&heads);
    let directions: Vec<Var<T>> =
        [h_dot].iter().chain(v_phi).map(|v| Var::constant(v.clone())).collect();
    let inputs = [h].into_iter().chain(phi).collect::<Vec<_>>();
    let tangents: Vec<_> = inputs.iter().zip(&directions).collect();
    let slope = push_graph(&[&loss], &tangents).remove(0);
    drop((loss, masked));
    let mixed = grad(slope, &[&a]).remove(0);
    outer.with(mixed, problem.sgd)
}

/// The published approximation: the mixed term as a central difference of ∂L/∂a along v, with step
/// `r / |v|`; `r` is 0.01 there.
#[track_caller]
pub fn finite_difference<T: Real, E: Encode<T>>(
    problem: &Problem<'_, T, E>,
    r: f64,
) -> MetaGradient<T> {
    let outer = Outer::after(problem, Cut::new(problem, problem.network, problem.trial).grads());
    let step = r / outer.direction_norm;
    let probe = |step: f64| {
        let mut v = outer.direction.iter();
        // Constants record nothing: the graph of a probe begins at the mask.
        let moved = problem.network.map_params(&mut |_, var, _| {
            let mut value = var.value().clone();
            value.add_scaled(T::from_f64(step), v.next().expect("one direction a parameter"));
            Var::constant(value)
        });
        let a = Var::leaf(problem.mask.logits.clone());
        let h = moved.encoder.forward(&Var::constant(problem.x.clone()), &mut Pass::train(2));
        let masked = &h * &problem.mask.form.factors(&a);
        grad(problem.trial_loss(problem.trial, &moved.heads, &masked), &[&a]).remove(0)
    };
    let mixed = (&probe(step) - &probe(-step)).scale(T::from_f64(0.5 / step));
    outer.with(mixed, problem.sgd)
}

/// The first-order part alone: the trial weights are taken as constants.
#[track_caller]
pub fn first_order<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    let outer = Outer::after(problem, Cut::new(problem, problem.network, problem.trial).grads());
    let gradient = outer.first_order;
    MetaGradient {
        mixed: Tensor::zeros(gradient.shape()),
        first_order: gradient.clone(),
        gradient,
        outer_loss: outer.loss,
        direction_norm: outer.direction_norm,
    }
}

/// The exact gradient by differentiating through the recorded trial step, with nothing derived by
/// hand: slower, three graphs large, and the twin that [`exact`] is tested against.
#[track_caller]
pub fn reverse_over_reverse<T: Real, E: Encode<T>>(problem: &Problem<'_, T, E>) -> MetaGradient<T> {
    let network = leaves(problem.network);
    let a = Var::leaf(problem.mask.logits.clone());
    let loss = |network: &Network<T, E>, trial: TrialStep| {
        let h = network.encoder.forward(&Var::constant(problem.x.clone()), &mut Pass::train(2));
        problem.trial_loss(trial, &network.heads, &(&h * &problem.mask.form.factors(&a)))
    };
    let omega = params(&network);
    let g = grad_graph(&loss(&network, problem.trial), &omega.iter().collect::<Vec<_>>());
    let sgd = problem.sgd;
    let moved = omega.iter().zip(&g).zip(problem.buffers).map(|((w, g), b)| {
        let (w, b) = (w.detach(), Var::constant(b.clone()));
        &w - (b.scale(sgd.momentum) + g + w.scale(sgd.weight_decay)).scale(sgd.lr)
    });
    let moved = with_params(&network, moved.collect());

    let outer = Cut::new(problem, &moved, TrialStep::Contrastive);
    let first_order = outer.mask_grad.clone();
    let direction_norm = norm(&outer.grads());
    let outer = loss(&moved, TrialStep::Contrastive);
    let outer_loss = outer.value().item();
    let gradient = grad(outer, &[&a]).remove(0);
    let mixed = (&first_order - &gradient).scale(T::from_f64(1.0 / sgd.lr));
    MetaGradient { gradient, first_order, mixed, outer_loss, direction_norm }
}

impl<T: Real, E: Encode<T>> Problem<'_, T, E> {
    #[track_caller]
    fn trial_loss(&self, trial: TrialStep, heads: &super::Heads<T>, masked: &Var<T>) -> Var<T> {
        let mut pass = Pass::train(2);
        match trial {
            TrialStep::Contrastive => self.objective.contrastive(heads, masked, &mut pass),
            TrialStep::Joint => self.objective.joint(heads, masked, &mut pass).total,
        }
    }
}

/// A loss differentiated down to the features, where the graph is cut: the encoder's graph is
/// still whole, and whoever holds it decides whether it survives.
struct Cut<T: Real> {
    /// The encoder's parameters, leaves of its graph.
    encoder: Vec<Var<T>>,
    /// The features, the output of the encoder's graph.
    features: Var<T>,
    /// The loss's gradient in the features.
    cotangent: Tensor<T>,
    /// The loss's gradients in the heads' parameters.
    head_grads: Vec<Tensor<T>>,
    /// The loss's gradient in the mask's logits.
    mask_grad: Tensor<T>,
    loss: T,
}

impl<T: Real> Cut<T> {
    #[track_caller]
    fn new<E: Encode<T>>(
        problem: &Problem<'_, T, E>,
        network: &Network<T, E>,
        trial: TrialStep,
    ) -> Cut<T> {
        let network = leaves(network);
        let x = Var::constant(problem.x.clone());
        let features = network.encoder.forward(&x, &mut Pass::train(2));
        let h = Var::leaf(features.value().clone());
        let a = Var::leaf(problem.mask.logits.clone());
        let masked = &h * &problem.mask.form.factors(&a);
        let loss = problem.trial_loss(trial, &network.heads, &masked);
        drop(masked);
        let value = loss.value().item();
        let phi = params(&network.heads);
        let wrt: Vec<_> = [&h, &a].into_iter().chain(&phi).collect();
        let mut grads = grad(loss, &wrt).into_iter();
        let mut next = || grads.next().expect("one gradient for each variable");
        let (cotangent, mask_grad) = (next(), next());
        let head_grads = grads.collect();
        let encoder = params(&network.encoder);
        Cut { encoder, features, cotangent, head_grads, mask_grad, loss: value }
    }

    /// The loss's gradients in all parameters; frees the encoder's graph if nobody else holds it.
    fn grads(self) -> Vec<Tensor<T>> {
        let wrt: Vec<_> = self.encoder.iter().collect();
        let mut grads = pull(vec![(self.features, self.cotangent)], &wrt);
        grads.extend(self.head_grads);
        grads
    }
}

/// The outer loss and its derivatives, at the trial weights.
struct Outer<T: Real> {
    /// v = ∂L_con/∂ω.
    direction: Vec<Tensor<T>>,
    direction_norm: f64,
    first_order: Tensor<T>,
    loss: T,
}

impl<T: Real> Outer<T> {
    /// The outer loss after a trial step along `grads`.
    #[track_caller]
    fn after<E: Encode<T>>(problem: &Problem<'_, T, E>, grads: Vec<Tensor<T>>) -> Outer<T> {
        let omega: Vec<_> = params(problem.network).iter().map(|w| w.value().clone()).collect();
        let moved = virtual_step(&omega, grads, problem.buffers, problem.sgd);
        let moved = with_params(problem.network, moved.into_iter().map(Var::constant).collect());
        let cut = Cut::new(problem, &moved, TrialStep::Contrastive);
        let (first_order, loss) = (cut.mask_grad.clone(), cut.loss);
        let direction = cut.grads();
        Outer { direction_norm: norm(&direction), direction, first_order, loss }
    }

    /// The gradient with this mixed term.
    fn with(self, mixed: Tensor<T>, sgd: &Sgd) -> MetaGradient<T> {
        let mut gradient = self.first_order.clone();
        gradient.add_scaled(T::from_f64(-sgd.lr), &mixed);
        MetaGradient {
            gradient,
            first_order: self.first_order,
            mixed,
            outer_loss: self.loss,
            direction_norm: self.direction_norm,
        }
    }
}
