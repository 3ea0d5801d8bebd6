//! One iteration: networks first, then the mask, then the memory, on the same batch.

use super::cut::Cut;
use super::meta_gradient::{self, MetaGradient, Problem, Trial, TrialStep};
use super::state::first_non_finite_layer;
use super::{Anchors, Joint, Mask, Memory, Moved, Network, NonFinite, Objective, State};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{
    Encode, LayerMoments, Module, Moments, Pass, enter, into_params, params, with_params,
};
use crate::optim::{Optimizer, Sgd, norm};
use crate::tensor::Tensor;

/// How the mask's gradient is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meta {
    /// [`meta_gradient::exact`].
    Exact,
    /// [`meta_gradient::finite_difference`].
    FiniteDifference {
        /// The length of the probing step; 0.01 as published.
        r: f64,
    },
    /// [`meta_gradient::first_order`].
    FirstOrder,
    /// [`meta_gradient::unrolled`].
    Unrolled {
        /// How many trial steps.
        steps: usize,
    },
}

/// What an iteration trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// The base method alone: its loss on the features as they are, no mask, no redundancy loss.
    Plain,
    /// The networks on the regular objective; the mask scales the features but does not learn.
    ///
    /// With a mask of ones this is `MetaMask` with its meta step switched off.
    Joint,
    /// The networks and the mask on the regular objective, by its ordinary gradient.
    Regular,
    /// `MetaMask`: as [`Mode::Joint`], then the mask by its gradient through a trial step.
    MetaMask(Meta),
}

/// Settings of one iteration; learning rates are those of this iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What is trained.
    pub mode: Mode,
    /// The losses and their weights.
    pub objective: Objective,
    /// Which step the trial step is.
    pub trial: TrialStep,
    /// The networks' optimiser, which is the trial step's rule too.
    pub optimizer: Optimizer,
    /// The mask's optimiser.
    pub mask_optimizer: Optimizer,
    /// How much of itself BYOL's target network keeps in this iteration.
    pub target_momentum: f64,
    /// The weight of a new batch in batch-norm's running moments.
    pub running_momentum: f64,
    /// Whether to compare the mask's gradient with the finite difference of this `r`: worth it
    /// every now and then, because it costs another iteration.
    pub compare: Option<f64>,
}

impl Default for Settings {
    /// The published settings, with the exact gradient.
    fn default() -> Settings {
        Settings {
            mode: Mode::MetaMask(Meta::Exact),
            objective: Objective::default(),
            trial: TrialStep::Contrastive,
            optimizer: Optimizer::Sgd(Sgd::default()),
            mask_optimizer: Optimizer::Sgd(Sgd::default()),
            target_momentum: 0.99,
            running_momentum: 0.1,
            compare: None,
        }
    }
}

/// What an iteration did.
#[derive(Clone, Debug)]
pub struct StepReport<T: Real> {
    /// The objective at the iteration's start.
    pub loss: f64,
    /// L_con, the base method's loss, not weighted.
    pub loss_con: f64,
    /// L_drr, the redundancy loss, not weighted; absent in [`Mode::Plain`] and without its head.
    pub loss_drr: Option<f64>,
    /// The length of the objective's gradient over all weights.
    pub gradient_norm: f64,
    /// The mask's step; present where the mask learns.
    pub mask: Option<MaskReport<T>>,
    /// What batch-norm saw in the regular step's forward pass.
    pub moments: Moments<T>,
    /// Set if something was not finite: then what would have been updated with it was not.
    pub non_finite: Option<NonFinite>,
}

/// What the mask's step did.
#[derive(Clone, Debug)]
pub struct MaskReport<T: Real> {
    /// The length of the gradient.
    pub gradient_norm: f64,
    /// The mask's gradient through a trial step and its parts; absent in [`Mode::Regular`].
    pub meta: Option<MetaGradient<T>>,
    /// The comparison that [`Settings::compare`] asked for.
    pub agreement: Option<Agreement>,
}

/// How the mask's gradient compares with its finite-difference estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The cosine between the whole gradients.
    pub gradient: f64,
    /// The length of the whole gradients' difference over that of the gradient.
    pub gradient_error: f64,
    /// The cosine between the second-order parts, where all the difference is.
    pub second_order: f64,
    /// The length of the difference over that of the second-order part.
    pub second_order_error: f64,
}

/// One iteration on the batch `x`: both views stacked, `[2N, H, W, C]`, view 0 first.
///
/// In the order of the published code:
/// 1. *Anchors*: what the base method compares with is found, once, by the weights, the mask and
///    the memory as they are now.
/// 2. *Regular step*: the networks descend on `w_drr · L_drr + w_con · L_con`, the mask a constant.
/// 3. *Mask step* (in [`Mode::MetaMask`]): at the new weights and momentum, on the same batch, the
///    gradient of L_con after a trial step; the mask descends along it. With
///    [`TrialStep::JointShared`] the regular step is the trial step.
/// 4. *Memory*: BYOL's target follows the new weights, NNCLR's queue takes in the batch.
///
/// A step whose loss or gradient is not finite is not taken: the state comes back as it was before
/// it, and the report says where it happened. If only the mask's gradient is not finite, the
/// networks have moved by then, which the report says too.
///
/// # Panics
/// If the batch, the mask or the optimisers' state does not fit the networks, or if the memory is
/// not that of the base method's loss.
///
/// # Example
/// One iteration on four random pictures:
/// ```
/// use dimask::Tensor;
/// use dimask::metamask::{HeadShapes, Mask, MaskForm, Network, Settings, State, step};
/// use dimask::nn::{Conv4, Encode, Init};
/// let init = Init::new(1);
/// let encoder = Conv4::<f32>::new(1, &init);
/// let mask = Mask::new(encoder.features(), MaskForm::Sigmoid);
/// let shapes = HeadShapes { base: vec![32, 16], redundancy: vec![32], ..HeadShapes::default() };
/// let settings = Settings::default();
/// let state = State::new(Network::new(encoder, &shapes, &init), mask, &settings);
/// let x = Tensor::from_fn(&[8, 16, 16, 1], |i| (i as f32 * 0.37).sin()); // two views of each
/// let (state, report) = step(state, &x, &settings);
/// assert!(report.non_finite.is_none() && report.loss_con > 0.0);
/// assert!(state.mask.logits.as_slice().iter().any(|&a| a != 0.0)); // it has moved
/// ```
#[track_caller]
pub fn step<T: Real, E: Encode<T>>(
    state: State<T, E>,
    x: &Tensor<T>,
    settings: &Settings,
) -> (State<T, E>, StepReport<T>) {
    state.check("step", x, settings);
    let Look { cut, z, anchors, mut report } = look(&state, x, settings);
    let sick_loss = [
        ("loss_con", report.loss_con),
        ("loss_drr", report.loss_drr.unwrap_or(0.0)),
        ("loss", report.loss),
    ];
    if let Some((part, _)) = sick_loss.into_iter().find(|(_, value)| !value.is_finite()) {
        let layer = first_non_finite_layer(&state.network, &report.moments, &[]);
        report.non_finite = Some(NonFinite { part, layer, moved: Moved::Nothing });
        return (state, report);
    }
    let shares =
        settings.trial == TrialStep::JointShared && matches!(settings.mode, Mode::MetaMask(_));
    let exact = settings.mode == Mode::MetaMask(Meta::Exact);
    let graph = (shares && exact).then(|| cut.graph.clone());
    let mask_grad = cut.mask_grad.clone();
    let grads = cut.grads();
    report.gradient_norm = norm(&grads);
    if !report.gradient_norm.is_finite() {
        let layer = first_non_finite_layer(&state.network, &report.moments, &grads);
        let moved = Moved::Nothing;
        report.non_finite = Some(NonFinite { part: "gradient", layer, moved });
        return (state, report);
    }
    // A trial step that is shared starts from the weights as they still are.
    let before = shares.then(|| (copy(&state.network), state.optimizer.clone()));
    let mut state = state.regular_step(&grads, &report.moments, settings);
    let gradient = match settings.mode {
        Mode::Plain | Mode::Joint => None,
        Mode::Regular => {
            let gradient_norm = mask_grad.as_ref().map_or(f64::NAN, length);
            report.mask = Some(MaskReport { gradient_norm, meta: None, agreement: None });
            mask_grad
        }
        Mode::MetaMask(meta) => {
            let moved = || params(&state.network).iter().map(|w| w.value().clone()).collect();
            let trial = shares.then(|| Trial {
                graph,
                grads: meta_gradient::kept(&settings.optimizer, &grads),
                moved: moved(),
            });
            let (network, optimizer) = match &before {
                Some((network, optimizer)) => (network, optimizer),
                None => (&state.network, &state.optimizer),
            };
            let problem = Problem {
                network,
                state: optimizer,
                optimizer: &settings.optimizer,
                mask: &state.mask,
                objective: &settings.objective,
                anchors: anchors.as_ref(),
                trial: settings.trial,
                x,
            };
            let mask = mask_gradient(&problem, meta, trial, settings.compare);
            let gradient = mask.meta.as_ref().map(|meta| meta.gradient.clone());
            report.mask = Some(mask);
            gradient
        }
    };
    if let Some(gradient) = gradient {
        if !gradient.is_finite() {
            let layer = first_non_finite_layer(&state.network, &[], &[]);
            let meta = report.mask.as_ref().and_then(|mask| mask.meta.as_ref());
            let part = meta.map_or("mask gradient", MetaGradient::first_non_finite);
            report.non_finite = Some(NonFinite { part, layer, moved: Moved::Networks });
            return (state, report);
        }
        state = state.mask_step(gradient, settings);
    }
    state.memory = state.memory.after(&state.network, &z, settings.target_momentum);
    (state, report)
}

/// What the regular forward pass saw.
struct Look<T: Real> {
    cut: Cut<T>,
    /// The base method's projections, `[2N, P]`.
    z: Tensor<T>,
    anchors: Option<Anchors<T>>,
    report: StepReport<T>,
}

/// The forward pass of the regular step, differentiated down to the features.
#[track_caller]
fn look<T: Real, E: Encode<T>>(state: &State<T, E>, x: &Tensor<T>, settings: &Settings) -> Look<T> {
    enter(&state.network, "the regular step");
    let mask = (settings.mode != Mode::Plain).then_some(&state.mask);
    let mut pass = Pass::train(2);
    let (mut z, mut anchors, mut losses) = (None, None, None);
    let cut = Cut::new(&state.network, mask, x, &mut pass, |heads, masked, pass| {
        let projections = heads.project(masked, pass);
        let factors = mask.map(Mask::factors);
        anchors = state.memory.anchors(x, factors.as_ref(), projections.z.value());
        let con = settings.objective.contrastive_of(&projections, anchors.as_ref());
        z = Some(projections.z.value().clone());
        drop(projections);
        let joint = match mask {
            None => Joint { total: con.clone(), con, drr: None },
            Some(_) => settings.objective.joint_of(con, heads, masked, pass),
        };
        losses = Some((joint.total.item(), joint.con.item(), joint.drr.map(|drr| drr.item())));
        joint.total
    });
    let (loss, loss_con, loss_drr) = losses.expect("the loss has been taken");
    let report = StepReport {
        loss,
        loss_con,
        loss_drr,
        gradient_norm: f64::NAN,
        mask: None,
        moments: pass.into_moments(),
        non_finite: None,
    };
    Look { cut, z: z.expect("as the loss"), anchors, report }
}

/// The mask's gradient, after a trial step that may have been taken already.
#[track_caller]
fn mask_gradient<T: Real, E: Encode<T>>(
    problem: &Problem<'_, T, E>,
    meta: Meta,
    trial: Option<Trial<T>>,
    compare: Option<f64>,
) -> MaskReport<T> {
    let meta = match (meta, trial) {
        (Meta::Exact, None) => meta_gradient::exact(problem),
        (Meta::Exact, Some(trial)) => problem.exact(trial),
        (Meta::FiniteDifference { r }, None) => meta_gradient::finite_difference(problem, r),
        (Meta::FiniteDifference { r }, Some(trial)) => problem.finite_difference(trial, r),
        (Meta::FirstOrder, None) => meta_gradient::first_order(problem),
        (Meta::FirstOrder, Some(trial)) => problem.first_order(trial),
        (Meta::Unrolled { steps }, _) => meta_gradient::unrolled(problem, steps),
    };
    let agreement = compare.map(|r| {
        let other = meta_gradient::finite_difference(problem, r);
        let error = |a: &Tensor<T>, b: &Tensor<T>| length(&(b - a)) / length(a);
        Agreement {
            gradient: cosine(&meta.gradient, &other.gradient),
            gradient_error: error(&meta.gradient, &other.gradient),
            second_order: cosine(&meta.second_order, &other.second_order),
            second_order_error: error(&meta.second_order, &other.second_order),
        }
    });
    MaskReport { gradient_norm: length(&meta.gradient), meta: Some(meta), agreement }
}

impl<T: Real, E: Encode<T>> State<T, E> {
    /// Refuses parts that do not fit each other, before any of them is run.
    #[track_caller]
    fn check(&self, op: &str, x: &Tensor<T>, settings: &Settings) {
        let (network, base) = (&self.network, settings.objective.base);
        let mask = (settings.mode != Mode::Plain).then_some(&self.mask);
        let [_, width] = network.check(op, &settings.objective, mask, x);
        let features = network.encoder.features();
        let (fits, memory) = match &self.memory {
            Memory::Empty => (!base.compares(), "empty"),
            Memory::Queue(queue) => (queue.rows.shape().get(1) == Some(&width), "a queue"),
            Memory::Target(target) => {
                let same = target.encoder.features() == features;
                (same && target.projector.outputs(features) == Some(width), "a target")
            }
        };
        let fits = fits && base.compares() != matches!(self.memory, Memory::Empty);
        let name = base.name();
        assert!(fits, "{op}: the memory, {memory}, is not one of {name} for {width} dimensions");
        let weights: Vec<_> = params(network).iter().map(|w| w.value().clone()).collect();
        settings.optimizer.check(op, &weights, &weights, &self.optimizer);
        let logits = std::slice::from_ref(&self.mask.logits);
        if matches!(settings.mode, Mode::Regular | Mode::MetaMask(_)) {
            settings.mask_optimizer.check(op, logits, logits, &self.mask_optimizer);
        }
        if let Mode::MetaMask(Meta::Unrolled { steps: 0 }) = settings.mode {
            panic!("{op}: a mask gradient through 0 trial steps");
        }
    }

    #[track_caller]
    fn regular_step(
        mut self,
        grads: &[Tensor<T>],
        moments: &[LayerMoments<T>],
        settings: &Settings,
    ) -> State<T, E> {
        let (hollow, weights) = into_params(self.network);
        let (weights, optimizer) = settings.optimizer.step(weights, grads, self.optimizer);
        self.running.update(moments, settings.running_momentum);
        let network = with_params(&hollow, weights.into_iter().map(Var::constant).collect());
        State { network, optimizer, ..self }
    }

    fn mask_step(self, gradient: Tensor<T>, settings: &Settings) -> State<T, E> {
        let Mask { logits, form } = self.mask;
        let (mut logits, mask_optimizer) =
            settings.mask_optimizer.step(vec![logits], &[gradient], self.mask_optimizer);
        let mask = Mask { logits: logits.remove(0), form };
        State { mask, mask_optimizer, ..self }
    }
}

/// The same network; its tensors are shared until one of the two is updated.
fn copy<T: Real, E: Encode<T>>(network: &Network<T, E>) -> Network<T, E> {
    network.map_params(&mut |_, var, _| var.clone())
}

fn length<T: Real>(tensor: &Tensor<T>) -> f64 {
    norm(std::slice::from_ref(tensor))
}

fn cosine<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> f64 {
    a.dot(b).to_f64() / (length(a) * length(b))
}
