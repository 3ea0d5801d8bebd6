//! One iteration: networks first, then the mask, on the same batch.

use super::meta_gradient::{self, MetaGradient, Problem, TrialStep};
use super::{Mask, Network, Objective};
use crate::autodiff::{Var, grad};
use crate::kernels::Real;
use crate::nn::{
    Encode, LayerMoments, Moments, Pass, RunningStats, into_params, leaves, named_params, params,
    with_params,
};
use crate::optim::{Sgd, SgdState, norm};
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
}

/// What an iteration trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// The base method alone: its loss on the features as they are, no mask, no redundancy loss.
    Plain,
    /// The networks on the regular objective; the mask scales the features but does not learn.
    ///
    /// With a mask of ones this is MetaMask with its meta step switched off.
    Joint,
    /// MetaMask: as [`Mode::Joint`], then the mask.
    MetaMask(Meta),
}

/// Settings of one iteration; learning rates are those of this iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// What is trained.
    pub mode: Mode,
    /// The losses and their weights.
    pub objective: Objective,
    /// The loss of the trial step.
    pub trial: TrialStep,
    /// The networks' optimiser, which is the trial step's rule too.
    pub sgd: Sgd,
    /// The mask's optimiser.
    pub mask_sgd: Sgd,
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
            sgd: Sgd::default(),
            mask_sgd: Sgd::default(),
            running_momentum: 0.1,
            compare: None,
        }
    }
}

/// All that one iteration hands to the next.
#[derive(Clone, Debug)]
pub struct State<T: Real, E> {
    /// The networks; their parameters are constants between iterations.
    pub network: Network<T, E>,
    /// The networks' momentum, in the order of their parameters.
    pub optimizer: SgdState<T>,
    /// The mask.
    pub mask: Mask<T>,
    /// The mask's momentum: one buffer.
    pub mask_optimizer: SgdState<T>,
    /// Batch-norm's running moments, moved by the regular step's forward pass only.
    pub running: RunningStats<T>,
}

impl<T: Real, E: Encode<T>> State<T, E> {
    /// The state before the first iteration.
    pub fn new(network: Network<T, E>, mask: Mask<T>) -> State<T, E> {
        State {
            optimizer: SgdState::new(params(&network).iter().map(Var::value)),
            mask_optimizer: SgdState::new([&mask.logits]),
            running: RunningStats::new(&network),
            network,
            mask,
        }
    }

    /// The first part of the state that is not finite, in words; absent if all of it is.
    ///
    /// A step whose loss and gradient are finite can still overflow what it updates, and the next
    /// step's report is the first to see it: whoever stores a state asks here before.
    pub fn first_non_finite(&self) -> Option<String> {
        if let Some(layer) = first_non_finite_layer(&self.network, &[], &[]) {
            return Some(format!("weights of the layer {layer}"));
        }
        let named = named_params(&self.network);
        let mut momenta = named.iter().zip(&self.optimizer.buffers);
        if let Some(((name, _), _)) = momenta.find(|(_, buffer)| !buffer.is_finite()) {
            return Some(format!("momentum of the layer {}", layer_of(name)));
        }
        let sick = |mean: &Tensor<T>, var: &Tensor<T>| !mean.is_finite() || !var.is_finite();
        if let Some((layer, ..)) = self.running.iter().find(|(_, mean, var)| sick(mean, var)) {
            return Some(format!("running moments of the layer {layer}"));
        }
        if !self.mask.logits.is_finite() {
            return Some("logits of the mask".to_string());
        }
        let sick = self.mask_optimizer.buffers.iter().any(|buffer| !buffer.is_finite());
        sick.then(|| "momentum of the mask".to_string())
    }
}

/// What an iteration did.
#[derive(Clone, Debug)]
pub struct StepReport<T: Real> {
    /// The objective at the iteration's start.
    pub loss: f64,
    /// L_con, the base method's loss, not weighted.
    pub loss_con: f64,
    /// L_drr, the redundancy loss, not weighted; absent in [`Mode::Plain`].
    pub loss_drr: Option<f64>,
    /// The length of the objective's gradient over all weights.
    pub gradient_norm: f64,
    /// The mask's step; present in [`Mode::MetaMask`].
    pub mask: Option<MaskReport<T>>,
    /// What batch-norm saw in the regular step's forward pass.
    pub moments: Moments<T>,
    /// Set if something was not finite: then what would have been updated with it was not.
    pub non_finite: Option<NonFinite>,
}

/// What the mask's step did.
#[derive(Clone, Debug)]
pub struct MaskReport<T: Real> {
    /// The mask's gradient and its parts.
    pub meta: MetaGradient<T>,
    /// The length of the gradient.
    pub gradient_norm: f64,
    /// The length of its second-order part, `lr · |mixed term|`.
    pub second_order_norm: f64,
    /// The comparison that [`Settings::compare`] asked for.
    pub agreement: Option<Agreement>,
}

/// Cosines between the mask's gradient and its finite-difference estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Of the whole gradients.
    pub gradient: f64,
    /// Of the mixed terms alone, where all the difference is.
    pub mixed: f64,
}

/// The place where numbers stopped being finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// `loss_con`, `loss_drr`, `loss`, `gradient` or `mask gradient`.
    pub part: &'static str,
    /// The first layer whose parameters, batch moments or gradients are not finite; absent if all
    /// of them are, so that the part itself is to blame.
    pub layer: Option<String>,
}

/// One iteration on the batch `x`: both views stacked, `[2N, H, W, C]`, view 0 first.
///
/// In the order of the published code:
/// 1. *Regular step*: the networks descend on `w_drr · L_drr + w_con · L_con`, the mask a constant.
/// 2. *Mask step* (in [`Mode::MetaMask`]): at the new weights and momentum, on the same batch, the
///    gradient of L_con after a trial step; the mask descends along it.
///
/// A step whose numbers are not finite is not taken: the state comes back as it was before it, and
/// the report says where it happened.
///
/// # Panics
/// If the batch does not fit the networks, if there is no redundancy head in a mode that needs one,
/// or if the trial step would be a nesterov step.
#[track_caller]
pub fn step<T: Real, E: Encode<T>>(
    state: State<T, E>,
    x: &Tensor<T>,
    settings: &Settings,
) -> (State<T, E>, StepReport<T>) {
    let (state, report) = regular_step(state, x, settings);
    match settings.mode {
        Mode::MetaMask(meta) if report.non_finite.is_none() => {
            mask_step(state, x, settings, meta, report)
        }
        _ => (state, report),
    }
}

#[track_caller]
fn regular_step<T: Real, E: Encode<T>>(
    mut state: State<T, E>,
    x: &Tensor<T>,
    settings: &Settings,
) -> (State<T, E>, StepReport<T>) {
    let network = leaves(&state.network);
    let mut pass = Pass::train(2);
    let h = network.encoder.forward(&Var::constant(x.clone()), &mut pass);
    let (loss, loss_con, loss_drr) = match settings.mode {
        Mode::Plain => {
            let con = settings.objective.contrastive(&network.heads, &h, &mut pass);
            let value = con.item();
            (con, value, None)
        }
        Mode::Joint | Mode::MetaMask(_) => {
            let masked = &h * &Var::constant(state.mask.factors());
            let joint = settings.objective.joint(&network.heads, &masked, &mut pass);
            let parts = (joint.con.item(), joint.drr.item());
            (joint.total, parts.0, Some(parts.1))
        }
    };
    // The gradient frees the graph as it walks, so nothing else may hold on to it.
    drop(h);
    let wrt = params(&network);
    drop(network);
    let mut report = StepReport {
        loss: loss.item(),
        loss_con,
        loss_drr,
        gradient_norm: f64::NAN,
        mask: None,
        moments: pass.into_moments(),
        non_finite: None,
    };
    let parts =
        [("loss_con", loss_con), ("loss_drr", loss_drr.unwrap_or(0.0)), ("loss", report.loss)];
    if let Some((part, _)) = parts.into_iter().find(|(_, value)| !value.is_finite()) {
        let layer = first_non_finite_layer(&state.network, &report.moments, &[]);
        report.non_finite = Some(NonFinite { part, layer });
        return (state, report);
    }
    let grads = grad(loss, &wrt.iter().collect::<Vec<_>>());
    drop(wrt);
    report.gradient_norm = norm(&grads);
    if !report.gradient_norm.is_finite() {
        let layer = first_non_finite_layer(&state.network, &report.moments, &grads);
        report.non_finite = Some(NonFinite { part: "gradient", layer });
        return (state, report);
    }
    let (hollow, weights) = into_params(state.network);
    let (weights, optimizer) = settings.sgd.step(weights, &grads, state.optimizer);
    state.running.update(&report.moments, settings.running_momentum);
    let network = with_params(&hollow, weights.into_iter().map(Var::constant).collect());
    (State { network, optimizer, ..state }, report)
}

#[track_caller]
fn mask_step<T: Real, E: Encode<T>>(
    state: State<T, E>,
    x: &Tensor<T>,
    settings: &Settings,
    meta: Meta,
    mut report: StepReport<T>,
) -> (State<T, E>, StepReport<T>) {
    let problem = Problem {
        network: &state.network,
        buffers: &state.optimizer.buffers,
        sgd: &settings.sgd,
        mask: &state.mask,
        objective: &settings.objective,
        trial: settings.trial,
        x,
    };
    let meta = match meta {
        Meta::Exact => meta_gradient::exact(&problem),
        Meta::FiniteDifference { r } => meta_gradient::finite_difference(&problem, r),
        Meta::FirstOrder => meta_gradient::first_order(&problem),
    };
    let agreement = settings.compare.map(|r| {
        let other = meta_gradient::finite_difference(&problem, r);
        Agreement {
            gradient: cosine(&meta.gradient, &other.gradient),
            mixed: cosine(&meta.mixed, &other.mixed),
        }
    });
    let gradient_norm = length(&meta.gradient);
    let second_order_norm = settings.sgd.lr * length(&meta.mixed);
    let gradient = meta.gradient.clone();
    report.mask = Some(MaskReport { meta, gradient_norm, second_order_norm, agreement });
    if !gradient_norm.is_finite() {
        let layer = first_non_finite_layer(&state.network, &[], &[]);
        report.non_finite = Some(NonFinite { part: "mask gradient", layer });
        return (state, report);
    }
    let Mask { logits, form } = state.mask;
    let (mut logits, mask_optimizer) =
        settings.mask_sgd.step(vec![logits], &[gradient], state.mask_optimizer);
    let mask = Mask { logits: logits.remove(0), form };
    (State { mask, mask_optimizer, ..state }, report)
}

fn length<T: Real>(tensor: &Tensor<T>) -> f64 {
    norm(std::slice::from_ref(tensor))
}

fn cosine<T: Real>(a: &Tensor<T>, b: &Tensor<T>) -> f64 {
    a.dot(b).to_f64() / (length(a) * length(b))
}

/// The first layer with a parameter that is not finite, else the first whose batch moments are
/// not, else the first whose gradient is not.
fn first_non_finite_layer<T: Real, E: Encode<T>>(
    network: &Network<T, E>,
    moments: &[LayerMoments<T>],
    grads: &[Tensor<T>],
) -> Option<String> {
    let named = named_params(network);
    let sick = named.iter().find(|(_, var)| !var.value().is_finite());
    let sick_moments = || moments.iter().find(|m| !m.mean.is_finite() || !m.var.is_finite());
    let sick_grad = || named.iter().zip(grads).find(|(_, grad)| !grad.is_finite());
    sick.map(|(name, _)| layer_of(name))
        .or_else(|| sick_moments().map(|moments| moments.name.clone()))
        .or_else(|| sick_grad().map(|((name, _), _)| layer_of(name)))
}

/// The layer that the parameter `name` belongs to.
fn layer_of(name: &str) -> String {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer).to_string()
}
