//! The exponential moving average.

use crate::kernels::Real;
use crate::tensor::Tensor;

/// `tau · target + (1 - tau) · online`: the target moves towards the online value.
///
/// In the target's memory if nobody else holds it.
///
/// Formula: byol-2.
///
/// # Panics
/// If the shapes differ.
#[track_caller]
pub fn ema<T: Real>(mut target: Tensor<T>, online: &Tensor<T>, tau: f64) -> Tensor<T> {
    let shapes = [target.shape(), online.shape()];
    assert!(shapes[0] == shapes[1], "ema: [target, online] are {shapes:?}");
    let (keep, take) = (T::from_f64(tau), T::from_f64(1.0 - tau));
    for (target, &online) in target.make_mut().iter_mut().zip(online.as_slice()) {
        *target = keep * *target + take * online;
    }
    target
}
