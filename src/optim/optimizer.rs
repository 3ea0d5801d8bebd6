//! The update rules behind one face.

use super::{Adam, Lars, Sgd};
use crate::autodiff::{Var, pull};
use crate::kernels::Real;
use crate::tensor::Tensor;

/// An update rule with its settings at this step.
///
/// ```
/// use dimask::Tensor;
/// use dimask::optim::{Optimizer, Sgd};
/// let rule = Optimizer::Sgd(Sgd { lr: 0.1, momentum: 0.9, weight_decay: 0.0, ..Sgd::default() });
/// let params = vec![Tensor::scalar(1.0f64)];
/// let state = rule.start(&params);
/// let (params, state) = rule.step(params, &[Tensor::scalar(2.0)], state);
/// let (params, _) = rule.step(params, &[Tensor::scalar(2.0)], state);
/// // Steps of 0.1 · 2 and of 0.1 · (1.8 + 2).
/// assert!((params[0].item() - (1.0 - 0.2 - 0.38)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
    /// Layer-wise adaptive rates.
    Lars(Lars),
    /// Adam or AdamW.
    Adam(Adam),
}

/// What a rule remembers from step to step.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState<T: Real = f32> {
    /// For each of [`Optimizer::slots`] a tensor for each parameter, of its shape.
    pub slots: Vec<Vec<Tensor<T>>>,
    /// Steps taken.
    pub steps: usize,
}

impl Optimizer {
    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Optimizer::Sgd(rule) => rule.lr,
            Optimizer::Lars(rule) => rule.lr,
            Optimizer::Adam(rule) => rule.lr,
        }
    }

    /// The same rule at another learning rate.
    #[must_use]
    pub fn with_lr(self, lr: f64) -> Optimizer {
        match self {
            Optimizer::Sgd(rule) => Optimizer::Sgd(Sgd { lr, ..rule }),
            Optimizer::Lars(rule) => Optimizer::Lars(Lars { lr, ..rule }),
            Optimizer::Adam(rule) => Optimizer::Adam(Adam { lr, ..rule }),
        }
    }

    /// The names of what it remembers of a parameter.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd(_) | Optimizer::Lars(_) => &["momentum"],
            Optimizer::Adam(_) => &["mean", "square"],
        }
    }

    /// The state before the first step: zeros.
    ///
    /// They make the first momentum the decayed gradient, as torch has it.
    pub fn start<'a, T: Real>(
        &self,
        params: impl IntoIterator<Item = &'a Tensor<T>>,
    ) -> OptimizerState<T> {
        let params: Vec<_> = params.into_iter().collect();
        let slot = |_: &&str| params.iter().map(|p| Tensor::zeros(p.shape())).collect();
        OptimizerState { slots: self.slots().iter().map(slot).collect(), steps: 0 }
    }

    /// The rule: one parameter after step `t`, counted from 1, and its slots; differentiable in
    /// everything. Each rule's formula is with its settings: [`Sgd`], [`Lars`], [`Adam`].
    ///
    /// # Panics
    /// If there are not as many slots as the rule has, or the shapes differ.
    #[track_caller]
    pub fn update<T: Real>(
        &self,
        param: &Var<T>,
        grad: &Var<T>,
        slots: &[Var<T>],
        t: usize,
    ) -> (Var<T>, Vec<Var<T>>) {
        let shapes: Vec<_> = [grad].into_iter().chain(slots).map(Var::shape).collect();
        let shape = param.shape();
        let fits = slots.len() == self.slots().len() && shapes.iter().all(|own| *own == shape);
        let names = self.slots();
        assert!(fits, "update: a gradient and {names:?} are {shapes:?}, the parameter {shape:?}");
        match self {
            Optimizer::Sgd(rule) => rule.update(param, grad, &slots[0]),
            Optimizer::Lars(rule) => rule.update(param, grad, &slots[0]),
            Optimizer::Adam(rule) => rule.update(param, grad, [&slots[0], &slots[1]], t),
        }
    }

    /// One step: the new parameters and the new state.
    ///
    /// Parameters and slots that nobody else holds are updated in place, in one pass. It is
    /// [`Optimizer::update`], which is its definition.
    ///
    /// # Panics
    /// If parameters, gradients and state differ in number or shape.
    #[track_caller]
    pub fn step<T: Real>(
        &self,
        mut params: Vec<Tensor<T>>,
        grads: &[Tensor<T>],
        mut state: OptimizerState<T>,
    ) -> (Vec<Tensor<T>>, OptimizerState<T>) {
        self.check("step", &params, grads, &state);
        state.steps += 1;
        for (i, (param, grad)) in params.iter_mut().zip(grads).enumerate() {
            match (self, state.slots.as_mut_slice()) {
                (Optimizer::Sgd(rule), [momentum]) => rule.step(param, grad, &mut momentum[i]),
                (Optimizer::Lars(rule), [momentum]) => rule.step(param, grad, &mut momentum[i]),
                (Optimizer::Adam(rule), [mean, square]) => {
                    rule.step(param, grad, [&mut mean[i], &mut square[i]], state.steps);
                }
                _ => unreachable!("the state has the rule's slots"),
            }
        }
        (params, state)
    }

    /// The parameters after a step that is not taken: neither they nor the state change.
    ///
    /// A parameter with zero gradient still moves, by momentum and weight decay.
    /// With SGD the gradients' memory holds the result.
    ///
    /// Formula: meta-1.
    ///
    /// # Panics
    /// If parameters, gradients and state differ in number or shape.
    #[track_caller]
    pub fn trial<T: Real>(
        &self,
        params: &[Tensor<T>],
        grads: Vec<Tensor<T>>,
        state: &OptimizerState<T>,
    ) -> Vec<Tensor<T>> {
        self.check("trial", params, &grads, state);
        let step = |(i, (param, mut grad)): (usize, (&Tensor<T>, Tensor<T>))| match self {
            Optimizer::Sgd(rule) => {
                rule.trial(param, &mut grad, &state.slots[0][i]);
                grad
            }
            _ => {
                let grad = Var::constant(grad);
                self.update(&constant(param), &grad, &state.of(i), state.steps + 1).0.into_value()
            }
        };
        params.iter().zip(grads).enumerate().map(step).collect()
    }

    /// The transposed derivative of [`Optimizer::trial`] in the gradients, applied to `v`:
    /// `(∂trial/∂g)ᵀ v`.
    ///
    /// For SGD this is `-lr · v` (nesterov: `-lr (1 + momentum) · v`), whatever `grads` are: they
    /// may be left out. The memory of `v` holds the result then.
    ///
    /// Formula: meta-4.
    ///
    /// # Panics
    /// If parameters, gradients, state and `v` differ in number or shape.
    #[track_caller]
    pub fn trial_vjp<T: Real>(
        &self,
        params: &[Tensor<T>],
        grads: &[Tensor<T>],
        state: &OptimizerState<T>,
        mut v: Vec<Tensor<T>>,
    ) -> Vec<Tensor<T>> {
        let (n, of) = (v.len(), params.len());
        assert!(n == of, "trial_vjp: {n} directions for {of} parameters");
        for (param, v) in params.iter().zip(&v) {
            let (param, v) = (param.shape(), v.shape());
            assert!(param == v, "trial_vjp: a direction {v:?} for a parameter {param:?}");
        }
        if let Optimizer::Sgd(rule) = self {
            let slope = T::from_f64(rule.slope());
            v.iter_mut().for_each(|v| v.scale_assign(slope));
            return v;
        }
        self.check("trial_vjp", params, grads, state);
        let pulled = |(i, v): (usize, Tensor<T>)| {
            let grad = Var::leaf(grads[i].clone());
            let slots = state.of(i);
            let (moved, _) = self.update(&constant(&params[i]), &grad, &slots, state.steps + 1);
            pull(vec![(moved, v)], &[&grad]).remove(0)
        };
        v.into_iter().enumerate().map(pulled).collect()
    }

    /// Refuses parameters, gradients and state that do not fit each other; `op` is named.
    #[track_caller]
    pub(crate) fn check<T: Real>(
        &self,
        op: &str,
        params: &[Tensor<T>],
        grads: &[Tensor<T>],
        state: &OptimizerState<T>,
    ) {
        let mut lengths = vec![params.len(), grads.len()];
        lengths.extend(state.slots.iter().map(Vec::len));
        let even = lengths.iter().all(|&length| length == lengths[0]);
        let fits = even && state.slots.len() == self.slots().len();
        assert!(fits, "{op}: [params, grads, slots..] are {lengths:?}");
        for tensors in state.slots.iter().map(Vec::as_slice).chain([grads]) {
            for (param, tensor) in params.iter().zip(tensors) {
                let (param, own) = (param.shape(), tensor.shape());
                assert!(param == own, "{op}: {own:?} for a parameter {param:?}");
            }
        }
    }
}

impl<T: Real> OptimizerState<T> {
    /// The slots of parameter `i`.
    fn of(&self, i: usize) -> Vec<Var<T>> {
        self.slots.iter().map(|slot| constant(&slot[i])).collect()
    }
}

fn constant<T: Real>(tensor: &Tensor<T>) -> Var<T> {
    Var::constant(tensor.clone())
}
