//! Stochastic gradient descent with momentum.

use crate::kernels::Real;
use crate::tensor::Tensor;

/// Settings of stochastic gradient descent, as torch means them: weight decay is part of the
/// gradient, nothing dampens the momentum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate of this step.
    pub lr: f64,
    /// How much of the buffer the next step keeps.
    pub momentum: f64,
    /// Added to the gradient as `weight_decay · p`.
    pub weight_decay: f64,
    /// Whether the step looks ahead along the momentum.
    pub nesterov: bool,
}

impl Default for Sgd {
    /// The published MetaMask settings.
    fn default() -> Sgd {
        Sgd { lr: 1e-3, momentum: 0.9, weight_decay: 5e-4, nesterov: false }
    }
}

/// The momentum buffers, one for each parameter and of its shape.
#[derive(Clone, Debug, PartialEq)]
pub struct SgdState<T: Real = f32> {
    /// In the order of the parameters.
    pub buffers: Vec<Tensor<T>>,
}

impl<T: Real> SgdState<T> {
    /// The state before the first step: zeros, which make the first buffer the decayed gradient,
    /// as torch has it.
    pub fn new<'a>(params: impl IntoIterator<Item = &'a Tensor<T>>) -> SgdState<T> {
        SgdState { buffers: params.into_iter().map(|p| Tensor::zeros(p.shape())).collect() }
    }
}

impl Sgd {
    /// One step: `d = g + weight_decay · p`, `b ← momentum · b + d`, then `p ← p - lr · b`, or with
    /// nesterov `p ← p - lr · (d + momentum · b)`.
    ///
    /// Parameters and buffers that nobody else holds are updated in place.
    ///
    /// # Panics
    /// If the parameters, gradients and buffers differ in number or shape.
    #[track_caller]
    pub fn step<T: Real>(
        &self,
        mut params: Vec<Tensor<T>>,
        grads: &[Tensor<T>],
        mut state: SgdState<T>,
    ) -> (Vec<Tensor<T>>, SgdState<T>) {
        let lengths = [params.len(), grads.len(), state.buffers.len()];
        assert!(lengths == [lengths[0]; 3], "sgd: [params, grads, buffers] are {lengths:?}");
        let lr = T::from_f64(self.lr);
        let (momentum, decay) = (T::from_f64(self.momentum), T::from_f64(self.weight_decay));
        for ((param, grad), buffer) in params.iter_mut().zip(grads).zip(&mut state.buffers) {
            let shapes = [param.shape(), grad.shape(), buffer.shape()];
            assert!(shapes == [shapes[0]; 3], "sgd: [param, grad, buffer] are {shapes:?}");
            let values = param.make_mut().iter_mut().zip(grad.as_slice());
            for ((p, &g), b) in values.zip(buffer.make_mut()) {
                let d = g + decay * *p;
                *b = momentum * *b + d;
                *p -= lr * if self.nesterov { d + momentum * *b } else { *b };
            }
        }
        (params, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(nesterov: bool, expected: [f64; 2]) {
        let sgd = Sgd { lr: 0.1, momentum: 0.5, weight_decay: 0.1, nesterov };
        let mut params = vec![Tensor::full(&[1], 1.0f64)];
        let mut state = SgdState::new(&params);
        for expected in expected {
            (params, state) = sgd.step(params, &[Tensor::full(&[1], 2.0)], state);
            assert!((params[0].item() - expected).abs() < 1e-15, "{}", params[0].item());
        }
    }

    #[test]
    fn two_steps_by_hand() {
        // d = 2.1, b = 2.1, p = 0.79; then d = 2.079, b = 3.129, p = 0.4771.
        check(false, [0.79, 0.4771]);
        // Steps of 2.1 + 1.05 = 3.15 and, with d = 2.0685 and b = 3.1185, of 3.62775.
        check(true, [0.685, 0.322225]);
    }

    #[test]
    fn parameters_with_one_owner_are_updated_in_place() {
        let params = vec![Tensor::full(&[3], 1.0f32)];
        let state = SgdState::new(&params);
        let address = params[0].as_slice().as_ptr();
        let (params, _) = Sgd::default().step(params, &[Tensor::full(&[3], 1.0)], state);
        assert_eq!(params[0].as_slice().as_ptr(), address);
    }
}
