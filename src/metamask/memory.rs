//! What a base method remembers from one iteration to the next, and compares a batch with.

use super::Network;
use super::state::layer_of;
use crate::autodiff::Var;
use crate::kernels::Real;
use crate::nn::{Encode, Mlp, Module, Pass, into_params, named_params, params, with_params};
use crate::optim::ema;
use crate::ssl::Queue;
use crate::tensor::Tensor;

/// What the two views' predictions are compared with: constants of an iteration, `[N, P]` each.
///
/// For BYOL the target network's projections of view 0 and view 1, for NNCLR their neighbours.
/// They are found once and stay the same in the regular, the trial and the outer loss.
pub type Anchors<T> = [Tensor<T>; 2];

/// The state of a base method besides its weights.
#[derive(Clone, Debug)]
pub enum Memory<T: Real, E> {
    /// Most methods remember nothing.
    Empty,
    /// BYOL's target network.
    Target(Box<Target<T, E>>),
    /// NNCLR's support set.
    Queue(Queue<T>),
}

/// BYOL's target: an encoder and a projector that follow the trained ones slowly.
///
/// It only ever runs in training mode, so it has no running moments.
#[derive(Clone, Debug)]
pub struct Target<T: Real, E> {
    /// Follows the network's encoder.
    pub encoder: E,
    /// Follows the network's projector.
    pub projector: Mlp<T>,
}

impl<T: Real, E: Encode<T>> Target<T, E> {
    /// A copy of the network as it is.
    pub fn of(network: &Network<T, E>) -> Target<T, E> {
        let copy = |_: &str, var: &Var<T>, _| Var::constant(var.value().clone());
        Target {
            encoder: network.encoder.map_params(&mut { copy }),
            projector: network.heads.base.map_params(&mut { copy }),
        }
    }

    /// Its projections of two stacked views `[2N, H, W, C]` under the mask's factors.
    #[track_caller]
    fn project(&self, x: &Tensor<T>, factors: Option<&Tensor<T>>) -> Anchors<T> {
        let mut pass = Pass::train(2);
        let h = self.encoder.forward(&Var::constant(x.clone()), &mut pass);
        if let Some(factors) = factors {
            let (s, h) = (factors.shape(), h.shape());
            assert!(
                s == &h[h.len().saturating_sub(1)..],
                "anchors: factors {s:?} of features {h:?}"
            );
        }
        let masked = match factors {
            Some(factors) => &h * &Var::constant(factors.clone()),
            None => h,
        };
        halves(self.projector.forward(&masked, &mut pass).value())
    }
}

impl<T: Real, E: Encode<T>> Memory<T, E> {
    /// The anchors of a batch `x` of two stacked views, whose projections are `z`.
    ///
    /// # Panics
    /// If the shapes do not fit, or are not two views.
    #[track_caller]
    pub fn anchors(
        &self,
        x: &Tensor<T>,
        factors: Option<&Tensor<T>>,
        z: &Tensor<T>,
    ) -> Option<Anchors<T>> {
        let two_views = |x: &Tensor<T>| x.shape().first().is_some_and(|n| n % 2 == 0);
        match self {
            Memory::Empty => None,
            Memory::Target(target) => {
                assert!(two_views(x), "anchors: a batch of {:?} is not two views", x.shape());
                Some(target.project(x, factors))
            }
            Memory::Queue(queue) => {
                queue.check("anchors", z);
                assert!(two_views(z), "anchors: projections {:?} are not two views", z.shape());
                Some(halves(z).map(|z| queue.nearest(&z)))
            }
        }
    }

    /// The first part that is not finite, in words.
    pub(super) fn first_non_finite(&self) -> Option<String> {
        match self {
            Memory::Empty => None,
            Memory::Target(target) => {
                let mut named = named_params(&target.encoder);
                named.extend(named_params(&target.projector));
                let sick = named.iter().find(|(_, var)| !var.value().is_finite());
                sick.map(|(name, _)| format!("target's layer {}", layer_of(name)))
            }
            Memory::Queue(queue) => {
                (!queue.rows.is_finite()).then(|| "queue of neighbours".to_string())
            }
        }
    }

    /// The memory after an iteration: the target moves towards the new network, keeping `tau` of
    /// itself; the queue takes in the projections of the iteration's first view.
    #[must_use]
    pub(super) fn after(self, network: &Network<T, E>, z: &Tensor<T>, tau: f64) -> Memory<T, E> {
        match self {
            Memory::Empty => Memory::Empty,
            Memory::Target(target) => {
                let Target { encoder, projector } = *target;
                let encoder = follow(encoder, &network.encoder, tau);
                let projector = follow(projector, &network.heads.base, tau);
                Memory::Target(Box::new(Target { encoder, projector }))
            }
            Memory::Queue(queue) => {
                let [first, _] = halves(z);
                Memory::Queue(queue.enqueue(&first))
            }
        }
    }
}

/// Each parameter of `target` moved towards that of `online`.
fn follow<T: Real, M: Module<T>>(target: M, online: &M, tau: f64) -> M {
    let (hollow, values) = into_params(target);
    let pairs = values.into_iter().zip(params(online));
    let moved = pairs.map(|(value, online)| Var::constant(ema(value, online.value(), tau)));
    with_params(&hollow, moved.collect())
}

/// The rows of view 0 and of view 1.
fn halves<T: Real>(stacked: &Tensor<T>) -> [Tensor<T>; 2] {
    let (n, stacked) = (stacked.shape()[0] / 2, Var::constant(stacked.clone()));
    [0..n, n..2 * n].map(|rows| stacked.rows(rows).value().clone())
}
