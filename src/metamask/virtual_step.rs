//! The trial step: where the networks would go, without going there.

use crate::kernels::Real;
use crate::optim::Sgd;
use crate::tensor::Tensor;

/// The weights after a trial step: `ω' = ω - lr (μ b + g + wd ω)`.
///
/// `params` are ω, `grads` g, `buffers` the optimiser's momentum b; neither parameters nor buffers
/// change. A parameter with zero gradient still moves, by momentum and weight decay.
/// The gradients' memory holds the result.
///
/// # Panics
/// If the three differ in number or shape, or if `sgd` is a nesterov rule, which looks ahead
/// already.
#[track_caller]
pub fn virtual_step<T: Real>(
    params: &[Tensor<T>],
    grads: Vec<Tensor<T>>,
    buffers: &[Tensor<T>],
    sgd: &Sgd,
) -> Vec<Tensor<T>> {
    assert!(!sgd.nesterov, "virtual_step: not defined for nesterov momentum");
    let lengths = [params.len(), grads.len(), buffers.len()];
    assert!(lengths == [lengths[0]; 3], "virtual_step: [params, grads, buffers] are {lengths:?}");
    let [lr, momentum, decay] = [sgd.lr, sgd.momentum, sgd.weight_decay].map(T::from_f64);
    let step = |((mut grad, param), buffer): ((Tensor<T>, &Tensor<T>), &Tensor<T>)| {
        let shapes = [param.shape(), grad.shape(), buffer.shape()];
        assert!(shapes == [shapes[0]; 3], "virtual_step: [param, grad, buffer] are {shapes:?}");
        let values = param.as_slice().iter().zip(buffer.as_slice());
        for (g, (&p, &b)) in grad.make_mut().iter_mut().zip(values) {
            *g = p - lr * (momentum * b + *g + decay * p);
        }
        grad
    };
    grads.into_iter().zip(params).zip(buffers).map(step).collect()
}
