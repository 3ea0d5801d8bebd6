//! What the ranks of a run exchange in a step, from its settings alone.
//!
//! The model counts collectives, of which [`Ranks`](crate::comm::Ranks) says what each costs. With
//! `C` the channels of a batch-norm of the encoder, in two views, and `n` a rank's images:
//!
//! | pass of the encoder | exchanges |
//! |---|---|
//! | forward | a batch-norm: sums of `2C` means, then of `2C` variances; the features `[2n, D]` |
//! | backward | a batch-norm: the sum of `6C` numbers; buckets of gradients: their sums |
//! | forward mode | a batch-norm: the sum of `6C` numbers; the features' tangent |
//!
//! Heads, losses, mask and memory exchange nothing: every rank computes them.
//! [`BatchNormOver::EachRank`] has no sums but one of all moments in a forward pass.
//! A step consists of a forward and a backward pass of the regular step; BYOL's target is one more
//! forward pass; what the mask's gradient takes is said at [`Meta`].

use crate::comm::{BUCKET, Traffic, traffic_of_gather, traffic_of_sum};
use crate::metamask::{Memory, Meta, Mode, Settings, TrialStep};
use crate::nn::{BatchNormOver, Encode, Layout, Module};
use crate::run::model::State;

/// How often each pass of the encoder is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Passes {
    forward: u64,
    backward: u64,
    tangent: u64,
}

impl Passes {
    const fn new(forward: u64, backward: u64, tangent: u64) -> Passes {
        Passes { forward, backward, tangent }
    }

    fn and(self, other: Passes) -> Passes {
        Passes {
            forward: self.forward + other.forward,
            backward: self.backward + other.backward,
            tangent: self.tangent + other.tangent,
        }
    }
}

/// What a step with these settings takes; none for unrolled trial steps, whose second derivatives
/// pass through the encoder.
fn passes(settings: &Settings, has_target: bool) -> Option<Passes> {
    let mut all = Passes::new(1 + u64::from(has_target), 1, 0);
    let Mode::MetaMask(meta) = settings.mode else { return Some(all) };
    let shared = settings.trial == TrialStep::JointShared;
    // The trial step and the loss after it.
    let trial = if shared { Passes::default() } else { Passes::new(1, 1, 0) };
    let differences = Passes::new(3, 1, 0);
    all = all.and(match meta {
        Meta::Exact => trial.and(Passes::new(1, 1, 1)),
        Meta::FiniteDifference { .. } => trial.and(differences),
        Meta::FirstOrder => trial.and(Passes::new(1, 0, 0)),
        Meta::Unrolled { .. } => return None,
    });
    if settings.compare.is_some() {
        all = all.and(Passes::new(1, 1, 0)).and(differences);
    }
    Some(all)
}

/// What each rank receives in a step of this state on `size` ranks, each of which has `images`
/// images; none for unrolled trial steps, which are not modelled.
pub fn of_step(
    state: &State,
    settings: &Settings,
    batch_norm: BatchNormOver,
    images: usize,
    size: usize,
) -> Option<Traffic> {
    let has_target = matches!(state.memory, Memory::Target(_));
    let Passes { forward, backward, tangent } = passes(settings, has_target)?;
    let (mut channels, mut gradients) = (Vec::new(), Vec::new());
    state.network.encoder.visit(&mut |name, var, layout| {
        let len = var.value().len();
        gradients.push(len);
        if layout == Layout::Vector && name.ends_with(".weight") {
            channels.push(len);
        }
    });
    let features = traffic_of_gather(2 * images * state.network.encoder.features(), 4, size);
    let each = |numbers: usize| -> Vec<Traffic> {
        channels.iter().map(|c| traffic_of_sum(numbers * c, 4, size)).collect()
    };
    let (moments, slopes) = match batch_norm {
        BatchNormOver::AllRanks => ([each(2), each(2)].concat(), each(6)),
        BatchNormOver::EachRank => {
            let all = 4 * channels.iter().sum::<usize>();
            (vec![traffic_of_sum(all, 4, size)], Vec::new())
        }
    };
    let forward_pass = moments.into_iter().chain([features]);
    let gradients = buckets(&gradients).into_iter().map(|len| traffic_of_sum(len, 4, size));
    let backward_pass = slopes.iter().copied().chain(gradients);
    let tangent_pass = slopes.iter().copied().chain([features]);
    Some(add([
        times(forward, forward_pass),
        times(backward, backward_pass),
        times(tangent, tangent_pass),
    ]))
}

/// The lengths of the buckets that gradients of these lengths fill, from the last to the first.
fn buckets(gradients: &[usize]) -> Vec<usize> {
    let mut buckets = vec![0];
    for len in gradients.iter().rev() {
        match buckets.last_mut() {
            Some(last) if *last < BUCKET => *last += len,
            _ => buckets.push(*len),
        }
    }
    buckets
}

fn add(all: impl IntoIterator<Item = Traffic>) -> Traffic {
    all.into_iter().fold(Traffic::default(), |sum, more| Traffic {
        bytes: sum.bytes + more.bytes,
        exchanges: sum.exchanges + more.exchanges,
    })
}

fn times(count: u64, pass: impl Iterator<Item = Traffic>) -> Traffic {
    let once = add(pass);
    Traffic { bytes: count * once.bytes, exchanges: count * once.exchanges }
}
