//! The mask's gradient of every method, on networks without kinks.

use std::fmt;

use super::Numbers;
use super::losses::projections;
use crate::autodiff::Var;
use crate::autodiff::check::{CheckOptions, check_gradient};
use crate::metamask::meta_gradient::{exact, finite_difference, first_order, reverse_over_reverse};
use crate::metamask::{
    Anchors, HeadShapes, Mask, MaskForm, Memory, Network, Objective, Problem, Target, TrialStep,
};
use crate::nn::{Encode, Init, Layout, Linear, Module, Pass, params};
use crate::optim::{Optimizer, OptimizerState, Sgd};
use crate::ssl::{Loss, Queue};
use crate::tensor::Tensor;

/// The smooth encoder: `h = tanh(x w + b)`.
#[derive(Clone, Debug)]
pub struct Smooth(pub Linear<f64>);

impl Module<f64> for Smooth {
    fn map_params(&self, f: &mut dyn FnMut(&str, &Var<f64>, Layout) -> Var<f64>) -> Self {
        Smooth(self.0.map_params(f))
    }
}

impl Encode<f64> for Smooth {
    fn features(&self) -> usize {
        self.0.weight.shape()[1]
    }

    #[track_caller]
    fn forward(&self, x: &Var<f64>, _: &mut Pass<'_, f64>) -> Var<f64> {
        self.0.forward(x).tanh()
    }
}

/// A network at ω with its optimiser, a mask, anchors and a batch: what a [`Problem`] borrows.
#[derive(Clone, Debug)]
pub struct Setting<E> {
    /// The network.
    pub network: Network<f64, E>,
    /// The optimiser's state.
    pub state: OptimizerState<f64>,
    /// The rule of the trial step.
    pub optimizer: Optimizer,
    /// The mask.
    pub mask: Mask<f64>,
    /// The losses.
    pub objective: Objective,
    /// What the base method compares with.
    pub anchors: Option<Anchors<f64>>,
    /// Which step the trial step is.
    pub trial: TrialStep,
    /// Two stacked views.
    pub x: Tensor<f64>,
}

/// The mask's gradient in two exact forms and by differences of the outer loss. Errors are relative
/// to its largest entry, unless a field says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskCheck {
    /// How far [`exact`] is from [`reverse_over_reverse`].
    pub twin: f64,
    /// The largest error of an entry against differences of the outer loss, anchors frozen;
    /// infinite where [`check_gradient`] does not call every entry right.
    pub differences: f64,
    /// How far the published approximation is, with r = 0.001.
    pub approximation: f64,
    /// How large the second-order part is.
    pub second_order: f64,
}

impl MaskCheck {
    /// The largest [`MaskCheck::twin`] of a right gradient.
    pub const TWIN: f64 = 1e-10;

    /// Whether the gradient is right.
    pub fn holds(&self) -> bool {
        self.twin <= MaskCheck::TWIN && self.differences.is_finite()
    }
}

impl fmt::Display for MaskCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reverse over reverse {:.1e}, differences {:.1e} (second-order part {:.1e}, \
             published approximation {:.1e})",
            self.twin, self.differences, self.second_order, self.approximation
        )
    }
}

impl<E: Encode<f64>> Setting<E> {
    /// The problem that is set.
    pub fn problem(&self) -> Problem<'_, f64, E> {
        Problem {
            network: &self.network,
            state: &self.state,
            optimizer: &self.optimizer,
            mask: &self.mask,
            objective: &self.objective,
            anchors: self.anchors.as_ref(),
            trial: self.trial,
            x: &self.x,
        }
    }

    /// The whole outer objective with other logits.
    fn outer(&self, logits: Tensor<f64>) -> f64 {
        let mask = Mask { logits, ..self.mask.clone() };
        first_order(&Problem { mask: &mask, ..self.problem() }).outer_loss
    }

    /// dJ/da by central differences of the whole outer objective.
    ///
    /// # Panics
    /// If the parts of the problem do not fit each other.
    #[track_caller]
    pub fn differences(&self, step: f64) -> Tensor<f64> {
        self.problem().check("differences");
        let outer = |j: usize, step: f64| {
            let mut logits = self.mask.logits.clone();
            logits.make_mut()[j] += step;
            self.outer(logits)
        };
        let slope = |j| (outer(j, step) - outer(j, -step)) / (2.0 * step);
        Tensor::from_fn(self.mask.logits.shape(), slope)
    }

    /// The mask's gradient against its twin and against differences.
    ///
    /// # Panics
    /// If the parts of the problem do not fit each other.
    #[track_caller]
    pub fn check(&self) -> MaskCheck {
        let problem = self.problem();
        problem.check("check");
        let gradient = exact(&problem);
        let error = |other: &Tensor<f64>| error(&gradient.gradient, other);
        let logits = &self.mask.logits;
        let found = check_gradient(
            |a| self.outer(Tensor::from_vec(a.to_vec(), logits.shape())),
            |_| gradient.gradient.to_vec(),
            logits.as_slice(),
            &CheckOptions::default(),
        );
        let worst = found.ok().and_then(|report| report.worst);
        MaskCheck {
            twin: error(&reverse_over_reverse(&problem).gradient),
            differences: worst.map_or(f64::INFINITY, |worst| worst.error()),
            approximation: error(&finite_difference(&problem, 1e-3).gradient),
            second_order: error(&gradient.first_order),
        }
    }
}

/// The largest difference from `expected`, relative to its largest entry.
fn error(got: &Tensor<f64>, expected: &Tensor<f64>) -> f64 {
    let largest = expected.as_slice().iter().fold(0.0f64, |max, e| max.max(e.abs()));
    let pairs = got.as_slice().iter().zip(expected.as_slice());
    // A NaN is no small error.
    let worst = pairs.map(|(g, e)| (g - e).abs()).fold(0.0, |a: f64, b| if b <= a { a } else { b });
    worst / largest
}

/// A small smooth network for a base method's loss, with heads, state and anchors as it needs them.
pub fn smooth(loss: Loss, trial: TrialStep) -> Setting<Smooth> {
    let mut numbers = Numbers::new(20);
    let init = Init::new(21);
    let shapes = HeadShapes {
        base: vec![4],
        predictor: if loss.compares() { vec![4] } else { vec![] },
        redundancy: vec![3],
        ..HeadShapes::default()
    };
    let encoder = |name: &str| Smooth(Linear::new(name, 6, 5, &init));
    let network = Network::new(encoder("fc"), &shapes, &init);
    let [view, change] = projections(&mut numbers, 6);
    let x = Tensor::concat(&[&view, &(&view + &change.scale(0.3))], 0);
    let mask = Mask { logits: numbers.uniform(&[5], -0.5, 0.5), form: MaskForm::Sigmoid };
    let memory = match loss {
        Loss::Byol => {
            let mut target = Target::of(&network);
            target.encoder = encoder("another");
            Memory::Target(Box::new(target))
        }
        Loss::Nnclr { .. } => Memory::Queue(Queue::new(12, 4, 22)),
        _ => Memory::Empty,
    };
    let masked = network.encoder.forward(&Var::constant(x.clone()), &mut Pass::train(2))
        * Var::constant(mask.factors());
    let z = network.heads.project(&masked, &mut Pass::train(2)).z;
    let anchors = memory.anchors(&x, Some(&mask.factors()), z.value());
    let sgd = Sgd { lr: 0.1, ..Sgd::default() };
    let momentum = params(&network).iter().map(|p| numbers.uniform(p.shape(), -0.1, 0.1)).collect();
    Setting {
        network,
        state: OptimizerState { slots: vec![momentum], steps: 1 },
        optimizer: Optimizer::Sgd(sgd),
        mask,
        objective: Objective { base: loss, w_con: 2.0, w_drr: 0.7, ..Objective::default() },
        anchors,
        trial,
        x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::{Adam, AdamDecay, Clip, Lars, LarsForm, Scope};
    use crate::ssl::{BarlowTwins, Dcl, Hcl};

    const TRIALS: [TrialStep; 2] = [TrialStep::Contrastive, TrialStep::Joint];

    #[track_caller]
    fn right<E: Encode<f64>>(what: &str, setting: &Setting<E>) {
        let check = setting.check();
        assert!(check.holds(), "{what}: {check}");
        // The second-order part is no small thing here, and the approximation is one.
        assert!(check.second_order > 1e-4, "{what}: {check}");
        assert!(check.approximation > MaskCheck::TWIN && check.approximation < 1e-2, "{check}");
    }

    #[test]
    fn the_mask_gradient_of_every_method_is_exact() {
        let losses = [
            Loss::BarlowTwins(BarlowTwins::default()),
            Loss::NtXent { temperature: 0.5 },
            Loss::Byol,
            Loss::Dcl(Dcl::default()),
            Loss::Hcl(Hcl::default()),
            Loss::Nnclr { temperature: 0.2 },
        ];
        for (loss, trial) in losses.into_iter().flat_map(|l| TRIALS.map(|t| (l, t))) {
            right(loss.name(), &smooth(loss, trial));
            // One head only: no redundancy loss.
            let mut one = smooth(loss, trial);
            one.network.heads.redundancy = None;
            let count = params(&one.network).len();
            let head = params(&one.network.encoder).len();
            // Its four parameters came after the encoder's.
            one.state.slots[0].drain(head..head + 4);
            assert_eq!(one.state.slots[0].len(), count);
            right(loss.name(), &one);
        }
    }

    #[test]
    fn the_mask_gradient_through_every_optimiser_is_exact() {
        let sgd = Sgd { lr: 0.1, ..Sgd::default() };
        let lars = |form| Lars {
            lr: 0.5,
            momentum: 0.9,
            weight_decay: 0.01,
            eta: 0.1,
            form,
            scope: Scope::Matrices,
        };
        let adam = |decay| Adam {
            lr: 0.01,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.01,
            decay,
            scope: Scope::All,
        };
        let rules = [
            Optimizer::Sgd(Sgd { nesterov: true, ..sgd }),
            Optimizer::Lars(lars(LarsForm::Outside)),
            Optimizer::Lars(lars(LarsForm::Inside)),
            Optimizer::Lars(lars(LarsForm::Clipped { eps: 1e-8, clip: Clip::On })),
            Optimizer::Lars(lars(LarsForm::Clipped { eps: 1e-8, clip: Clip::Off })),
            Optimizer::Adam(adam(AdamDecay::L2)),
            Optimizer::Adam(adam(AdamDecay::Decoupled)),
        ];
        for rule in rules {
            let mut setting = smooth(Loss::NtXent { temperature: 0.5 }, TrialStep::Contrastive);
            // A state that the rule has come to by itself.
            let grads = std::mem::take(&mut setting.state.slots[0]);
            let weights: Vec<_> =
                params(&setting.network).iter().map(|p| p.value().clone()).collect();
            setting.state = rule.step(weights.clone(), &grads, rule.start(&weights)).1;
            setting.optimizer = rule;
            right(&format!("{rule:?}"), &setting);
        }
    }

    #[test]
    fn a_wrong_gradient_does_not_hold() {
        let setting = smooth(Loss::NtXent { temperature: 0.5 }, TrialStep::Contrastive);
        let gradient = exact(&setting.problem());
        let expected = setting.differences(1e-5);
        // The well-known slip, (g+ - g-) / 2 * step where (g+ - g-) / (2 * step) is meant.
        let step = 1e-3 / (gradient.direction_norm.unwrap() * setting.optimizer.lr());
        let slip = |factor: f64| {
            let mut gradient = gradient.first_order.clone();
            gradient.add_scaled(factor, &finite_difference(&setting.problem(), 1e-3).second_order);
            error(&gradient, &expected)
        };
        assert!(slip(1.0) < 1e-4, "{:e}", slip(1.0));
        assert!(slip(step * step) > 1e-2, "{:e}", slip(step * step));
    }
}
