//! A loss differentiated down to the features, where the graph is cut.

use super::{Heads, Mask, Network};
use crate::autodiff::{Var, grad, pull};
use crate::kernels::Real;
use crate::nn::{Encode, Pass, leaves, params};
use crate::tensor::Tensor;

/// The encoder's recorded graph: its features as a function of its parameters.
#[derive(Clone)]
pub(super) struct Graph<T: Real> {
    /// The output.
    pub features: Var<T>,
    /// The parameters, leaves of the graph.
    pub theta: Vec<Var<T>>,
}

/// A loss and its derivatives in everything behind the encoder.
///
/// The encoder's graph is still whole; whoever clones it decides that it survives
/// [`Cut::grads`].
pub(super) struct Cut<T: Real> {
    pub graph: Graph<T>,
    /// The loss's gradient in the features.
    cotangent: Tensor<T>,
    /// The loss's gradients in the heads' parameters.
    head_grads: Vec<Tensor<T>>,
    /// The loss's gradient in the mask's logits; absent where there is no mask.
    pub mask_grad: Option<Tensor<T>>,
}

impl<T: Real> Cut<T> {
    /// Runs the encoder on the stacked views `x`, masks the features, and differentiates `loss` of
    /// the heads and the masked features.
    ///
    /// Formula: mask-2.
    #[track_caller]
    pub(super) fn new<E: Encode<T>>(
        network: &Network<T, E>,
        mask: Option<&Mask<T>>,
        x: &Tensor<T>,
        pass: &mut Pass<'_, T>,
        loss: impl FnOnce(&Heads<T>, &Var<T>, &mut Pass<'_, T>) -> Var<T>,
    ) -> Cut<T> {
        let network = leaves(network);
        let features = network.encoder.forward(&Var::constant(x.clone()), pass);
        let h = features.as_leaf();
        let a = mask.map(|mask| Var::leaf(mask.logits.clone()));
        let masked = match (&a, mask) {
            (Some(a), Some(mask)) => &h * &mask.form.factors(a),
            _ => h.clone(),
        };
        let loss = loss(&network.heads, &masked, pass);
        drop(masked);
        let phi = params(&network.heads);
        let wrt: Vec<_> = [&h].into_iter().chain(&a).chain(&phi).collect();
        let mut grads = grad(loss, &wrt).into_iter();
        let mut next = || grads.next().expect("one gradient for each variable");
        let cotangent = next();
        let mask_grad = a.as_ref().map(|_| next());
        let head_grads = grads.collect();
        let graph = Graph { features, theta: params(&network.encoder) };
        Cut { graph, cotangent, head_grads, mask_grad }
    }

    /// The loss's gradients in all parameters; frees the encoder's graph if nobody else holds it.
    pub(super) fn grads(self) -> Vec<Tensor<T>> {
        let Graph { features, theta } = self.graph;
        let wrt: Vec<_> = theta.iter().collect();
        let mut grads = pull(vec![(features, self.cotangent)], &wrt);
        grads.extend(self.head_grads);
        grads
    }
}
