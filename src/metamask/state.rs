//! What one iteration hands to the next, and where it stopped being finite.

use super::{Mask, Memory, Network, Settings, Target};
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Encode, LayerMoments, RunningStats, named_params, params};
use crate::optim::OptimizerState;
use crate::tensor::Tensor;

/// All that one iteration hands to the next.
#[derive(Clone, Debug)]
pub struct State<T: Real, E> {
    /// The networks; their parameters are constants between iterations.
    pub network: Network<T, E>,
    /// What the networks' optimiser remembers, in the order of their parameters.
    pub optimizer: OptimizerState<T>,
    /// The mask.
    pub mask: Mask<T>,
    /// What the mask's optimiser remembers, of its one parameter.
    pub mask_optimizer: OptimizerState<T>,
    /// Batch-norm's running moments, moved by the regular step's forward pass only.
    pub running: RunningStats<T>,
    /// What the base method remembers besides its weights.
    pub memory: Memory<T, E>,
}

impl<T: Real, E: Encode<T>> State<T, E> {
    /// The state before the first iteration, of a base method that remembers nothing.
    ///
    /// For BYOL and NNCLR set `memory` afterwards.
    pub fn new(network: Network<T, E>, mask: Mask<T>, settings: &Settings) -> State<T, E> {
        State {
            optimizer: settings.optimizer.start(params(&network).iter().map(Var::value)),
            mask_optimizer: settings.mask_optimizer.start([&mask.logits]),
            running: RunningStats::new(&network),
            network,
            mask,
            memory: Memory::Empty,
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
        for slot in &self.optimizer.slots {
            let mut momenta = named.iter().zip(slot);
            if let Some(((name, _), _)) = momenta.find(|(_, buffer)| !buffer.is_finite()) {
                return Some(format!("momentum of the layer {}", layer_of(name)));
            }
        }
        let sick = |mean: &Tensor<T>, var: &Tensor<T>| !mean.is_finite() || !var.is_finite();
        if let Some((layer, ..)) = self.running.iter().find(|(_, mean, var)| sick(mean, var)) {
            return Some(format!("running moments of the layer {layer}"));
        }
        if !self.mask.logits.is_finite() {
            return Some("logits of the mask".to_string());
        }
        if self.mask_optimizer.slots.iter().flatten().any(|buffer| !buffer.is_finite()) {
            return Some("momentum of the mask".to_string());
        }
        self.memory.first_non_finite()
    }
}

impl<T: Real, E> State<T, E> {
    /// The same state with `f` of each encoder in its place: the network's and BYOL's target's.
    #[must_use]
    pub fn map_encoder<F>(self, f: impl Fn(E) -> F) -> State<T, F> {
        let Network { encoder, heads } = self.network;
        State {
            network: Network { encoder: f(encoder), heads },
            optimizer: self.optimizer,
            mask: self.mask,
            mask_optimizer: self.mask_optimizer,
            running: self.running,
            memory: match self.memory {
                Memory::Empty => Memory::Empty,
                Memory::Queue(queue) => Memory::Queue(queue),
                Memory::Target(target) => {
                    let Target { encoder, projector } = *target;
                    Memory::Target(Box::new(Target { encoder: f(encoder), projector }))
                }
            },
        }
    }
}

/// The place where numbers stopped being finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonFinite {
    /// `loss_con`, `loss_drr`, `loss`, `gradient`, `mask gradient` or a part of the last.
    pub part: &'static str,
    /// The first layer whose parameters, batch moments or gradients are not finite; absent if all
    /// of them are, so that the part itself is to blame.
    pub layer: Option<String>,
    /// What the step had moved by then.
    pub moved: Moved,
}

/// What a step has moved before it found something that is not finite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The state is the one from before the step.
    Nothing,
    /// The networks have taken their step, the mask and the memory have not.
    Networks,
}

/// The first layer with a parameter that is not finite, else the first whose batch moments are
/// not, else the first whose gradient is not.
pub(super) fn first_non_finite_layer<T: Real, E: Encode<T>>(
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
pub(super) fn layer_of(name: &str) -> String {
    name.rsplit_once('.').map_or(name, |(layer, _)| layer).to_string()
}
