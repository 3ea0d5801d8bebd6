//! What the checker must find, what it must accept, and what it must say.

mod planted;
mod right;
mod words;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::rng::Stream;

/// Random numbers of either sign, none near zero.
fn numbers(shape: &[usize], seed: u64) -> Tensor<f64> {
    let mut rng: ChaCha8Rng = Stream::new(seed, "checker").at(&[]);
    Tensor::from_fn(shape, |_| {
        let size: f64 = rng.random_range(0.3..1.7);
        if rng.random() { size } else { -size }
    })
}

/// The sizes of [`numbers`].
fn positive(shape: &[usize], seed: u64) -> Tensor<f64> {
    let x = numbers(shape, seed);
    Tensor::from_fn(shape, |i| x.as_slice()[i].abs())
}

/// `y`, with a derivative that is wrong by the factor `1 + by` where the mask is 1.
fn wrong_by(y: &Var<f64>, by: f64, mask: &Tensor<f64>) -> Var<f64> {
    y + &((y - &y.detach()) * &Var::constant(mask.scale(by)))
}

/// 1 where a position fulfils `is`.
fn mask(shape: &[usize], is: impl Fn(usize) -> bool) -> Tensor<f64> {
    Tensor::from_fn(shape, |i| f64::from(u8::from(is(i))))
}
